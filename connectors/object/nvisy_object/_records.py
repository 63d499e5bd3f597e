"""Files of records: JSON Lines and CSV, read as a stream, one document per record."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import orjson

from nvisy.connector.source import Item, Unreadable
from nvisy.errors import Rejected
from nvisy.primitives import Document
from nvisy.primitives.primitive import MetadataValue

MAX_RECORD_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class RecordFormat:
    """How a file of records is read: its format, the field that holds the key and the one that holds the text."""

    format: Literal["jsonl", "csv"]
    key: str
    text: str


def read_records(path: Path, key: str, spec: RecordFormat) -> Iterator[Item | Unreadable]:
    """The records of a file, keyed `key#id`; one that cannot be read is `Unreadable`, the others go on."""
    reader = _jsonl if spec.format == "jsonl" else _csv
    uri = path.resolve().as_uri()
    try:
        for number, raw, parse in reader(path):
            yield _record(key, number, raw, parse, spec, uri)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        yield Unreadable(
            f"{key}#", Rejected(f"cannot read {path} to its end: {reason}", kind="unreadable"), uri
        )
    except (csv.Error, UnicodeDecodeError) as error:
        yield Unreadable(f"{key}#", Rejected(f"{path} is not {spec.format}: {error}", kind="decode"), uri)


Row = tuple[int, bytes, Callable[[bytes], Mapping[str, Any]]]


def _record(
    key: str,
    number: int,
    raw: bytes,
    parse: Callable[[bytes], Mapping[str, Any]],
    spec: RecordFormat,
    uri: str,
) -> Item | Unreadable:
    place = f"{key}#line-{number}"
    try:
        if len(raw) > MAX_RECORD_BYTES:
            raise Rejected(f"the record is larger than {MAX_RECORD_BYTES >> 20} MiB", kind="too_large")
        fields = parse(raw)
        record_id = fields.get(spec.key)
        if record_id is None or record_id == "" or isinstance(record_id, dict | list):
            raise Rejected(
                f'the record has no {spec.key!r}, which is its key; name another field as "key"',
                kind="no_key",
            )
    except Rejected as error:
        return Unreadable(
            place,
            Rejected(f"{place}: {error}", kind=error.kind),
            f"{uri}#line={number}",
            raw[:MAX_RECORD_BYTES],
        )
    return Item(
        key=f"{key}#{record_id}",
        fingerprint=hashlib.sha256(raw).digest()[:16],
        load=lambda: _document(fields, spec),
        uri=f"{uri}#line={number}",
    )


def _document(fields: Mapping[str, Any], spec: RecordFormat) -> Document:
    text = fields.get(spec.text)
    rest = {name: _metadata(value) for name, value in fields.items() if name != spec.text}
    if text is not None and not isinstance(text, str):
        raise Rejected(f'the field {spec.text!r} is no text; name another one as "text"', kind="decode")
    return Document(text=text or "", metadata=rest)


def _metadata(value: Any) -> MetadataValue:
    """Values that stores can filter by stay as they are; nested ones become JSON text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    return orjson.dumps(value).decode()


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb", buffering=1 << 20) as lines:
        number = 0
        while line := lines.readline(MAX_RECORD_BYTES + 2):
            number += 1
            if not line.endswith(b"\n"):
                _skip_line(lines, line)
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line := line.strip():
                yield number, line, _parse_json


def _skip_line(lines: BinaryIO, begun: bytes) -> None:
    """Move past the rest of a line that is too long to keep."""
    while begun and not begun.endswith(b"\n"):
        begun = lines.readline(MAX_RECORD_BYTES)


def _parse_json(raw: bytes) -> Mapping[str, Any]:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"it is no JSON: {error}", kind="decode") from None
    if not isinstance(value, dict):
        raise Rejected("it is JSON, but no object", kind="decode")
    return value


def _csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        for row in reader:
            yield reader.line_num, orjson.dumps(row, option=orjson.OPT_NON_STR_KEYS), _parse_row


def _parse_row(raw: bytes) -> Mapping[str, Any]:
    fields: dict[str, Any] = orjson.loads(raw)
    if "None" in fields or None in fields.values():
        raise Rejected("it has not as many fields as the header names", kind="decode")
    return fields
