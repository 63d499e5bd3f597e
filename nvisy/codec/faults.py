"""What is wrong with a value or with bytes, in words, and without quoting what a document says."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from nvisy.errors import CodecError, Rejected, UnknownSchema
from nvisy.primitives.primitive import Primitive


def unreadable(error: Exception, name: str) -> CodecError:
    """Why `error` came when a record of `name` was made into a primitive."""
    if isinstance(error, CodecError):
        return error
    return CodecError(
        f"{name}: {_reasons(error) if isinstance(error, ValidationError) else type(error).__name__}"
    )


def unwritable(error: Exception, items: Iterable[Primitive]) -> CodecError:
    """Why `error` came when `items` were written."""
    if isinstance(error, CodecError):
        return error
    for item in items:
        try:
            type(item).model_validate(item.__dict__, by_name=True)
        except ValidationError as fault:
            return CodecError(f"{item.type} {item.id}: {_reasons(fault)}")
    reasons = {
        UnicodeEncodeError: "text that is not valid Unicode",
        OverflowError: "an integer beyond 64 bits",
    }
    reason = reasons.get(type(error), type(error).__name__)
    return CodecError(f"a value that its schema does not allow: {reason}")


def undecodable(error: CodecError) -> Rejected:
    """`error` as the rejection of the one record that it is about; it may pass once a missing schema is there."""
    return Rejected(str(error), kind="decode", retryable=isinstance(error, UnknownSchema))


def not_installed(item: Primitive) -> CodecError:
    """`item` is of a class that this process does not know as a primitive."""
    cls = type(item)
    return CodecError(
        f"{cls.__module__}.{cls.__qualname__} is not among the primitives of this process; register it under the "
        "entry point group nvisy.primitives"
    )


def _reasons(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, each['loc']))} {each['msg']}".strip() for each in faults[:3])
