"""What the fields of a primitive may hold, checked where it is made: metadata, JSON, vectors, spans, prices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, PlainSerializer, PlainValidator

from nvisy.primitives.provenance import Span

MAX_DEPTH = 64
"""How deep JSON values, call trees and schemas may nest: deeper ones are an attack or a mistake."""

USD_PLACES = 12
"""Decimal places of an amount of money: a single token costs millionths of a dollar."""

MetadataValue = None | bool | int | float | str | list[str]
"""What a metadata field may hold: the types that every store can filter by."""

_INT64 = range(-(2**63), 2**63)
_METADATA_TYPES = "null, a boolean, a number, a string or a list of strings"


def _checked_metadata(value: Any) -> dict[str, MetadataValue]:
    if not isinstance(value, Mapping):
        raise ValueError(f"metadata is a mapping of names to values, not {type(value).__name__}")  # noqa: TRY004 - pydantic's
    return {_checked_name(name): _checked_field(name, item) for name, item in value.items()}


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise ValueError(f"the name of a metadata field is a non-empty string, not {name!r}")
    return _utf8(name, "the name of a metadata field")


def _checked_field(name: str, value: Any) -> MetadataValue:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _utf8(value, f"metadata field {name!r}")
    if isinstance(value, int):
        if value not in _INT64:
            raise ValueError(f"metadata field {name!r} holds an integer beyond 64 bits; store it as a string")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(
                f"metadata field {name!r} holds {value}, which no store can compare; leave it out"
            )
        return float(value)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return [_utf8(item, f"metadata field {name!r}") for item in value]
    raise ValueError(f"metadata field {name!r} holds a {type(value).__name__}; it may hold {_METADATA_TYPES}")


def _utf8(text: str, what: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds text that is not valid Unicode (a lone surrogate)") from None
    return str(text)


Metadata = Annotated[
    dict[str, MetadataValue],
    PlainValidator(_checked_metadata, json_schema_input_type=dict[str, MetadataValue]),
]
"""The user's fields of a primitive."""


def is_sound(metadata: Mapping[str, MetadataValue]) -> bool:
    """Whether metadata that came over the wire, whose types are right, may stay."""
    return "" not in metadata and all(
        not isinstance(value, float) or math.isfinite(value) for value in metadata.values()
    )


def as_metadata(value: Any) -> MetadataValue:
    """A field of anybody's record as metadata: what stores can filter by stays as it is, the rest becomes JSON text.

    Raises:
        TypeError: It nests too deep to be written down.
    """
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int) and value in _INT64:
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    return str(value) if isinstance(value, int) else orjson.dumps(value, default=str).decode()


def checked_json(value: Any) -> Any:
    """`value`, once it is known to survive JSON: finite numbers, 64-bit integers, at most `MAX_DEPTH` deep.

    Raises:
        ValueError: It would not, and why.
    """
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"a JSON value may nest {MAX_DEPTH} levels deep, and this one is deeper")
        if isinstance(item, dict):
            if not all(isinstance(key, str) for key in item):
                raise ValueError("the keys of a JSON object are strings")
            waiting.extend((_utf8(key, "a JSON key"), MAX_DEPTH) for key in item)
            waiting.extend((child, depth + 1) for child in item.values())
        elif isinstance(item, list):
            waiting.extend((child, depth + 1) for child in item)
        else:
            _check_json_scalar(item)
    return value


def _check_json_scalar(value: Any) -> None:
    if isinstance(value, str):
        _utf8(value, "a JSON string")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"JSON has no {value}")
    elif isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        raise ValueError("a JSON integer may have 64 bits, and this one is longer")
    elif value is not None and not isinstance(value, bool | int | float):
        raise ValueError(f"{type(value).__name__} is not a JSON type")


Json = Annotated[JsonValue, PlainValidator(checked_json, json_schema_input_type=JsonValue)]
"""Any JSON value. On the wire it is JSON text."""


def checked_vector(value: Any) -> NDArray[np.float32]:
    """`value` as a read-only float32 array of shape (dimensions,).

    Raises:
        ValueError: It is empty, not one-dimensional, or holds something that is not a finite number.
    """
    try:
        with np.errstate(over="ignore"):  # what overflows is infinite, and refused below
            vector = np.asarray(value, dtype="<f4")
    except (TypeError, ValueError, OverflowError):
        raise ValueError("a vector is a sequence of numbers") from None
    if vector.ndim != 1 or not vector.size:
        raise ValueError(f"a vector has one dimension and at least one number, not the shape {vector.shape}")
    if not is_finite(vector):
        raise ValueError("a vector holds finite numbers only, and this one has a NaN or an infinity")
    if vector.flags.writeable:
        vector = vector.copy() if vector is value or vector.base is not None else vector
        vector.setflags(write=False)
    return vector


def is_finite(vector: NDArray[np.float32]) -> bool:
    """Whether every number in `vector` is finite."""
    # Half the time of `.all()`, and this runs for every vector that is read.
    return b"\0" not in np.isfinite(vector).tobytes()


Vector = Annotated[
    NDArray[np.float32],
    PlainValidator(checked_vector, json_schema_input_type=list[float]),
    PlainSerializer(lambda vector: vector.tolist(), return_type=list[float], when_used="json"),
]
"""A read-only float32 array of shape (dimensions,). On the wire it is little-endian float32 bytes."""


def _ordered(span: Span) -> Span:
    if not 0 <= span.start <= span.end:
        raise ValueError(f"a span runs from a start to an end at or behind it, and this one is {tuple(span)}")
    return span


TextSpan = Annotated[Span, AfterValidator(_ordered)]
"""A `Span` with 0 <= start <= end."""


def _rounded(value: Any) -> Any:
    # A price times a token count is a binary float with seventeen digits, most of them noise.
    return (
        Decimal(repr(value)).quantize(Decimal(1).scaleb(-USD_PLACES)) if isinstance(value, float) else value
    )


Usd = Annotated[
    Decimal,
    BeforeValidator(_rounded),
    Field(ge=0, max_digits=26, decimal_places=USD_PLACES, allow_inf_nan=False),
]
"""An amount in US dollars, exact; a float is rounded to `USD_PLACES` places."""

USD_END = Decimal(10) ** 14
"""No amount of money reaches it: `Usd` has 26 digits, and 12 of them are places."""

Count = Annotated[int, Field(ge=0, lt=2**63)]
"""How many: 0 or more."""

Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A duration in milliseconds."""
