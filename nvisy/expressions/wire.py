"""CEL's compiled expression as messages: what we read of `cel/expr/checked.proto` and `syntax.proto`.

The CEL package exposes no syntax tree, only a serialised `cel.expr.CheckedExpr`, whose numbers are public and
stable. Fields that are not listed here survive a round trip unread.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import (  # type: ignore[import-untyped]
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "CheckedExpr": {"expr": (4, "Expr"), "source_info": (5, "SourceInfo")},
    "SourceInfo": {"positions": (4, "*Position")},
    "Position": {"expr_id": (1, "int64"), "offset": (2, "int32")},
    "Expr": {
        "id": (2, "int64"),
        "const": (3, "Constant"),
        "ident": (4, "Ident"),
        "select": (5, "Select"),
        "call": (6, "Call"),
        "list": (7, "List"),
        "struct": (8, "Struct"),
        "comprehension": (9, "Comprehension"),
    },
    "Constant": {
        "null": (1, "int32"),
        "bool": (2, "bool"),
        "int": (3, "int64"),
        "uint": (4, "uint64"),
        "double": (5, "double"),
        "string": (6, "string"),
        "bytes": (7, "bytes"),
    },
    "Ident": {"name": (1, "string")},
    "Select": {"operand": (1, "Expr"), "field": (2, "string"), "test_only": (3, "bool")},
    "Call": {"target": (1, "Expr"), "function": (2, "string"), "args": (3, "*Expr")},
    "List": {"elements": (1, "*Expr")},
    "Struct": {"entries": (2, "*Entry")},
    "Entry": {"key": (3, "Expr"), "value": (4, "Expr")},
    "Comprehension": {
        "range": (2, "Expr"),
        "init": (4, "Expr"),
        "condition": (5, "Expr"),
        "step": (6, "Expr"),
        "result": (7, "Expr"),
    },
}
"""Message name to field name to (number, type); `*` marks a repeated field."""


def _build_classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="nvisy/cel.proto", package="nvisy.cel", syntax="proto2")
    descriptor = descriptor_pb2.FieldDescriptorProto
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, (number, spelled) in fields.items():
            kind = spelled.removeprefix("*")
            label = descriptor.LABEL_REPEATED if kind != spelled else descriptor.LABEL_OPTIONAL
            field = message.field.add(name=name, number=number, label=label)
            if kind in _MESSAGES:
                field.type, field.type_name = descriptor.TYPE_MESSAGE, f".nvisy.cel.{kind}"
            else:
                field.type = descriptor.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"nvisy.cel.{name}"))
        for name in _MESSAGES
    }


_TYPE_URL = "type.googleapis.com/cel.expr.CheckedExpr"
_CLASSES = _build_classes()
Expr: Any = _CLASSES["Expr"]


def unpack(serialized: bytes) -> Any:
    """The `CheckedExpr` message in what `cel.Expression.serialize` gives."""
    return _CLASSES["CheckedExpr"].FromString(any_pb2.Any.FromString(serialized).value)


def pack(checked: Any) -> bytes:
    """The inverse of `unpack`, for `cel.Env.deserialize`."""
    envelope = any_pb2.Any(type_url=_TYPE_URL, value=checked.SerializeToString())
    serialized: bytes = envelope.SerializeToString()
    return serialized
