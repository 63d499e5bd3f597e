"""The types a field of a record may have in an expression, and what CEL calls them."""

from __future__ import annotations

from enum import Enum
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]


class FieldType(Enum):
    """The type of a field, or the type that an expression has to give.

    A NULLABLE type is checked like the plain one and may hold None besides. DYN is checked only when the
    expression runs. A field that no expression should touch (a vector) is simply not declared.
    """

    STRING = "string"
    INT = "int"
    DOUBLE = "double"
    BOOL = "bool"
    BYTES = "bytes"
    TIMESTAMP = "timestamp"
    NULLABLE_STRING = "string or null"
    NULLABLE_INT = "int or null"
    NULLABLE_DOUBLE = "double or null"
    NULLABLE_BOOL = "bool or null"
    STRINGS = "list of strings"
    LIST = "list"
    MAP = "map"
    DYN = "any"

    @property
    def nullable(self) -> bool:
        """Whether None is a value of this type."""
        return self is FieldType.DYN or self.name.startswith("NULLABLE_")


CHECKED_AS: dict[FieldType, Any] = {
    FieldType.STRING: cel.Type.STRING,
    FieldType.INT: cel.Type.INT,
    FieldType.DOUBLE: cel.Type.DOUBLE,
    FieldType.BOOL: cel.Type.BOOL,
    FieldType.BYTES: cel.Type.BYTES,
    FieldType.TIMESTAMP: cel.Type.TIMESTAMP,
    FieldType.NULLABLE_STRING: cel.Type("google.protobuf.StringValue"),
    FieldType.NULLABLE_INT: cel.Type("google.protobuf.Int64Value"),
    FieldType.NULLABLE_DOUBLE: cel.Type("google.protobuf.DoubleValue"),
    FieldType.NULLABLE_BOOL: cel.Type("google.protobuf.BoolValue"),
    FieldType.STRINGS: cel.Type.List(cel.Type.STRING),
    FieldType.LIST: cel.Type.List(cel.Type.DYN),
    FieldType.MAP: cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
    FieldType.DYN: cel.Type.DYN,
}
"""What the compiler believes about a field. CEL's wrapper messages are its nullable scalars."""
