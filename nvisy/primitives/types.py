"""The primitives there are: the built-in ones, and those that users add."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from nvisy.errors import UsageError
from nvisy.primitives.audio_payload import AudioPayload
from nvisy.primitives.chunk import Chunk
from nvisy.primitives.completion import Completion
from nvisy.primitives.document import Document
from nvisy.primitives.embedding import Embedding
from nvisy.primitives.fine_tune_sample import FineTuneSample
from nvisy.primitives.image_payload import ImagePayload
from nvisy.primitives.primitive import Primitive
from nvisy.primitives.structured_output import StructuredOutput
from nvisy.primitives.tool_call_trace import ToolCallTrace

BUILTIN: tuple[type[Primitive], ...] = (
    AudioPayload,
    Chunk,
    Completion,
    Document,
    Embedding,
    FineTuneSample,
    ImagePayload,
    StructuredOutput,
    ToolCallTrace,
)
"""The nine primitives that Nvisy brings."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = frozenset({"Blob", "Change", "Primitive", "Provenance", "Span"})


class PrimitiveTypes(Mapping[str, type[Primitive]]):
    """Primitive classes by name, sorted. Never changes once it is made."""

    def __init__(self, extra: Iterable[type[Primitive]] = ()) -> None:
        """The built-in primitives, and `extra`: a user's own.

        Raises:
            UsageError: One of `extra` is not a primitive, or its name cannot be one or is taken.
        """
        types = {cls.type: cls for cls in BUILTIN}
        for cls in extra:
            _check(cls, types)
            types[cls.type] = cls
        self._types = dict(sorted(types.items()))

    def __getitem__(self, name: str) -> type[Primitive]:
        return self._types[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)

    def __repr__(self) -> str:
        return f"PrimitiveTypes({', '.join(self._types)})"


def _check(cls: object, types: Mapping[str, type[Primitive]]) -> None:
    if not (isinstance(cls, type) and issubclass(cls, Primitive)):
        raise UsageError(f"{cls!r} is no primitive: derive it from nvisy.primitives.Primitive")
    where = f"{cls.__module__}.{cls.__qualname__}"
    if not _NAME.fullmatch(cls.type) or cls.type in _RESERVED:
        raise UsageError(
            f"{where} cannot be named {cls.type!r}: set `type: ClassVar[str]` to letters and digits"
        )
    other = types.get(cls.type)
    if other is not None and other is not cls:
        taken = f"{other.__module__}.{other.__qualname__}"
        raise UsageError(
            f"{where} and {taken} are both named {cls.type!r}: set `type: ClassVar[str]` in one of them"
        )
