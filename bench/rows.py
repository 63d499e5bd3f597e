"""What a workload comes out at: one row of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One figure against its bar.

    Attributes:
        workload: `W1`, or a part of it, `W1 memory`.
        what: What was measured, in a few words.
        unit: Of `ours` and `baselines`.
        against: What the baseline is.
        bar: What the ratio has to be at least, or at most.
        at_least: Which of the two.
        ours: One value per repetition.
        baselines: The baseline's, of the same repetitions.
        ratios: `ours` to `baselines`, pair by pair.
        facts: What else was seen.
    """

    workload: str
    what: str
    unit: str
    against: str
    bar: float
    ours: Sequence[float]
    baselines: Sequence[float]
    at_least: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """Pair by pair."""
        return [mine / theirs for mine, theirs in zip(self.ours, self.baselines, strict=True)]

    @property
    def ratio(self) -> float:
        """Their median."""
        return median(self.ratios)

    @property
    def median(self) -> float:
        """Of ours."""
        return median(self.ours)

    @property
    def baseline(self) -> float:
        """Median of the baseline's."""
        return median(self.baselines)

    @property
    def passed(self) -> bool:
        """Whether it meets the bar."""
        return self.ratio >= self.bar if self.at_least else self.ratio <= self.bar

    def as_json(self) -> dict[str, Any]:
        """An entry of `results.json`."""
        return {
            "workload": self.workload,
            "what": self.what,
            "ratio": round(self.ratio, 3),
            "ratio_min": round(min(self.ratios), 3),
            "ratio_max": round(max(self.ratios), 3),
            "bar": self.bar,
            "sense": "at least" if self.at_least else "at most",
            "pass": self.passed,
            "unit": self.unit,
            "median": round(self.median, 3),
            "min": round(min(self.ours), 3),
            "max": round(max(self.ours), 3),
            "baseline": round(self.baseline, 3),
            "against": self.against,
            "repetitions": len(self.ours),
            **self.facts,
        }
