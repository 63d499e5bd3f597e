"""Where a vector comes from, and what came of a document: `nvisy lineage`.

A record carries its lineage with it, so the store alone answers most of it. The graph adds what the nodes were asked to
do, as long as they are configured as they were then; the log adds the record that the version stands for. What neither
can say is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from nvisy.connector.descriptor import SinkDescriptor, SourceDescriptor
from nvisy.connector.sink import HeldHead, Hit, Index
from nvisy.errors import NvisyError, Rejected, UsageError
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.plan.explain import does
from nvisy.plan.model import Inlet
from nvisy.primitives.provenance import Version
from nvisy.query import sinks_to_ask
from nvisy.runtime.codecs import Codecs
from nvisy.runtime.memory import recalled
from nvisy.runtime.numbering import Numbering
from nvisy.runtime.records import lane_of
from nvisy.runtime.run_history import KEPT_DAYS, RunRecord, runs_of
from nvisy.runtime.settings import Settings
from nvisy.runtime.sinks import open_sink
from nvisy.topics.log import Log, LogRecord

COST_UNKNOWN = "what the model was paid for this text alone: it is counted for a run, not for a text"


@dataclass(frozen=True, slots=True)
class NodePassed:
    """A node that a record went through.

    Attributes:
        does: Its provider or action; empty for a branch, a fan-out and a fan-in, and where the graph has no such node.
        configuration: Hash of what it was configured as then; empty for the source, which no record bears.
        params: Its parameters, as the graph has them: those of then, unless `is_as_then` says otherwise.
        is_as_then: Whether it is configured today as it was then; None where that is not known.
        models: Models it asks today, `name@revision`.
    """

    node: str
    does: str
    configuration: str
    params: Mapping[str, Any]
    is_as_then: bool | None
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InLog:
    """The record of the log that a version stands for.

    Attributes:
        partition: Where it stands in its topic.
        appended_at: When it was written there, ISO 8601, UTC.
        size: Bytes of its value.
    """

    partition: int
    appended_at: str
    size: int


@dataclass(frozen=True, slots=True)
class Paid:
    """What a run was paid for in all.

    Attributes:
        texts: That models had to embed; those that the cache had are not among them.
        tokens: As the models counted them, and `cost_usd` what they cost; None where they did not say.
    """

    texts: int
    tokens: int | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where one record of an index comes from.

    Attributes:
        id: Of the record, which is the id of its vector.
        sink: The sink node, and what keeps it, `vector/sqlite`, is `store`.
        text: The passage that was embedded, and `span` its place in the text of the document.
        key: What the source calls the document, and `source_uri` where a person finds it.
        version: `(incarnation, offset)`: the offset is the place of this version in `topic`, unless partitions were
            being added to that.
        document_version: The version at which the index holds the document: a passage that did not change keeps the
            version that wrote it. None where the index remembers nothing of the document.
        partition: Of `topic`; None where it is a topic of other programs, of which it is not kept.
        nodes: From the source on.
        model: Model and revision that made the vector.
        run: The run that read it, which began at `run_started_at`, and was paid for `run_paid` in all, where that is
            known still.
        observed_at: When the source saw this version.
        in_log: What the log has of it; None where it has it no more, or was not asked.
        unknown: What nobody can say, each in a sentence.
    """

    id: str
    sink: str
    store: str
    text: str
    span: tuple[int, int] | None
    content_hash: str
    metadata: Mapping[str, Any]
    key: str
    source: str
    source_uri: str
    version: Version
    document_version: Version | None
    topic: str
    partition: int | None
    nodes: tuple[NodePassed, ...]
    model: str
    run: str
    run_started_at: str | None
    run_paid: Paid | None
    observed_at: str | None
    in_log: InLog | None
    unknown: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What `nvisy lineage --json` prints."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Held:
    """What a sink holds of a document.

    Attributes:
        source: The source node.
        version: The version at which it does, of a deleted one too; None where it remembers nothing.
        records: Every record, in the order of the text.
    """

    sink: str
    store: str
    source: str
    version: Version | None
    records: tuple[Lineage, ...]


@dataclass(frozen=True, slots=True)
class Descent:
    """Everything that came of one document.

    Attributes:
        sinks: What each sink holds, one entry for each source that knows such a document.
        unknown: What nobody can say, each in a sentence.
    """

    key: str
    sinks: tuple[Held, ...]
    unknown: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """What `nvisy lineage --key --json` prints."""
        return asdict(self)


