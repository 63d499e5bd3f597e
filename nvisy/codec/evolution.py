"""Whether a schema can still read what an earlier one wrote: Avro's rules of resolution, without any data."""

from __future__ import annotations

from typing import Any

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
_MEANING = ("logicalType", "scale", "nvisy.dtype", "nvisy.content")


def breaks(reader: Any, writer: Any, *, new_branches: bool = False) -> list[str]:
    """What `reader` could not read of the data that `writer` may have written: empty when all is well.

    Args:
        reader: The schema to read with, as JSON.
        writer: The schema that the data was written with, as JSON.
        new_branches: Whether the writer may have branches of a union and symbols of an enum that the reader
            lacks: an older reader meets those only once somebody uses them.

    Returns:
        One sentence for each fault, with the path of the field.
    """
    check = _Resolution(_names(reader), _names(writer), new_branches=new_branches)
    check.compare(reader, writer, "")
    return check.faults


def _names(schema: Any) -> dict[str, Any]:
    names: dict[str, Any] = {}
    _collect(schema, "", names)
    return names


def _collect(schema: Any, namespace: str, names: dict[str, Any]) -> None:
    if isinstance(schema, list):
        for branch in schema:
            _collect(branch, namespace, names)
    elif isinstance(schema, dict):
        if "name" in schema and schema["type"] in ("record", "enum", "fixed", "error"):
            namespace = schema.get("namespace", namespace)
            names[
                schema["name"] if "." in schema["name"] else f"{namespace}.{schema['name']}".lstrip(".")
            ] = schema
        for part in ("items", "values"):
            _collect(schema.get(part), namespace, names)
        for field in schema.get("fields", ()):
            _collect(field["type"], namespace, names)
        if isinstance(schema["type"], dict | list):
            _collect(schema["type"], namespace, names)


class _Resolution:
    """One comparison of two schemas."""

    def __init__(
        self, reader_names: dict[str, Any], writer_names: dict[str, Any], *, new_branches: bool
    ) -> None:
        self.faults: list[str] = []
        self._reader_names = reader_names
        self._writer_names = writer_names
        self._new_branches = new_branches

    def compare(self, reader: Any, writer: Any, path: str) -> None:
        """Add to `faults` what of `writer` at `path` the `reader` cannot read."""
        reader, writer = _resolved(reader, self._reader_names), _resolved(writer, self._writer_names)
        if isinstance(writer, list):
            self._union_written(reader, writer, path)
        elif isinstance(reader, list):
            self._union_read(reader, writer, path)
        else:
            self._same_kind(reader, writer, path)

    def _union_written(self, reader: Any, writer: list[Any], path: str) -> None:
        for branch in writer:
            before = len(self.faults)
            self.compare(reader, branch, path)
            if self._new_branches and isinstance(reader, list) and not self._match(reader, branch):
                del self.faults[before:]

    def _union_read(self, reader: list[Any], writer: Any, path: str) -> None:
        match = self._match(reader, writer)
        if match is None:
            self._fault(path, f"{_label(writer)} is no longer among the types that may stand here")
        else:
            self.compare(match, writer, path)

    def _match(self, reader: list[Any], writer: Any) -> Any:
        writer = _resolved(writer, self._writer_names)
        branches = [_resolved(branch, self._reader_names) for branch in reader]
        for branch in branches:
            if _label(branch) == _label(writer):
                return branch
        promoted = (branch for branch in branches if _kind(branch) in _PROMOTIONS.get(_kind(writer), ()))
        return next(promoted, None)

    def _same_kind(self, reader: Any, writer: Any, path: str) -> None:
        kind = _kind(writer)
        if _kind(reader) != kind and _kind(reader) not in _PROMOTIONS.get(kind, ()):
            self._fault(path, f"was {_label(writer)} and is {_label(reader)}")
        elif _meaning(reader) != _meaning(writer):
            self._fault(path, f"meant {_meaning(writer)} and means {_meaning(reader)}")
        elif kind in ("record", "error"):
            self._records(reader, writer, path)
        elif kind == "enum":
            self._enums(reader, writer, path)
        elif kind == "fixed" and reader["size"] != writer["size"]:
            self._fault(path, f"had {writer['size']} bytes and has {reader['size']}")
        elif kind == "array":
            self.compare(reader["items"], writer["items"], f"{path}[]")
        elif kind == "map":
            self.compare(reader["values"], writer["values"], f"{path}{{}}")

    def _records(self, reader: dict[str, Any], writer: dict[str, Any], path: str) -> None:
        if reader["name"].rpartition(".")[2] != writer["name"].rpartition(".")[2]:
            self._fault(path, f"was {_label(writer)} and is {_label(reader)}")
            return
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            names = (field["name"], *field.get("aliases", ()))
            place = f"{path}.{field['name']}" if path else f"{reader['name']}.{field['name']}"
            earlier = next((written[name] for name in names if name in written), None)
            if earlier is not None:
                self.compare(field["type"], earlier["type"], place)
            elif "default" not in field:
                self._fault(place, "has no default, and records without it have been written")

    def _enums(self, reader: dict[str, Any], writer: dict[str, Any], path: str) -> None:
        lost = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
        if lost and "default" not in reader and not self._new_branches:
            self._fault(path, f"no longer knows {', '.join(lost)}")

    def _fault(self, path: str, what: str) -> None:
        self.faults.append(f"{path or 'the schema'}: {what}")


def _resolved(schema: Any, names: dict[str, Any]) -> Any:
    if isinstance(schema, str):
        return names.get(schema, schema)
    if isinstance(schema, dict) and isinstance(schema["type"], dict | list):
        return _resolved(schema["type"], names)
    return schema


def _kind(schema: Any) -> str:
    return str(schema["type"]) if isinstance(schema, dict) else str(schema)


def _label(schema: Any) -> str:
    if isinstance(schema, dict) and "name" in schema:
        return str(schema["name"]).rpartition(".")[2]
    return _kind(schema)


def _meaning(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "the bare type"
    marks = [f"{name}={schema[name]}" for name in _MEANING if name in schema]
    return ", ".join(marks) or "the bare type"
