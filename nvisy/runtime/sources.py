"""Opening the source of a stage: the reader that turns what it says into changes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from nvisy.connector.descriptor import SourceDescriptor
from nvisy.connector.source import ListingSource
from nvisy.errors import Rejected
from nvisy.graph.hashing import graph_hash
from nvisy.graph.validate import CheckedGraph
from nvisy.runtime.clearing import live_keys
from nvisy.runtime.codecs import ChangeDecoder
from nvisy.runtime.counters import NodeCounters
from nvisy.runtime.key_by_key import KeyByKey
from nvisy.runtime.known import KnownKeys
from nvisy.runtime.listing import Listing, ListingReader
from nvisy.runtime.memory import Memory
from nvisy.runtime.messages import StageSpec
from nvisy.runtime.reading import Reader
from nvisy.runtime.settings import Settings
from nvisy.runtime.streaming import StreamingReader
from nvisy.runtime.watchdog import Activity
from nvisy.topics.log import Log, LogRecord

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SourceOpening:
    """Opens the source of one stage of a run.

    Attributes:
        changes: Decodes the origin topic.
        memory: Of the stage; its epoch is settled.
        failed_keys: Message keys of what is in the dead letters.
        stack: Closes what is opened here.
        suspects: What earlier lives of the stage died of, or may have.
        activity: Is told while something is loaded.
        forgotten: By source node, the keys whose documents are to stay away.
    """

    checked: CheckedGraph
    spec: StageSpec
    log: Log
    settings: Settings
    changes: ChangeDecoder
    memory: Memory
    failed_keys: Callable[[], Sequence[bytes]]
    stack: ExitStack
    suspects: KeyByKey | None
    activity: Activity
    forgotten: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def open(self, node: str, topic: str, origin: str, inc: int, counters: NodeCounters) -> Reader:
        """The reader of a source node.

        Args:
            node: The source node.
            topic: Its origin topic, or empty where the stage goes straight into a sink.
            origin: Names what its known keys are compared with where there is no topic.
            inc: Incarnation of the changes, where no topic numbers them.
            counters: Of the node.

        Raises:
            Unreachable: The source does not answer.
            Fatal: It cannot be read.
        """
        checked = self.checked.nodes[node]
        assert isinstance(checked.descriptor, SourceDescriptor)
        context = replace(self.checked.context(node, self.settings.state), follow=self.spec.follow)
        source = checked.descriptor.open(checked.params, context)
        source.check()
        inc_here = None if topic else inc  # else the topic numbers its changes
        if isinstance(source, ListingSource):
            known = self._known(node, topic, origin, inc)
            self.stack.callback(known.close)
            return ListingReader(source, known, self._listing(node, topic, inc_here), counters)
        return StreamingReader(
            source,
            self.memory,
            node=node,
            run=self.spec.run,
            graph=graph_hash(self.checked.graph),
            partitions=self.checked.graph.log.partitions,
            topic=topic,
            inc=inc_here,
            counters=counters,
            live_keys=live_keys(self.log, topic, self.changes, node),
            forgotten=self.forgotten.get(node, frozenset()),
        )

    def _listing(self, node: str, topic: str, inc: int | None) -> Listing:
        prefix = f"{node}/"

        def failed_keys() -> Sequence[str]:
            keys = [key.decode("utf-8", "replace") for key in self.failed_keys()]
            return [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]

        return Listing(
            node=node,
            run=self.spec.run,
            graph=graph_hash(self.checked.graph),
            partitions=self.checked.graph.log.partitions,
            topic=topic,
            inc=inc,
            follow=self.spec.follow,
            allow_mass_delete=self.spec.allow_mass_delete,
            failed_keys=failed_keys,
            forgotten=self.forgotten.get(node, frozenset()),
            suspects=self.suspects,
            activity=self.activity,
        )

    def _known(self, node: str, topic: str, origin: str, inc: int) -> KnownKeys:
        """The copy of what the log holds of a source, brought up to the end of the log."""
        path = self.settings.state / "known" / f"{self.checked.graph.id}.{node}.db"
        info = self.log.describe(topic) if topic else None
        origin = info.id if info else origin
        memory = self.memory
        known = KnownKeys(path, f"{origin}/{memory.epoch}")
        if info:
            self._catch_up(known, node, topic, info.end, memory.epoch)
        elif known.was_lost and inc > 1:  # nobody else knows the keys: only a full pass tells which are gone
            memory.begin_epoch(inc)
            known.start_over(f"{origin}/{memory.epoch}")
        return known

    def _catch_up(self, known: KnownKeys, node: str, topic: str, ends: Mapping[int, int], epoch: int) -> None:
        start = known.followed()
        if all(start.get(partition, 0) >= end for partition, end in ends.items()):
            return
        ours = f"{node}/".encode()
        notes: dict[str, bytes | None] = {}
        for record in self.log.scan(topic, start):
            if record.key is None or not record.key.startswith(ours):
                continue  # of a source that filled the topic before this one did
            key, fingerprint = self._noted(record, epoch)
            notes[key] = fingerprint
            if len(notes) >= 1000:
                known.note(notes)
                notes = {}
        known.note(notes, followed=ends)

    def _noted(self, record: LogRecord, epoch: int) -> tuple[str, bytes | None]:
        """The key of a record, and what it was known as: nothing where it has to be sent again, None when deleted."""
        try:
            change = self.changes.decode(record)
        except Rejected as error:
            _log.warning("topic %s holds a record that is no change of ours: %s", record.topic, error)
            return (record.key or b"").decode("utf-8", "replace").partition("/")[2], b""
        version = change.origin.version
        if change.op == "delete":
            return change.origin.key, None
        return change.origin.key, change.fingerprint if version and version.inc >= epoch else b""
