"""Files of records: JSON Lines and CSV, read as a stream, one document per record.

A record that cannot be read is named by its line, and the others go on. Where it is not even clear where the next
record begins, reading stops, and the whole file counts as not read: nothing of it is then taken for deleted.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

import orjson
from pydantic import ValidationError

from nvisy.connector.source import Item, Unreadable
from nvisy.errors import Rejected
from nvisy.primitives import Document
from nvisy.primitives.values import as_metadata
from nvisy_object._content import BLOCK_BYTES, Content, Version, shown, unreadable
from nvisy_object._rows import MAX_RECORD_BYTES, Row, csv_rows, jsonl_rows

HOPELESS = 100
"""So many records of which none can be read, and the file is taken for something else."""


@dataclass(frozen=True, slots=True)
class RecordFormat:
    """How a file of records is read: its format, the field that holds the key and the one that holds the text."""

    format: Literal["jsonl", "csv"]
    key: str
    text: str

    @property
    def salt(self) -> bytes:
        """Part of every fingerprint: read in another way, a record is another document."""
        return orjson.dumps([self.format, self.key, self.text])

    def fingerprint(self, version: Version) -> bytes:
        """Of a whole file."""
        return hashlib.sha256(self.salt + version.digest).digest()[:16]


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A file of records; the keys of its records are `key#id`."""

    version: Version
    key: str
    uri: str
    spec: RecordFormat

    def records(self) -> Iterator[Item | Unreadable]:
        """Every record, and a last word if this was not all of the file, or not the file that was listed."""
        try:
            with self.version.open() as content, io.BufferedReader(content, BLOCK_BYTES) as lines:
                yield from self._read(lines)
                self.version.must_equal(content)
        except OSError as error:
            yield Unreadable(f"{self.key}#", unreadable(self.version.path, error), self.uri)
        except Rejected as error:
            yield Unreadable(f"{self.key}#", error, self.uri)

    def _read(self, lines: io.BufferedReader[Content]) -> Iterator[Item | Unreadable]:
        if lines.peek(2)[:2] in {b"\xff\xfe", b"\xfe\xff"}:
            raise self._rejected("it is UTF-16; convert it to UTF-8", "encoding")
        salt = hashlib.sha256(self.spec.salt)
        rows = jsonl_rows(lines) if self.spec.format == "jsonl" else csv_rows(lines, self._header, salt)
        good = False
        for count, row in enumerate(self._in_this_file(rows), 1):
            record = self._record(row, salt)
            yield record
            good = good or isinstance(record, Item)
            if count == HOPELESS and not good:
                message = f"none of its first {HOPELESS} records can be read; is it {self.spec.format}?"
                raise self._rejected(message, "decode")

    def _in_this_file(self, rows: Iterator[Row]) -> Iterator[Row]:
        try:
            yield from rows
        except Rejected as error:
            raise self._rejected(str(error), error.kind) from None

    def _header(self, names: list[str]) -> None:
        for what, name in (("key", self.spec.key), ("text", self.spec.text)):
            if name not in names:
                raise Rejected(
                    f'its first line, the header, has no field {name!r}; name one of its fields as "{what}"',
                    kind=f"no_{what}",
                )

    def _record(self, row: Row, salt: Any) -> Item | Unreadable:
        try:
            if len(row.raw) > MAX_RECORD_BYTES:
                raise Rejected(f"the record is larger than {MAX_RECORD_BYTES >> 20} MiB", kind="too_large")
            fields = row.parse()
            record_id = self._id(fields)
        except Rejected as error:
            place = f"{self.key}#line-{row.number}"
            failure = self._rejected(f"line {row.number}: {error}", error.kind)
            return Unreadable(place, failure, f"{self.uri}#line={row.number}", row.raw[:MAX_RECORD_BYTES])
        digest = salt.copy()
        digest.update(row.raw)
        # not the line: it moves with what is written above it, and then nothing of the record changes
        uri = f"{self.uri}#{quote(self.spec.key)}={quote(record_id)}"
        return Item(f"{self.key}#{record_id}", digest.digest()[:16], partial(self._document, fields), uri)

    def _id(self, fields: Mapping[str, Any]) -> str:
        value = fields.get(self.spec.key)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int | float) and not isinstance(value, bool) and -(2**53) < value < 2**53:
            return orjson.dumps(value).decode()
        problem = "is missing" if value in (None, "") else "is neither a text nor a number of at most 53 bits"
        raise Rejected(
            f'{self.spec.key!r}, the key of the record, {problem}; name another field as "key"', kind="no_key"
        )

    def _document(self, fields: Mapping[str, Any]) -> Document:
        name = self.spec.text
        if name not in fields:
            raise Rejected(f'the record has no {name!r}; name another field as "text"', kind="no_text")
        text = "" if fields[name] is None else fields[name]
        if not isinstance(text, str):
            raise Rejected(f'the field {name!r} is no text; name another one as "text"', kind="no_text")
        try:
            metadata = {field: as_metadata(value) for field, value in fields.items() if field != name}
            return Document(text=text, metadata=metadata)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
        except TypeError:  # orjson's word for it
            reason = "a value in it nests too deep to be written down"
        raise Rejected(f"the record makes no document: {reason}", kind="decode")

    def _rejected(self, message: str, kind: str) -> Rejected:
        return Rejected(f"{shown(self.version.path)}: {message}", kind=kind)
