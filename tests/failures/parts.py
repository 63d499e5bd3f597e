"""Real parts of a pipeline, put together in one process: a log in files, an index in SQLite, a source's stage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from nvisy_vector.sqlite import SqliteParams, SqliteSink

from nvisy.catalog import Catalog
from nvisy.codec import Codec
from nvisy.codec.file_registry import FileRegistry
from nvisy.graph.parse import parse
from nvisy.graph.validate import check
from nvisy.plan.compile import compile_graph
from nvisy.plan.model import Plan
from nvisy.primitives import Document
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime.codecs import ChangeDecoder
from nvisy.runtime.counters import NodeCounters
from nvisy.runtime.flight import Failure, Flight, Ticket
from nvisy.runtime.listing import ListingReader
from nvisy.runtime.memory import Memory
from nvisy.runtime.messages import StageSpec
from nvisy.runtime.outlets import TopicOutlet
from nvisy.runtime.settings import Settings
from nvisy.runtime.sources import SourceOpening
from nvisy.runtime.watchdog import Activity
from nvisy.testing.records import OWNER
from nvisy.topics.embedded import EmbeddedLog
from nvisy.topics.log import Append, LogRecord, Seat, Session, TopicPartition

FILES, TEXT = "g.files", "g.text"
AT = TopicPartition(FILES, 0)
WRITER = Seat("g", "files", "c1", inputs=(), outputs=(FILES,))
"""The seat of the stage that fills `FILES`."""
COPIER = Seat("g", "text", "c1", inputs=(FILES,), outputs=(TEXT,))
"""The seat of the stage that reads `FILES` and fills `TEXT`."""
BROKEN = Failure("embed", "model", "the model refused it")


def change(key: str, *texts: str, version: int | None = None, op: Any = "upsert") -> Change:
    """One version of a document, with these items."""
    origin = Provenance(
        "files", key, f"file:///{key}", Version(1, version) if version is not None else None, topic=FILES
    )
    items = (
        Document(text=one).identified(discriminator=one, node="files", steps="", parent="", provenance=origin)
        for one in texts
    )
    return Change(origin, op, tuple(items))


def flight(offset: int, key: str = "K", *texts: str) -> Flight:
    """A document as the stage behind `FILES` reads it."""
    return Flight(change(key, *texts, version=offset), Ticket(AT, offset), b"raw")


def codec_in(folder: Path) -> Codec:
    """A codec with schemas of its own."""
    return Codec(FileRegistry(folder / "schemas"))


def appends(codec: Codec, *changes: Change, topic: str = FILES, inc: int = 1) -> list[Append]:
    """The records that these changes become."""
    return [Append(topic, 0, one.message_key, codec.encode_change(one, topic, inc=inc)) for one in changes]


def decoded(codec: Codec, records: Iterator[LogRecord] | Sequence[LogRecord]) -> list[Change]:
    """The changes in these records."""
    return [ChangeDecoder(codec).decode(record) for record in records]


def texts(changes: Sequence[Change]) -> list[list[str]]:
    """What the items of changes say."""
    return [[item.text for item in one.items if isinstance(item, Document)] for one in changes]


def index_in(folder: Path, collection: str = "docs") -> SqliteSink:
    """An index in SQLite, made for `OWNER`."""
    sink = SqliteSink(SqliteParams(path=folder / "index.db", collection=collection))
    sink.prepare(OWNER)
    return sink


def held(sink: SqliteSink) -> list[str]:
    """The passages in an index, by place."""
    with closing(sink.index()) as index:
        return [hit.text for hit in index.records(None)]


def polled(session: Session, count: int) -> list[LogRecord]:
    """So many records, as a stage reads them."""
    found: list[LogRecord] = []
    while len(found) < count:
        more = session.poll(1000, 5)
        assert more, f"only {len(found)} records of {count}"
        found += more
    return found


def plan_of(nodes: dict[str, dict[str, Any]], *ways: str) -> Plan:
    """The stages of a graph; a way is `a>b` or `a:port>b`, with `=topic` where the edge names one."""
    return compile_graph(check(parse(json.dumps(graph_of(nodes, *ways))), Catalog.installed(), {}))


def graph_of(nodes: dict[str, dict[str, Any]], *ways: str) -> dict[str, Any]:
    """A graph in the form of its file."""
    return {
        "name": "g",
        "nodes": [{"id": name, **node} for name, node in nodes.items()],
        "edges": [_edge(way) for way in ways],
    }


def _edge(way: str) -> dict[str, Any]:
    arrow, _, topic = way.partition("=")
    origin, _, to = arrow.partition(">")
    node, _, port = origin.partition(":")
    return {"from": node, "to": to, **({"port": port} if port else {}), **({"topic": topic} if topic else {})}


SOURCE = {"type": "source", "provider": "object/files", "params": {"path": "docs"}}
EXTRACT = {"type": "action", "action": "extract"}
CHUNK = {"type": "action", "action": "chunk"}
EMBED = {"type": "action", "action": "embed", "params": {"model": "local/hash", "dimensions": 8}}
INDEX = {"type": "sink", "provider": "vector/sqlite", "params": {"path": "index.db", "collection": "docs"}}
OTHER = {"type": "sink", "provider": "vector/sqlite", "params": {"path": "index.db", "collection": "more"}}
LINE = {"files": SOURCE, "text": EXTRACT, "chunk": CHUNK, "embed": EMBED, "index": INDEX}
WAYS = ("files>text", "text>chunk", "chunk>embed", "embed>index")


class SourceStage:
    """The stage of a listed source as a run has it: lists, appends, commits, and notes what it knows on its disk."""

    def __init__(self, folder: Path, **params: Any) -> None:
        self.folder = folder
        self.docs = folder / "docs"
        self.docs.mkdir()
        self.log = EmbeddedLog(folder / "log")
        self.log.create(FILES, 4)  # as many as a graph has that says nothing
        self.codec = codec_in(folder)
        self._params = {"path": str(self.docs), **params}

    @property
    def disk(self) -> Path:
        """What it keeps on its machine, besides the log."""
        return self.folder / "state"

    @contextmanager
    def life(self, **spec: Any) -> Iterator[tuple[Session, ListingReader]]:
        """It has taken its seat and opened its source; nothing is read."""
        graph = graph_of({**LINE, "files": {**SOURCE, "params": self._params}}, *WAYS)
        usual = {"graph": "", "file": "", "folder": "", "log_url": None, "state": "", "token": 1}
        session = self.log.session(WRITER)
        with ExitStack() as stack:
            stack.callback(session.close)
            memory = Memory(session)
            info = self.log.describe(FILES)
            assert info is not None
            inc = memory.incarnation({FILES: info.id})
            memory.begin_epoch(inc)
            opening = SourceOpening(
                checked=check(parse(json.dumps(graph)), Catalog.installed(), {}),
                spec=StageSpec(**usual, stage="files", run="r", **spec),
                log=self.log,
                settings=Settings(self.disk, environ={}),
                changes=ChangeDecoder(self.codec),
                memory=memory,
                failed_keys=list,
                stack=stack,
                suspects=None,
                activity=Activity(),
            )
            reader = opening.open("files", FILES, info.id, inc, NodeCounters())
            assert isinstance(reader, ListingReader)
            yield session, reader

    def pump(self, session: Session, reader: ListingReader) -> list[str]:
        """Read on to the end of the listing, and commit everything; what it was, in words."""
        outlet = TopicOutlet(FILES, session, self.codec, 1)
        said: list[str] = []
        while not reader.ended:
            flights = reader.read(paused=False)
            outlet.write([one for one in flights if not one.failure])
            session.commit({}, reader.state({}))
            reader.committed(flights, {})
            said += [_words(one) for one in flights]
        return said

    def run(self, **spec: Any) -> list[str]:
        """A life from its beginning to its end."""
        with self.life(**spec) as (session, reader):
            return self.pump(session, reader)


def _words(one: Flight) -> str:
    return f"{one.failure.kind if one.failure else one.change.op} {one.change.origin.key}"
