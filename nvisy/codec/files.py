"""The schemas as files, `schemas/avro/<name>.avsc`, with the versions that data may still be written in beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from nvisy.codec.change_record import change_schema
from nvisy.codec.derive import primitive_record
from nvisy.codec.evolution import breaks
from nvisy.primitives.types import BUILTIN, PrimitiveTypes

_HISTORY = "history"
_VERSION = re.compile(r"(?P<name>.+)\.v(?P<number>\d+)\.avsc")


def schemas() -> dict[str, Any]:
    """Every schema of ours by file name: one for each built-in primitive, and the union on a graph's topics."""
    named = {f"{_snake(cls.type)}.avsc": primitive_record(cls).schema for cls in BUILTIN}
    return {**named, "change.avsc": change_schema(PrimitiveTypes())[0]}


def write_schemas(folder: Path) -> list[str]:
    """Bring the files below `folder` up to date with the code; a schema that changed is kept as a version too.

    Returns:
        Names of the files written, relative to `folder`.
    """
    changed = []
    (folder / _HISTORY).mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        versions = _versions(folder, name)
        if not versions or _shape(versions[-1]) != _shape(schema):
            changed.append(f"{_HISTORY}/{name.removesuffix('.avsc')}.v{len(versions) + 1}.avsc")
            (folder / changed[-1]).write_bytes(_text(schema))
        if _bytes(folder / name) != _text(schema):
            changed.append(name)
            (folder / name).write_bytes(_text(schema))
    return changed


def drifted(folder: Path) -> list[str]:
    """Names of the files below `folder` that are not what the code says: stale, missing, or of nothing known."""
    expected = schemas()
    stale = [name for name, schema in expected.items() if _bytes(folder / name) != _text(schema)]
    unknown = [path.name for path in folder.glob("*.avsc") if path.name not in expected]
    unkept = [
        f"{_HISTORY}/{name}"
        for name, schema in expected.items()
        if all(_shape(version) != _shape(schema) for version in _versions(folder, name)[-1:])
    ]
    return sorted(stale + unknown + unkept)


def incompatible(folder: Path) -> list[str]:
    """What the code of today could not read of data in an earlier version, or a reader of one of its data.

    An older reader may meet a new primitive, or a new word of an enum, only once somebody uses it; that is allowed.
    """
    return [fault for name, schema in schemas().items() for fault in _faults(folder, name, schema)]


def _faults(folder: Path, name: str, schema: Any) -> Iterator[str]:
    for number, version in enumerate(_versions(folder, name), 1):
        for fault in breaks(reader=schema, writer=version):
            yield f"{name}: data of version {number} cannot be read any more: {fault}"
        for fault in breaks(reader=version, writer=schema, new_branches=True):
            yield f"{name}: readers of version {number} cannot read it any more: {fault}"


def _versions(folder: Path, name: str) -> list[Any]:
    found = {}
    for path in (folder / _HISTORY).glob("*.avsc"):
        match = _VERSION.fullmatch(path.name)
        if match and match["name"] == name.removesuffix(".avsc"):
            found[int(match["number"])] = orjson.loads(path.read_bytes())
    return [found[number] for number in sorted(found)]


def _shape(schema: Any) -> Any:
    """`schema` without the sentences for people."""
    if isinstance(schema, list):
        return [_shape(each) for each in schema]
    if isinstance(schema, dict):
        return {name: _shape(each) for name, each in schema.items() if name != "doc"}
    return schema


def _text(schema: Any) -> bytes:
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
