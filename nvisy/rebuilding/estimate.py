"""What a rebuild would take, said before anything is spent: `nvisy rebuild --dry-run`.

The steps before the first model are done in earnest for some of the documents that would be replayed, and what comes of
them is counted; they cost nothing but time. The rest is in proportion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

from nvisy.actions.embed import REMOTE_BATCH, EmbedParams
from nvisy.audit.expected import Making
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, CheckedNode, check
from nvisy.models.cache import EmbeddingCache
from nvisy.plan.compile import compile_graph
from nvisy.plan.generations import Change, laid_out
from nvisy.plan.model import Plan, Stage
from nvisy.primitives.primitive import Primitive, content_hash
from nvisy.rebuilding.rebuild import change_to, refuse_without_generations
from nvisy.rebuilding.start import Start, starts_of
from nvisy.runtime.forgotten import forgotten_keys
from nvisy.runtime.generations import Generations, generations_of
from nvisy.runtime.memory import recalled
from nvisy.runtime.numbering import Numbering
from nvisy.runtime.settings import Settings
from nvisy.topics.log import Log, LogRecord

SAMPLE = 500
"""So many documents are worked through, spread over all of them."""

BYTES_PER_TOKEN = 4
RECORD_BYTES = 900
"""What a record takes beside its vector and its text, with its share of heads and keys."""


@dataclass(slots=True)
class Estimate:
    """What a rebuild would take.

    Attributes:
        stages: The stages that would be run once more, each with the reasons; none where there is nothing to do.
        replays: The topics that these would read, as the log names them.
        changes: Records of these topics, older versions too, and `documents` what they are of.
        is_sampled: What follows is in proportion to some of the documents.
        records: Vectors that the new index would hold.
        model_calls: Texts that models would be asked for, `cache_hits` (None: there is no cache) left out, in
            `requests` calls.
        tokens: Of these texts, at `bytes_per_token`, and `cost_usd` at the price that was given, or None.
        least_s: At the limits that are configured for the connection, in seconds; None without any.
        disk_bytes: In the store and the log, beside the former index.
        remarks: What could not be counted, each in a sentence.
    """

    graph: str
    stages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    replays: Sequence[str] = ()
    changes: int = 0
    documents: int = 0
    is_sampled: bool = False
    records: int = 0
    models: Sequence[str] = ()
    model_calls: int = 0
    cache_hits: int | None = None
    requests: int = 0
    tokens: int = 0
    bytes_per_token: int = BYTES_PER_TOKEN
    cost_usd: float | None = None
    least_s: float | None = None
    disk_bytes: int = 0
    remarks: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """What `nvisy rebuild --dry-run --json` prints."""
        return asdict(self)


def estimate(
    graph: Graph | CheckedGraph,
    *,
    start: str = "beginning",
    anew: bool = False,
    usd_per_million_tokens: float | None = None,
    settings: Settings | None = None,
) -> Estimate:
    """What `rebuild` would take. Reads only; the graph may be running.

    Raises:
        What `rebuild` raises before it begins.
    """
    checked = graph if isinstance(graph, CheckedGraph) else check(graph)
    settings = settings or Settings.from_environ()
    place = Start.parse(start)
    with closing(settings.open_log()) as log:
        generations = generations_of(log, checked.graph.id)
        change = change_to(checked, generations, settings, log, place, anew=anew)
        found = Estimate(checked.graph.id)
        if change.stages:
            refuse_without_generations(checked, change, settings)
            _Estimating(checked, generations, change, settings, log, found).count(place)
            _price(checked, change, found, usd_per_million_tokens)
    return found


class _Estimating:
    def __init__(
        self,
        checked: CheckedGraph,
        generations: Generations,
        change: Change,
        settings: Settings,
        log: Log,
        found: Estimate,
    ) -> None:
        self._checked = checked
        self._plan = compile_graph(checked)
        self._change = change
        self._settings = settings
        self._log = log
        self._found = found
        self._layout = generations.layout

    def count(self, place: Start) -> None:
        """Fill in all but money and time."""
        found, change = self._found, self._change
        found.stages = {stage: change.why.get(stage, ()) for stage in change.stages}
        found.replays = [self._layout.topic(topic) for topic in change.replays]
        found.models = _models(self._checked, self._plan, change)
        starts = starts_of(self._log, self._layout, change, place)
        texts = _Texts(self._checked, self._plan, change, self._settings)
        # Under the names of the generation that serves: the topics that are replayed are there.
        plan = laid_out(self._plan, self._layout)
        for base, stage in zip(self._plan.stages, plan.stages, strict=True):
            if base.id in change.stages and set(base.inputs) & set(change.replays):
                self._count_in(stage, [one for one in stage.inputs if one in found.replays], starts, texts)
        found.records = texts.count
        found.model_calls, found.cache_hits = texts.asked if found.models else (0, None)
        found.tokens = texts.asked_bytes // BYTES_PER_TOKEN if found.models else 0
        vectors = found.records * (4 * texts.dimensions + RECORD_BYTES) + texts.n_bytes
        found.disk_bytes = vectors * (2 if found.models else 1)  # their topic holds them too

    def _count_in(
        self, stage: Stage, topics: Sequence[str], starts: Mapping[str, Mapping[int, int]], texts: _Texts
    ) -> None:
        last: dict[bytes, tuple[str, int, int]] = {}
        for topic in topics:
            for record in self._log.scan(topic, starts.get(topic)):
                self._found.changes += 1
                last[record.key or b""] = (topic, record.partition, record.offset)
        places = sorted(last.values())
        step = max(1, -(-len(places) // SAMPLE))
        self._found.documents += len(places)
        self._found.is_sampled |= step > 1
        sample = places[::step]
        factor = len(places) / len(sample) if sample else 1.0
        forgotten = forgotten_keys(self._log, self._plan.graph, self._checked.nodes)
        for target in _targets(self._checked, stage):
            making = Making(
                self._checked, stage, target, self._numberings(stage), {}, self._settings, forgotten
            )
            with closing(making):
                if making.why_not:
                    self._found.remarks.append(f"not counted: {making.why_not.partition(',')[0]}")
                    continue
                for flight in making.arriving(self._read(sample)):
                    texts.add(flight.change.items, factor)

    def _read(self, places: Sequence[tuple[str, int, int]]) -> Iterator[LogRecord]:
        found = (self._log.read(*place) for place in places)
        return (record for record in found if record is not None)

    def _numberings(self, stage: Stage) -> Mapping[str, Numbering]:
        numberings: dict[str, Numbering] = {}
        for inlet in stage.inlets:
            info = self._log.describe(inlet.name) if inlet.kind == "foreign" else None
            if info is not None:
                known, _ = recalled(self._log, self._plan.graph, inlet.name)
                numberings[inlet.name] = known or Numbering.begun(info, 1)
        return numberings


class _Texts:
    """What models would be asked for, or what is written as it is."""

    def __init__(self, checked: CheckedGraph, plan: Plan, change: Change, settings: Settings) -> None:
        self._count = self._asked = self._hits = self._bytes = self._asked_bytes = 0.0
        self.dimensions = 0
        self._cache: EmbeddingCache | None = None
        for node in _asking(checked, plan, change):
            self.dimensions = node.outgoing.dimensions if node.outgoing else 0
            path = settings.state / "embeddings.db"
            if isinstance(node.params, EmbedParams) and node.params.cache and path.exists():
                self._cache = EmbeddingCache(path, node.models[0], self.dimensions)
        for stage in change.stages:
            for sink in plan.stage(stage).sinks:
                incoming = checked.nodes[sink].incoming
                self.dimensions = incoming.dimensions if incoming else self.dimensions

    def add(self, items: Sequence[Primitive], factor: float) -> None:
        """Count some, each for so many."""
        texts = [text for item in items if (text := getattr(item, "text", ""))]
        known = self._cache.get_many([content_hash(text) for text in texts]) if self._cache else {}
        for text in texts:
            size = len(text.encode()) * factor
            self._count += factor
            self._bytes += size
            if content_hash(text) in known:
                self._hits += factor
            else:
                self._asked += factor
                self._asked_bytes += size

    @property
    def count(self) -> int:
        """All of them."""
        return round(self._count)

    @property
    def n_bytes(self) -> int:
        """Of all of them."""
        return round(self._bytes)

    @property
    def asked(self) -> tuple[int, int | None]:
        """Those that no cache has, and those that it has; None where there is no cache."""
        return round(self._asked), round(self._hits) if self._cache else None

    @property
    def asked_bytes(self) -> int:
        """Of those that no cache has."""
        return round(self._asked_bytes)


def _targets(checked: CheckedGraph, stage: Stage) -> list[str]:
    """The nodes of a stage that ask a model, or where there are none, what it leaves through."""
    asking = [node for node in stage.nodes if checked.nodes[node].models]
    return asking[:1] or [outlet.name for outlet in stage.outlets]


def _asking(checked: CheckedGraph, plan: Plan, change: Change) -> list[CheckedNode]:
    nodes = (checked.nodes[node] for stage in change.stages for node in plan.stage(stage).nodes)
    return [node for node in nodes if node.models]


def _models(checked: CheckedGraph, plan: Plan, change: Change) -> list[str]:
    return list(dict.fromkeys(model for node in _asking(checked, plan, change) for model in node.models))


def _price(checked: CheckedGraph, change: Change, found: Estimate, usd: float | None) -> None:
    """Money and time, of what is counted."""
    if not found.models:
        return
    (node, *_) = _asking(checked, compile_graph(checked), change)
    batch = node.params.batch_size if isinstance(node.params, EmbedParams) else None
    found.requests = -(-found.model_calls // (batch or REMOTE_BATCH))
    if usd is not None:
        found.cost_usd = round(found.tokens * usd / 1_000_000, 4)
    limits = [
        (found.requests, node.limits.requests_per_minute),
        (found.tokens, node.limits.tokens_per_minute),
    ]
    times = [60 * wanted / limit for wanted, limit in limits if limit is not None]
    found.least_s = round(max(times), 1) if times else None
