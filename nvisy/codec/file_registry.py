"""A schema registry in a folder, for a machine without one: `<id>.avsc`, and the ids of each subject.

A number is derived from the schema itself, so that a folder that was lost, or never shared with another host, gives the
same schema the same number again, and what was written with it can be read.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from urllib.parse import quote

import orjson

from nvisy.codec.evolution import breaks
from nvisy.codec.framing import SchemaRef
from nvisy.errors import CodecError, UnknownSchema, Unreachable


class FileRegistry:
    """Schemas as files. Any number of processes may share the folder: a file is complete when it appears."""

    def __init__(self, folder: Path) -> None:
        """A registry in `folder`, which is created when the first schema is."""
        self.url = str(folder)
        self._ids = folder / "ids"
        self._subjects = folder / "subjects"
        self._registered: dict[tuple[str, str], int] = {}
        self._schemas: dict[int, str] = {}

    def register(self, subject: str, schema: str) -> int:
        """The number of `schema` under `subject`; see `Registry`."""
        known = self._registered.get((subject, schema))
        if known is None:
            try:
                known = self._register(subject, _canonical(schema))
            except OSError as error:
                raise Unreachable(
                    f"schema registry {self.url}: {error.strerror}: {error.filename}"
                ) from error
            self._registered[subject, schema] = known
        return known

    def schema(self, ref: SchemaRef) -> str:
        """The schema with number `ref`; see `Registry`."""
        if not isinstance(ref, int):
            raise CodecError(
                f"schema {ref} is named by GUID, and the registry in {self.url} knows numbers only"
            )
        if ref not in self._schemas:
            try:
                self._schemas[ref] = _canonical(self._path(ref).read_text())
            except ValueError:
                raise Unreachable(
                    f"schema registry {self.url}: {self._path(ref).name} is damaged; delete it, and it is written again"
                ) from None
            except FileNotFoundError:
                raise UnknownSchema(
                    f"schema id {ref} is not in the registry {self.url}; restore that folder, or name the registry"
                    " that has it with NVISY_REGISTRY_URL"
                ) from None
            except OSError as error:
                raise Unreachable(
                    f"schema registry {self.url}: {error.strerror}: {error.filename}"
                ) from error
        return self._schemas[ref]

    def _register(self, subject: str, schema: str) -> int:
        folder = self._subjects / quote(subject, safe="")
        earlier = sorted(int(each.name) for each in folder.iterdir()) if folder.is_dir() else []
        for schema_id in earlier:
            if self.schema(schema_id) == schema:
                return schema_id
        for schema_id in earlier:
            faults = breaks(reader=orjson.loads(schema), writer=orjson.loads(self.schema(schema_id)))
            if faults:
                raise CodecError(
                    f"{subject} holds records of schema {schema_id} that today's cannot read: {faults[0]}; "
                    "give new fields a default and keep the old ones, or write to another topic"
                )
        schema_id = self._number(schema)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(schema_id)).touch()
        return schema_id

    def _number(self, schema: str) -> int:
        self._ids.mkdir(parents=True, exist_ok=True)
        first = int.from_bytes(hashlib.sha256(schema.encode()).digest()[:4], "big") >> 1
        with tempfile.NamedTemporaryFile("w", dir=self._ids, prefix=".", delete=False) as file:
            file.write(schema)
            file.flush()
            os.fsync(file.fileno())
        try:
            return self._publish(Path(file.name), schema, first)
        finally:
            Path(file.name).unlink()

    def _publish(self, written: Path, schema: str, schema_id: int) -> int:
        # A link fails where the name is taken: two processes share a number only if they share the schema.
        while True:
            try:
                self._path(schema_id).hardlink_to(written)
            except FileExistsError:
                if self.schema(schema_id) == schema:
                    return schema_id
                schema_id += 1
            else:
                return schema_id

    def _path(self, schema_id: int) -> Path:
        return self._ids / f"{schema_id}.avsc"


def _canonical(schema: str) -> str:
    return orjson.dumps(orjson.loads(schema), option=orjson.OPT_SORT_KEYS).decode()
