"""What an action is to Nvisy: a function from primitives to primitives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from nvisy.errors import Rejected
from nvisy.primitives.primitive import Primitive


@runtime_checkable
class EachAction(Protocol):
    """An action that looks at one primitive at a time: map, filter, chunk, extract, a user's function."""

    def each(self, item: Primitive) -> Iterable[Primitive]:
        """What `item` becomes: one primitive, several, or none.

        Ids, provenance and steps are the runtime's to fill in; `item` itself may be returned. A primitive cut
        from a text should have its `content_hash` set, which keeps its id while text around it moves.

        Raises:
            Rejected: The whole change goes to the dead letters, with this as the cause.
            Transient: The call may succeed later.
        """

    def close(self) -> None:
        """Let go of everything. May be called twice."""


@runtime_checkable
class BatchAction(Protocol):
    """An action that is cheaper for many primitives at once, whichever documents they belong to: embed."""

    max_batch: int

    def batch(self, items: Sequence[Primitive]) -> Sequence[Primitive | Rejected]:
        """One result per item, in order; a `Rejected` fails the change that its item belongs to, and no other."""

    def close(self) -> None:
        """Let go of everything. May be called twice."""


Action = EachAction | BatchAction
