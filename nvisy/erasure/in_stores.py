"""What sinks hold of a document: taken out, and not left behind in files where that is for us to say."""

from __future__ import annotations

from contextlib import closing

from nvisy.connector.sink import HeldHead, Hit, Index, RecordSet, Scrubs
from nvisy.erasure.place import Place
from nvisy.errors import Refused
from nvisy.graph.validate import CheckedGraph
from nvisy.runtime.records import lane_of
from nvisy.runtime.settings import Settings
from nvisy.runtime.sinks import open_sink, take_over
from nvisy.topics.log import Claim, Log


class InSink:
    """One sink of a graph."""

    def __init__(self, checked: CheckedGraph, sink: str, settings: Settings) -> None:
        self._checked = checked
        self.sink = sink
        self._settings = settings
        self._graph = checked.graph.id

    def knows(self, source: str, key: str) -> bool:
        """Whether it holds the document, or remembers that it did."""
        head, hits = self._held(source, key)
        return head is not None or bool(hits)

    def count(self, source: str, key: str) -> int:
        """How many records it holds of the document."""
        return len(self._held(source, key)[1])

    def erase(self, source: str, key: str, log: Log, claim: Claim, before: int) -> Place | None:
        """Take out what is left of the document, and rid the store's files of it; nothing where there is no collection.

        `before`: how many records it held when this began.
        """
        if (index := self._index()) is None:
            return None
        index.close()
        head, hits = self._held(source, key)
        opened = take_over(
            self._checked, self.sink, log.id, self._settings.state, token=claim.token, slot=0, adopt=False
        )
        with closing(opened.writer) as writer:
            if hits:
                lane, version = lane_of(self._graph, self.sink, source), head.version if head else 0
                writer.rewrite([RecordSet(lane, key, source, version, "", ())])
            until = writer.scrub() if isinstance(writer, Scrubs) else _KEEPS
        left = self.count(source, key)
        return Place(f"sink {self.sink}", before - left, left, until)

    def _held(self, source: str, key: str) -> tuple[HeldHead | None, list[Hit]]:
        index = self._index()
        if index is None:
            return None, []
        lane = lane_of(self._graph, self.sink, source)
        with closing(index):
            head = next((head for head in index.heads([key]) if head.lane == lane), None)
            return head, [hit for hit in index.records(key) if hit.lineage["lane"] == lane]

    def _index(self) -> Index | None:
        """Its index, or nothing where there is none yet."""
        try:
            return open_sink(self._checked, self.sink, self._settings.state)[1].index()
        except Refused:
            return None


_KEEPS = "the store keeps what is deleted from it as it does for everybody: ask its administrator"
