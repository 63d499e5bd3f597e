"""What is counted while a row is played, and what goes wrong."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Tally:
    """The figures of one cell, or of a row.

    Attributes:
        runs: Faults that were injected.
        lost: Records missing at rest.
        extra: Records at rest that should not be there, and dead letters that should be closed.
        dup: Texts that a model was asked for once more.
        asked_again: The first calls that had such texts.
        ttr_s: The longest time from a fault to rest, in seconds.
        calm_start_s: How long the first start took, when nothing had been done to it: the machine's speed.
        silent: Documents that are neither in the sink nor among the dead letters.
        failures: What went wrong, one line each.
        notes: What the row has measured besides.
    """

    runs: int = 0
    lost: int = 0
    extra: int = 0
    dup: int = 0
    asked_again: str = ""
    ttr_s: float = 0.0
    calm_start_s: float = 0.0
    silent: int = 0
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count another cell in."""
        self.runs += other.runs
        self.lost += other.lost
        self.extra += other.extra
        self.dup += other.dup
        self.ttr_s = max(self.ttr_s, other.ttr_s)
        self.calm_start_s = max(self.calm_start_s, other.calm_start_s)
        self.silent += other.silent
        self.failures += other.failures
        self.notes += other.notes

    @property
    def passed(self) -> bool:
        """Whether everything was as it has to be."""
        return self.runs > 0 and not (self.lost or self.extra or self.silent or self.failures)


class CellFailed(Exception):  # noqa: N818 - the end of a cell
    """Going on with this cell would tell nothing more."""