def lineage(
    graph: Graph | CheckedGraph,
    vector_id: str,
    *,
    sink: str | None = None,
    settings: Settings | None = None,
) -> Lineage:
    """Where a vector comes from. Needs the store; what only the log knows is left out where there is none.

    Args:
        graph: The graph that made it.
        vector_id: Id of the record in the store, as `search` and `records` give it.
        sink: Id of the sink node; every one is asked unless given.
        settings: Where the log is; from the environment unless given.

    Raises:
        GraphError: The graph is wrong.
        UsageError: No sink holds such a record, or there is no such sink.
        Refused: There is no collection yet.
        Unreachable: The store does not answer.
    """
    checked = graph if isinstance(graph, CheckedGraph) else check(graph)
    with closing(_Tracing(checked, settings or Settings.from_environ())) as tracing:
        for name in (names := sinks_to_ask(checked, sink)):
            with closing(tracing.index(name)) as index:
                if (hit := index.record(vector_id)) is not None:
                    return tracing.lineage(name, hit, list(index.heads([hit.key])))
    raise UsageError(
        f"no record {vector_id!r} is in {' or '.join(names)}; `nvisy records` lists those there are"
    )


def descent(
    graph: Graph | CheckedGraph,
    key: str,
    *,
    sink: str | None = None,
    settings: Settings | None = None,
) -> Descent:
    """Every record, in every sink, that came of one document.

    Args:
        graph: The graph.
        key: What the source calls the document.
        sink: Id of the sink node; every one that can be asked unless given.
        settings: Where the log is; from the environment unless given.

    Raises:
        GraphError: The graph is wrong.
        UsageError: There is no such sink.
        Refused: There is no collection yet.
        Unreachable: A store does not answer.
    """
    checked = graph if isinstance(graph, CheckedGraph) else check(graph)
    found: list[Held] = []
    with closing(_Tracing(checked, settings or Settings.from_environ())) as tracing:
        for name in sinks_to_ask(checked, sink):
            with closing(tracing.index(name)) as index:
                found += tracing.held(name, key, list(index.heads([key])), list(index.records(key)))
        unknown = [*tracing.unknown, *_unasked(checked)]
    return Descent(key, tuple(found), tuple(unknown))


