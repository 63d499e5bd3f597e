"""Which of a graph's dead letters a command is about."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from nvisy.errors import UsageError
from nvisy.runtime.dead_letters import DeadLetter


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions that a dead letter meets all of; without any, all are meant.

    Attributes:
        ids: As `nvisy dlq list` shows them.
        node: The node that refused the change.
        kind: The class of the fault.
        retryable: Whether the same bytes may pass later.
        older_than_s: It failed at least so many seconds ago.
        newer_than_s: It failed at most so many seconds ago.
        key: Of the document.
    """

    ids: tuple[str, ...] = ()
    node: str = ""
    kind: str = ""
    retryable: bool | None = None
    older_than_s: float | None = None
    newer_than_s: float | None = None
    key: str = ""

    @property
    def is_everything(self) -> bool:
        """It has no condition."""
        return self == Selection()

    def of(self, letters: Iterable[DeadLetter], now_s: float | None = None) -> list[DeadLetter]:
        """Those that are meant, in their order. `now_s`: seconds since 1970, the present if nothing is given.

        Raises:
            UsageError: One that is named by its id is not open.
        """
        now_ms = (time.time() if now_s is None else now_s) * 1000
        chosen = [letter for letter in letters if self._meets(letter, now_ms)]
        missing = set(self.ids) - {letter.id for letter in chosen}
        if missing:
            raise UsageError(
                f"no open dead letter {', '.join(sorted(missing))} is meant; `nvisy dlq list` shows those there are"
            )
        return chosen

    def _meets(self, letter: DeadLetter, now_ms: float) -> bool:
        age_s = (now_ms - letter.failed_at_ms) / 1000
        return (
            (not self.ids or letter.id in self.ids)
            and self.node in ("", letter.node)
            and self.kind in ("", letter.kind)
            and self.retryable in (None, letter.retryable)
            and (self.older_than_s is None or age_s >= self.older_than_s)
            and (self.newer_than_s is None or age_s <= self.newer_than_s)
            and self.key in ("", letter.key)
        )
