"""What an action is to Nvisy: a function from primitives to primitives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

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


class Question(NamedTuple):
    """What an item asks of another system: `key` is equal where the answer would be, whichever item asks."""

    key: str
    content: Any


@runtime_checkable
class AskingAction(Protocol):
    """A batch action that asks another system, which takes its time: embed, with a model behind an API.

    The runtime has several calls under way at once, fills them across documents, asks nothing twice, splits a batch
    that was rejected down to the question at fault, and repeats what was `Transient`. All methods but `close` may be
    called by several threads at once.

    Attributes:
        max_batch: Questions per call, at most.
        max_in_flight: Calls side by side, at most.
    """

    max_batch: int
    max_in_flight: int

    def questions(self, items: Sequence[Primitive]) -> Sequence[Question]:
        """What each item asks."""

    def known(self, keys: Sequence[str]) -> Mapping[str, Any]:
        """Answers that need no call, by key."""

    def ask(self, questions: Sequence[Question]) -> Sequence[Any]:
        """One call: an answer per question, a `Rejected` where one alone has none.

        Raises:
            Transient: The call may succeed later.
            Rejected: One of the questions is at fault.
            Fatal: No call can succeed.
        """

    def keep(self, questions: Sequence[Question], answers: Sequence[Any]) -> None:
        """A call was answered: the place for a cache, beside the next call and before the items are answered."""

    def answered(self, item: Primitive, question: Question, answer: Any) -> Primitive | Rejected:
        """What the item becomes."""

    def is_up(self) -> bool:
        """Whether the other system answers a harmless question."""

    def close(self) -> None:
        """Let go of everything, also under calls that run. May be called twice."""


Action = EachAction | BatchAction | AskingAction
