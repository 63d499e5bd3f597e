"""`nvisy dlq`: documents that could not be processed, as a list of work."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from nvisy.cli import letters as options
from nvisy.cli.graphs import AsJson, GraphFile
from nvisy.cli.letters import when
from nvisy.cli.output import hexdump, one_line_shown, printable, say, say_json, say_table
from nvisy.cli.replaying import code_of_outcomes, replay_letters, say_outcomes, standing_if_interrupted
from nvisy.codec.codec import Codec
from nvisy.codec.registry import open_registry
from nvisy.errors import NvisyError, UsageError
from nvisy.graph.model import Graph
from nvisy.primitives import Document
from nvisy.runtime.asking import Asking, drop_here
from nvisy.runtime.dead_letters import DeadLetter, topic_of
from nvisy.runtime.generations import open_letters
from nvisy.runtime.run import owner_name
from nvisy.runtime.settings import Settings
from nvisy.topics.log import Headers, Log

_SHOWN_CHARS = 2_000
_DUMPED_BYTES = 256

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_open(  # noqa: PLR0917 - one for each option
    graph: GraphFile,
    node: options.Node = "",
    kind: options.Kind = "",
    retryable: options.Retryable = None,
    older_than: options.OlderThan = "",
    newer_than: options.NewerThan = "",
    key: options.Key = "",
    as_json: AsJson = False,
) -> None:
    """List the dead letters that are open now, oldest first."""
    chosen = options.selection(None, node, kind, retryable, older_than, newer_than, key)
    with _opened(graph) as (log, opened):
        options.refuse_unknown(chosen, opened, open_letters(log, opened.id))
        letters = chosen.of(open_letters(log, opened.id))
    if as_json:
        say_json([letter.as_json() for letter in letters])
    elif not letters:
        say("no dead letters" if chosen.is_everything else "no such dead letters")
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
    with _opened(graph) as (log, opened):
        letter = _letter(log, opened.id, letter_id)
        headers = _headers(log, opened.id, letter)
    if as_json:
        original = base64.b64encode(letter.original).decode()
        said = {name: value.decode("utf-8", "replace") for name, value in headers}
        say_json({**letter.as_json(), "headers": said, "original_base64": original})
        return
    for name, value in _facts(letter, dict(headers)):
        say(f"{name:11}{printable(value)}")
    say("\n" + _original(letter, _content(letter)))


@app.command()
def drop(  # noqa: PLR0913, PLR0917 - one for each option
    graph: GraphFile,
    ids: options.Ids = None,
    node: options.Node = "",
    kind: options.Kind = "",
    retryable: options.Retryable = None,
    older_than: options.OlderThan = "",
    newer_than: options.NewerThan = "",
    key: options.Key = "",
    everything: options.All = False,
    as_json: AsJson = False,
) -> None:
    """Close dead letters without trying them again. What the index holds of the documents stays as it is.

    A run that is live is asked to do it. What failed at a source is back after the next pass if it fails again there.
    """
    chosen = options.selection(ids, node, kind, retryable, older_than, newer_than, key)
    with _opened(graph) as (log, opened):
        options.refuse_unknown(chosen, opened, open_letters(log, opened.id))
        asking = Asking(log, opened.id, "drop", options.not_by_accident(chosen, everything=everything))
        with standing_if_interrupted():
            while not asking.by_owner():
                drop_here(log, opened.id, owner_name(), asking.named)
        say_outcomes(asking, as_json=as_json)
        raise typer.Exit(code_of_outcomes(asking))


@app.command()
def replay(  # noqa: PLR0913, PLR0917 - one for each option
    graph: GraphFile,
    ids: options.Ids = None,
    node: options.Node = "",
    kind: options.Kind = "",
    retryable: options.Retryable = None,
    older_than: options.OlderThan = "",
    newer_than: options.NewerThan = "",
    key: options.Key = "",
    everything: options.All = False,
    as_json: AsJson = False,
) -> None:
    """Try dead letters again, under the graph as it is today.

    Each enters once more at the head of the stage that it failed in, unless a newer version of its document has passed
    there. What a model answered before is not paid for again. What failed at a source is read from the source again.
    A letter that fails again is open under a new id, which is printed.
    A run that is live is asked to do it; else the stages concerned and those below are run, and nothing else. Exits
    with 4 if one is still open, or failed again.
    """
    chosen = options.selection(ids, node, kind, retryable, older_than, newer_than, key)
    replay_letters(graph, options.not_by_accident(chosen, everything=everything), as_json=as_json)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Log, Graph]]:
    graph = Graph.load(path)
    log = Settings.from_environ().open_log()
    try:
        yield log, graph
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
    yield "failed", f"{when(letter.failed_at_ms)} UTC, at {letter.node}, on the way to {letter.outlet}"
    yield "kind", letter.kind
    yield "message", letter.message
    yield "attempts", f"{letter.attempts}; {again}"
    yield "read from", f"{read_at}, by the stage {letter.stage}"
    yield "record", f"{letter.size:,} bytes, SHA-256 {letter.sha256}"
    yield "run", letter.run or "not known"


def _row(letter: DeadLetter) -> tuple[str, ...]:
    return (
        letter.id,
        when(letter.failed_at_ms),
        letter.node,
        letter.kind,
        one_line_shown(letter.key, 50),
        one_line_shown(letter.message, 120),
    )


def _letter(log: Log, graph_id: str, letter_id: str) -> DeadLetter:
    found = next((letter for letter in open_letters(log, graph_id) if letter.id == letter_id), None)
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
    text = _text(content)
    shown = hexdump(content[:_DUMPED_BYTES]) if text is None else printable(text[:_SHOWN_CHARS])
    rest = len(content) - _DUMPED_BYTES if text is None else len(text[_SHOWN_CHARS:].encode())
    what = "bytes that failed" + (", which are no text" if text is None else "")
    more = f"\n… {rest:,} more bytes; --json has them all" if rest > 0 else ""
    return f"the {len(content):,} {what}\n{shown}{more}"


def _text(content: bytes) -> str | None:
    """The text that bytes are, or nothing where they are none."""
    try:
        return content.decode() if b"\0" not in content else None
    except UnicodeDecodeError:
        return None
