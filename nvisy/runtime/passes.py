"""Carries the word that a source was passed over in full from stage to stage, behind everything the pass brought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nvisy.plan.model import Plan, Stage
from nvisy.topics.log import Log, TopicPartition

Positions = Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A pass over a source is in the topics between two stages, below these ends."""

    epoch: int
    ends: Positions


class Passes:
    """Full passes on their way through a plan."""

    def __init__(self, plan: Plan, log: Log) -> None:
        self._log = log
        self._stages = {stage.id: stage for stage in plan.stages}
        self._sources = {stage.id: plan.sources_of(stage) for stage in plan.stages}
        self._arrived: dict[tuple[str, str], dict[str, _Arrival]] = {}
        self._words: list[tuple[Stage, Mapping[str, int]]] = []

    def passed(self, above: Stage, sources: Mapping[str, int]) -> None:
        """A stage has the passes over these sources, by epoch, in its topics."""
        self._words.append((above, sources))  # where those end is asked in `due`, when the log may be down

    def due(self, stage: Stage, committed: Positions | None = None) -> Mapping[str, int]:
        """The passes that a stage has taken in up to its committed positions (without them: all), once.

        Raises:
            Unreachable: The log does not answer; nothing is forgotten.
        """
        while self._words:
            self._arrive(*self._words[0])
            del self._words[0]
        due: dict[str, int] = {}
        for source in self._sources[stage.id]:
            ways = {above for above in stage.upstream if source in self._sources[above]}
            arrived = self._arrived.get((stage.id, source), {})
            if not ways or arrived.keys() != ways:
                continue
            ends = [at for arrival in arrived.values() for at in arrival.ends.items()]
            if committed is None or all(committed.get(at, 0) >= end for at, end in ends):
                due[source] = min(arrival.epoch for arrival in arrived.values())
                del self._arrived[stage.id, source]
        return due

    def _arrive(self, above: Stage, sources: Mapping[str, int]) -> None:
        for stage in self._stages.values():
            if above.id not in stage.upstream:
                continue
            ends = {
                TopicPartition(topic, partition): end
                for topic in stage.inputs
                if topic in above.outputs and (info := self._log.describe(topic, settled=True)) is not None
                for partition, end in info.end.items()
            }
            for source, epoch in sources.items():
                self._arrived.setdefault((stage.id, source), {})[above.id] = _Arrival(epoch, ends)
