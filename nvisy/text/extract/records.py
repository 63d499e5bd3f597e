"""Files of records as text: JSON Lines, JSON and CSV, a paragraph for each record."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from nvisy.errors import Rejected
from nvisy.text.extract.extracted import Extracted, Metadata, clean
from nvisy.text.extract.plain import decode

_SHOWN_FIELDS = 12


def read_jsonl(content: bytes, charset: str = "", text_field: str | None = None) -> Extracted:
    """A paragraph for each line's value; blank lines are skipped.

    Raises:
        Rejected: `binary`, `decode`, or `no_field` if a record lacks `text_field`.
    """
    text, metadata = decode(content, charset)
    return _joined((_parsed(line, number) for number, line in _lines(text)), metadata, text_field)


def read_json(content: bytes, charset: str = "", text_field: str | None = None) -> Extracted:
    """A paragraph for each item of a list; one for anything else.

    Raises:
        Rejected: `binary`, `decode`, or `no_field` if a record lacks `text_field`.
    """
    text, metadata = decode(content, charset)
    value = _parsed(text, None)
    return _joined(value if isinstance(value, list) else [value], metadata, text_field)


def read_csv(content: bytes, charset: str = "", text_field: str | None = None) -> Extracted:
    """A paragraph for each row, the first row naming the fields.

    Fields are separated by whichever of `,`, `;` and tab is the most frequent in the first line.

    Raises:
        Rejected: `binary`, `decode`, or `no_field` if there is no field `text_field`.
    """
    return _table(content, charset, text_field, ",;\t")


def read_tsv(content: bytes, charset: str = "", text_field: str | None = None) -> Extracted:
    """`read_csv` for fields separated by tabs.

    Raises:
        Rejected: as `read_csv`.
    """
    return _table(content, charset, text_field, "\t")


def _table(content: bytes, charset: str, text_field: str | None, delimiters: str) -> Extracted:
    text, metadata = decode(content, charset)
    first_line = text[: text.find("\n")] if "\n" in text else text
    rows = csv.DictReader(
        io.StringIO(text, newline=""),
        delimiter=max(delimiters, key=first_line.count),
        restkey="rest",
        restval="",
    )
    try:
        return _joined(rows, metadata, text_field)
    except csv.Error as error:
        raise Rejected(
            f"CSV line {rows.line_num:,}: {error}; quote the field correctly", kind="decode"
        ) from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _parsed(text: str, line: int | None) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        where = f"line {line:,}" if line else f"line {error.lineno:,}, column {error.colno:,}"
        raise Rejected(f"{where} is not valid JSON ({error.msg}); correct it", kind="decode") from None


def _joined(records: Iterable[Any], metadata: Metadata, text_field: str | None) -> Extracted:
    texts = [_rendered(record, number, text_field) for number, record in enumerate(records, 1)]
    return Extracted(clean("\n\n".join(text for text in texts if text)), metadata | {"records": len(texts)})


def _rendered(record: Any, number: int, text_field: str | None) -> str:
    if text_field is None:
        if not isinstance(record, dict):
            return _scalar(record)
        return "\n".join(
            f"{key}: {_scalar(value)}" for key, value in record.items() if value not in (None, "", [])
        )
    if isinstance(record, dict) and text_field in record:
        return _scalar(record[text_field])
    fields = ", ".join(map(str, list(record)[:_SHOWN_FIELDS])) if isinstance(record, dict) else "no fields"
    raise Rejected(
        f"record {number:,} has no field `{text_field}` (it has {fields}); set `text_field` to one it has",
        kind="no_field",
    )


def _scalar(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise Rejected("a record is nested too deeply to be text; flatten it", kind="decode") from None
