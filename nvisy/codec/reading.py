"""Avro values to bytes and back: whatever the bytes are, the worst that they do is a `CodecError`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import fastavro
import orjson
from fastavro.read import SchemaResolutionError

from nvisy.codec.evolution import breaks
from nvisy.codec.safety import readable
from nvisy.codec.writer import Write, writer
from nvisy.errors import CodecError


@dataclass(frozen=True, slots=True)
class Reading:
    """A schema, ready to read and write with.

    Attributes:
        text: It, as JSON text.
        parsed: It, as fastavro wants it.
        names: Full names of the records at its top: one, or the branches of a union.
        is_union: Whether it is a union at its top.
        into: The schema of today that values are resolved into, or None where it is the same.
        write: Writes values of it; None where it is only read.
    """

    text: str
    parsed: Any
    names: frozenset[str]
    is_union: bool
    into: Any = None
    write: Write | None = None

    @classmethod
    def of(cls, schema: Any, *, logical_types: bool = False) -> Reading:
        """The reading of a schema, JSON or its text.

        Raises:
            CodecError: It is not safe to read with, or not that of a record or a union of records.
        """
        parsed = readable(schema, logical_types=logical_types)
        branches = parsed if isinstance(parsed, list) else [parsed]
        names = frozenset(
            each["name"] for each in branches if isinstance(each, dict) and each["type"] == "record"
        )
        if not names:
            raise CodecError("a record is expected, and the schema is that of something else")
        text = schema if isinstance(schema, str) else orjson.dumps(schema).decode()
        write = None if logical_types else writer(parsed)
        return cls(text, parsed, names, isinstance(parsed, list), write=write)

    def reading(self, writer: Reading) -> Reading:
        """How to read what was written with `writer` into this schema."""
        if orjson.loads(writer.text) == orjson.loads(self.text):
            return self
        return Reading(writer.text, writer.parsed, self.names, writer.is_union, self.parsed)


def written(head: bytes, reading: Reading, datum: Any) -> bytes:
    """`head`, and behind it `datum` as the schema says. Raises whatever fastavro stumbles over."""
    pieces = [head]
    if reading.write is not None:
        with suppress(Exception):  # fastavro knows better, or says what is wrong
            reading.write(pieces.append, datum)
            return b"".join(pieces)
    out = BytesIO()
    out.write(head)
    fastavro.schemaless_writer(out, reading.parsed, datum)
    return out.getvalue()


def read(value: bytes, start: int, reading: Reading, max_bytes: int) -> tuple[str, dict[str, Any]]:
    """Full name and fields of the record in `value[start:]`.

    Raises:
        CodecError: The bytes are not what the schema says, or too many.
    """
    if len(value) > max_bytes:
        raise CodecError(f"{len(value)} bytes are more than the {max_bytes} that are read")
    source = BytesIO(value)
    source.seek(start)
    try:
        if reading.is_union:
            datum: Any = fastavro.schemaless_reader(
                source,
                reading.parsed,
                reading.into,
                return_record_name=True,
                return_record_name_override=True,
            )
        else:  # an eighth faster, and no record of ours has a union of records inside
            datum = fastavro.schemaless_reader(source, reading.parsed, reading.into)
    except SchemaResolutionError as error:
        raise CodecError(_unresolvable(reading)) from error
    except Exception as error:  # on damaged bytes fastavro raises whatever it stumbles over
        raise CodecError(f"damaged record of {_among(reading)}: {type(error).__name__}") from error
    if source.tell() != len(value):
        raise CodecError(f"damaged record of {_among(reading)}: {len(value) - source.tell()} bytes too many")
    if isinstance(datum, tuple):
        name, fields = datum
        return name, fields
    if not isinstance(datum, dict):
        raise CodecError(f"damaged record of {_among(reading)}: it holds no record")
    (name,) = reading.names
    return name, datum


def _among(reading: Reading) -> str:
    return " or ".join(sorted(reading.names))


def _unresolvable(reading: Reading) -> str:
    """What of the schema that a record was written with cannot be read as that of today."""
    faults = breaks(reading.into, reading.parsed)
    why = f": {faults[0]}" if faults else ""
    return f"a record of {_among(reading)} was written with a schema that cannot be read as today's{why}"