class _Tracing:
    """What is asked beside the stores: the graph, and the log where it answers."""

    def __init__(self, checked: CheckedGraph, settings: Settings) -> None:
        self._checked = checked
        self._settings = settings
        self._log: Log | None = None
        self._runs: Mapping[str, RunRecord] = {}
        self.unknown: list[str] = []
        try:
            self._log = settings.open_log()
            self._runs = {one.id: one for one in runs_of(self._log, checked.graph.id, ())}
        except NvisyError as error:
            self._do_without(error)

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()

    def index(self, sink: str) -> Index:
        """The index of a sink."""
        _, opened = open_sink(self._checked, sink, self._settings.state)
        return opened.index()

    def held(self, sink: str, key: str, heads: Sequence[HeldHead], hits: Sequence[Hit]) -> Iterator[Held]:
        """What a sink holds of a document, source by source; what other sinks of the graph keep there is left out."""
        graph, nodes = self._checked.graph.id, [node.id for node in self._checked.graph.nodes]
        for source in nodes:
            lane = lane_of(graph, sink, source)
            head = next((one for one in heads if one.lane == lane), None)
            own = [hit for hit in hits if hit.lineage["lane"] == lane]
            if head is not None or own:
                version = Version.of(head.version) if head is not None else None
                records = tuple(self.lineage(sink, hit, heads) for hit in own)
                yield Held(sink, self._does(sink), source, version, records)

    def lineage(self, sink: str, hit: Hit, heads: Sequence[HeldHead]) -> Lineage:
        """Where a record comes from."""
        said = hit.lineage
        source, topic = said["source"] or "", said["topic"] or ""
        version = Version.of(said["version"] or 0)
        head = next((one for one in heads if one.lane == said["lane"]), None)
        nodes = (*self._source(source), *self._passed(said["steps"] or ""))
        unknown = [COST_UNKNOWN, *self.unknown, *_not_as_then(nodes)]
        in_log = self._in_log(topic, said["partition"], version, source, hit.key, unknown)
        is_theirs = self._is_foreign(source)
        run = said["run"] or ""
        known = self._known_run(run, unknown)
        return Lineage(
            id=hit.id,
            sink=sink,
            store=self._does(sink),
            text=hit.text,
            span=(hit.span.start, hit.span.end) if hit.span else None,
            content_hash=said["content_hash"] or "",
            metadata=hit.metadata,
            key=hit.key,
            source=source,
            source_uri=hit.source_uri,
            version=version,
            document_version=Version.of(head.version) if head is not None else None,
            topic=topic,
            partition=(in_log.partition if in_log else None) if is_theirs else said["partition"],
            nodes=nodes,
            model=said["model"] or "",
            run=run,
            run_started_at=_time(known.started_ms) if known is not None else None,
            run_paid=Paid(known.model_calls, known.tokens, known.cost_usd) if known is not None else None,
            observed_at=said["observed_at"],
            in_log=in_log,
            unknown=tuple(dict.fromkeys(unknown)),
        )

    def _do_without(self, error: NvisyError) -> None:
        self._log = None
        said = self._checked.redactor.clean(str(error))
        self.unknown.append(f"whether the log still has this version, and when it got it: {said}")

    def _does(self, node: str) -> str:
        found = self._checked.nodes.get(node)
        return does(found.node) if found is not None else ""

    def _source(self, source: str) -> tuple[NodePassed, ...]:
        found = self._checked.nodes.get(source)
        params = self._params(source) if found is not None else {}
        return (NodePassed(source, self._does(source), "", params, None),)

    def _passed(self, steps: str) -> Iterator[NodePassed]:
        for step in filter(None, steps.split("/")):
            node, _, configuration = step.rpartition("@")
            found = self._checked.nodes.get(node)
            is_as_then = found.config_hash == configuration if found is not None else None
            models = found.models if found is not None else ()
            yield NodePassed(node, self._does(node), configuration, self._params(node), is_as_then, models)

    def _params(self, node: str) -> Mapping[str, Any]:
        """The parameters of a node as they are written: references stay references, and other secrets are taken out."""
        found = self._checked.nodes.get(node)
        written = (
            found.node.model_dump(mode="json", by_alias=True).get("params") if found is not None else None
        )
        cleaned = self._checked.redactor.clean(orjson.dumps(written or {}).decode())
        params: dict[str, Any] = orjson.loads(cleaned)
        return params

    def _is_foreign(self, source: str) -> bool:
        found = self._checked.nodes.get(source)
        descriptor = found.descriptor if found is not None else None
        return isinstance(descriptor, SourceDescriptor) and descriptor.topic is not None

    def _in_log(
        self, topic: str, partition: int | None, version: Version, source: str, key: str, unknown: list[str]
    ) -> InLog | None:
        """The record that a version stands for, if the log has it."""
        if self._log is None:
            return None
        if not topic:
            unknown.append("what the source said then: the graph keeps no topic behind it")
            return None
        try:
            info = self._log.describe(topic)
            if info is None:
                unknown.append(f"what the source said then: there is no topic {topic!r} at {self._log.url}")
                return None
            is_theirs = self._is_foreign(source)
            numbering, _ = recalled(self._log, self._checked.graph.id, topic) if is_theirs else (None, None)
            why = "since a later version has taken its place"
            places: Sequence[int] = range(info.partitions) if is_theirs else [partition or 0]
            if numbering is not None and not numbering.tells_offset(version):
                why = (
                    "or where: partitions were being added, so that the version is its time and not its place"
                )
                places = ()
            for place in places:
                record = self._log.read(topic, place, version.off) if place in info.end else None
                if record is not None and self._is_of(record, source, key):
                    return InLog(place, _time(record.timestamp_ms), len(record.value or b""))
        except NvisyError as error:
            self._do_without(error)
            unknown += self.unknown[-1:]
            return None
        unknown.append(f"what the source said then: {topic} no longer holds it, {why}")
        return None

    def _is_of(self, record: LogRecord, source: str, key: str) -> bool:
        if not self._is_foreign(source):
            return record.key == f"{source}/{key}".encode()
        assert self._log is not None
        info = self._log.describe(record.topic)
        assert info is not None
        codecs = Codecs(self._checked, self._settings)
        decoder = codecs.decoder(Inlet("foreign", record.topic, source), Numbering.begun(info, 1))
        try:
            return decoder.decode(record).origin.key == key
        except Rejected:
            return False

    def _known_run(self, run: str, unknown: list[str]) -> RunRecord | None:
        if run in self._runs:
            return self._runs[run]
        if run and self._log is not None:
            unknown.append(
                f"when the run that read it began, and what it was paid for: runs are remembered for {KEPT_DAYS} days"
            )
        return None


def _not_as_then(nodes: Sequence[NodePassed]) -> Iterator[str]:
    for one in nodes:
        if one.configuration and one.is_as_then is None:
            yield f"what {one.node!r} was: the graph no longer has such a node"
        elif one.is_as_then is False:
            yield f"how {one.node!r} was configured then: the graph has it otherwise today"


def _unasked(checked: CheckedGraph) -> Iterator[str]:
    """Sinks that are topics of other programs."""
    for node_id, node in checked.nodes.items():
        if isinstance(node.descriptor, SinkDescriptor) and node.descriptor.topic is not None:
            yield f"what {node_id!r} holds: it is a topic for other programs, {checked.topic(node_id)}"


def _time(timestamp_ms: int) -> str:
    seconds, rest = divmod(timestamp_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"
