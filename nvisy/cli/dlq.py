"""`nvisy dlq`: documents that could not be processed."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from nvisy.cli.graphs import AsJson, GraphFile
from nvisy.cli.output import one_line, printable, say, say_json, say_table
from nvisy.codec.codec import Codec
from nvisy.codec.registry import open_registry
from nvisy.errors import NvisyError, UsageError
from nvisy.graph.model import Graph
from nvisy.primitives import Document
from nvisy.runtime.dead_letters import DeadLetter, open_entries, topic_of
from nvisy.runtime.settings import Settings
from nvisy.topics.log import Headers, Log

_SHOWN_BYTES = 2_000

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_open(graph: GraphFile, as_json: AsJson = False) -> None:
    """List the dead letters that are open now, oldest first."""
    with _opened(graph) as (log, graph_id):
        letters = list(open_entries(log, graph_id))
    if as_json:
        say_json([letter.as_json() for letter in letters])
    elif not letters:
        say("no dead letters")
    else:
        head = ("id", "when", "node", "kind", "key", "message")
        say_table(head, (_row(letter) for letter in letters))


@app.command()
def show(
    graph: GraphFile,
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: what failed where, and the bytes that did. --json has its headers too."""
    with _opened(graph) as (log, graph_id):
        letter = _letter(log, graph_id, letter_id)
        headers = _headers(log, graph_id, letter)
    if as_json:
        original = base64.b64encode(letter.original).decode()
        said = {name: value.decode("utf-8", "replace") for name, value in headers}
        say_json({**letter.as_json(), "headers": said, "original_base64": original})
        return
    for name, value in _facts(letter, dict(headers)):
        say(f"{name:11}{printable(value)}")
    say("\n" + _original(letter, _content(letter)))


@contextmanager
def _opened(path: Any) -> Iterator[tuple[Log, str]]:
    graph_id = Graph.load(path).id
    log = Settings.from_environ().open_log()
    try:
        yield log, graph_id
    finally:
        log.close()


def _facts(letter: DeadLetter, headers: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """What there is to say of a dead letter, each thing once."""
    read_at = "/".join(
        headers.get(f"__connect.errors.{name}", b"?").decode("utf-8", "backslashreplace")
        for name in ("topic", "partition", "offset")
    )
    again = "replaying the same bytes may succeed" if letter.retryable else "the same bytes would fail again"
    yield "id", letter.id
    yield "document", f"{letter.key} of {letter.source}"
    yield "place", letter.uri or "not known"
    yield "failed", f"{_when(letter)} UTC, at {letter.node}, on the way to {letter.outlet}"
    yield "kind", letter.kind
    yield "message", letter.message
    yield "attempts", f"{letter.attempts}; {again}"
    yield "read from", f"{read_at}, by the stage {letter.stage}"
    yield "record", f"{letter.size:,} bytes, SHA-256 {letter.sha256}"
    yield "run", letter.run or "not known"


def _when(letter: DeadLetter) -> str:
    return datetime.fromtimestamp(letter.failed_at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _row(letter: DeadLetter) -> tuple[str, ...]:
    return (
        letter.id,
        _when(letter),
        letter.node,
        letter.kind,
        one_line(letter.key, 50),
        one_line(letter.message, 120),
    )


def _letter(log: Log, graph_id: str, letter_id: str) -> DeadLetter:
    found = next((letter for letter in open_entries(log, graph_id) if letter.id == letter_id), None)
    if found is None:
        raise UsageError(
            f"graph {graph_id} has no open dead letter {letter_id}; `nvisy dlq list` shows those it has"
        )
    return found


def _headers(log: Log, graph_id: str, letter: DeadLetter) -> Headers:
    offset, partition = letter.id.split("-")
    record = log.read(topic_of(graph_id), int(partition), int(offset))
    return record.headers if record else ()


def _content(letter: DeadLetter) -> bytes:
    """What the document said: out of the change, where the bytes that failed are one, else those bytes."""
    settings = Settings.from_environ()
    codec = Codec(open_registry(settings.environ, settings.state))
    try:
        change = codec.decode_change(letter.original, topic="", partition=0, offset=0)
    except NvisyError:
        return letter.original
    documents = [item for item in change.items if isinstance(item, Document)]
    content = [item.text.encode() if item.content is None else item.content for item in documents]
    return content[0] if len(content) == 1 else letter.original


def _original(letter: DeadLetter, content: bytes) -> str:
    if not letter.original:
        return f"the {letter.size:,} bytes that failed were not kept; they are at {printable(letter.uri)}"
    shown = printable(content[:_SHOWN_BYTES].decode("utf-8", "backslashreplace"))
    rest = len(content) - _SHOWN_BYTES
    more = f"\n… {rest:,} more bytes; --json has them all" if rest > 0 else ""
    return f"the {len(content):,} bytes that failed\n{shown}{more}"
