"""What a graph was in the runs before this one: an edit, and an edit that is taken back, leave no trace in its topics.

A stage that comes back finds its positions as it left them; meanwhile others may have written to its topics. And where
another topic than before numbers the changes of a source, an index takes what is new for old. So the owner of a graph
remembers which stages it had, how often each was missing, and what numbered the changes that each sink gets. That
stands in the log as the state `history` of a seat `/history` that belongs to no stage.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import orjson

from nvisy.plan.model import Plan
from nvisy.topics.log import Log, Seat

_HISTORY = "history"


@dataclass(frozen=True, slots=True)
class History:
    """The runs of a graph so far, as far as they bear on the next one.

    Attributes:
        stages: Those of the last run.
        absences: By id of a stage there ever was: how often the graph lost it.
        numbered: By sink and source: the topic, or the stage, that numbered the changes; empty once they came no more.
        least: The incarnation that changes have to have so that no collection takes them for old.
    """

    stages: tuple[str, ...] = ()
    absences: Mapping[str, int] = field(default_factory=dict)
    numbered: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    least: int = 0

    @classmethod
    def of(cls, log: Log, graph: str) -> Self:
        """What the log has of a graph."""
        value = log.state(_seat(graph)).get(_HISTORY)
        if value is None:
            return cls()
        said: dict[str, Any] = orjson.loads(value)
        return cls(**{**said, "stages": tuple(said["stages"])})

    def with_stages(self, plan: Plan, kept: Collection[str] = ()) -> Self:
        """A run of this plan begins, and it keeps these stages for other generations."""
        now = tuple(dict.fromkeys([*(stage.id for stage in plan.stages), *sorted(kept)]))
        lost = {stage: self.absences.get(stage, 0) + 1 for stage in self.stages if stage not in now}
        return replace(self, stages=now, absences={**self.absences, **lost})

    def with_numbers(self, plan: Plan, least: int) -> Self:
        """Its changes are numbered as the plan says, from this incarnation on at least."""
        return replace(
            self, numbered={**self.numbered, **self._numbered_by(plan)}, least=max(least, self.least)
        )

    def numbers_otherwise(self, plan: Plan) -> bool:
        """Whether the changes of a source that a sink has got are numbered by something else, or come again."""
        now = self._numbered_by(plan)
        return any(
            by and by != self.numbered.get(sink, {}).get(source, by)
            for sink, sources in now.items()
            for source, by in sources.items()
        )

    def write(self, log: Log, graph: str) -> None:
        """Commit it.

        Raises:
            Refused: Another run owns the graph by now.
        """
        session = log.session(_seat(graph))
        try:
            session.commit({}, {_HISTORY: orjson.dumps(asdict(self))})
        finally:
            session.close()

    def _numbered_by(self, plan: Plan) -> dict[str, Mapping[str, str]]:
        found: dict[str, Mapping[str, str]] = {}
        for stage in plan.stages:
            by = plan.numbered_by(stage)
            for node in stage.sinks:
                generation = stage.generation(node)  # has a collection of its own
                sink = node if generation == 1 else f"{node}.{generation}"
                found[sink] = {**dict.fromkeys(self.numbered.get(sink, {}), ""), **by}
        return found


def _seat(graph: str) -> Seat:
    return Seat(graph, "/history", "", (), ())
