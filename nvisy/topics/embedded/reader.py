"""Reading topics of an embedded log as they grow, from any process."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from nvisy.topics.embedded.sqlite import said_plainly
from nvisy.topics.embedded.topic_file import TopicFile
from nvisy.topics.log import LogRecord, TopicPartition

_SHORTEST_WAIT_S = 0.001
_LONGEST_WAIT_S = 0.004


class Reader:
    """Takes records from several partitions in turn.

    A partition read to its end is left alone until its file changes.
    """

    def __init__(self, files: Iterable[TopicFile], starts: Mapping[TopicPartition, int]) -> None:
        self._files = {file.name: file for file in files}
        self._next = dict(starts)
        self._turn = list(starts)
        self._dry: dict[TopicPartition, int] = {}

    def poll(
        self, limit: int, timeout_s: float, held: Collection[TopicPartition] = ()
    ) -> Sequence[LogRecord]:
        """Up to `limit` records as soon as there are any, nothing after `timeout_s` seconds; none of those held."""
        deadline = time.monotonic() + timeout_s
        wait_s = _SHORTEST_WAIT_S
        while True:
            records = self._take(limit, held)
            left_s = deadline - time.monotonic()
            if records or left_s <= 0:
                return records
            time.sleep(min(wait_s, left_s))
            wait_s = min(wait_s * 1.5, _LONGEST_WAIT_S)

    def passed(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether every partition of ours has been read up to its end in `ends`."""
        return all(self._next[place] >= end for place, end in ends.items() if place in self._next)

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files.values():
            file.close()

    def _take(self, limit: int, held: Collection[TopicPartition]) -> list[LogRecord]:
        records: list[LogRecord] = []
        versions: dict[str, int] = {}
        for place in tuple(self._turn):
            if place in held:
                continue
            file = self._files[place.topic]
            with said_plainly(file.path):
                if place.topic not in versions:
                    file.refuse_if_replaced()
                    versions[place.topic] = file.version()
                if self._dry.get(place) == versions[place.topic]:
                    continue
                page = file.page(place.partition, self._next[place], limit - len(records))
            self._next[place] = page.next
            if page.ended:
                self._dry[place] = versions[place.topic]
            records = records + page.records if records else page.records
            if not page.ended:
                self._turn.remove(place)
                self._turn.append(place)
                break
        return records
