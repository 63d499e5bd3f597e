"""`nvisy lineage`: where a vector comes from, or what came of a document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from textwrap import wrap
from typing import Annotated

import typer

from nvisy.audit.lineage import Descent, Held, Lineage, NodePassed, Paid, descent, lineage
from nvisy.cli.graphs import AsJson, GraphFile, checked_graph
from nvisy.cli.output import one_line, printable, say, say_json
from nvisy.errors import UsageError
from nvisy.primitives.provenance import Version

_WIDTH = 100
_NAMED = 11
_TEXT_CHARS = 2_000


def command(
    graph: GraphFile,
    vector_id: Annotated[
        str,
        typer.Argument(metavar="VECTOR_ID", help="As `search` and `records` show it.", show_default=False),
    ] = "",
    key: Annotated[str, typer.Option("--key", help="What came of this document, in every sink.")] = "",
    sink: Annotated[str, typer.Option("--sink", metavar="NODE", help="Which sink; else all.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say where a vector comes from, or what came of a document.

    From a vector in the store: its text, the nodes it went through, its document and version, and what the log has of
    that. With --key: every record that came of one document. The store alone is needed; what cannot be known without
    the log, or at all, is said.
    """
    if bool(vector_id) == bool(key):
        raise UsageError("name a vector by its id, or a document with --key")
    checked = checked_graph(graph)
    if key:
        came = descent(checked, key, sink=sink or None)
        say_json(came.as_json()) if as_json else _say(_drawn_descent(came))
    else:
        found = lineage(checked, vector_id, sink=sink or None)
        say_json(found.as_json()) if as_json else _say(_drawn(found))


def _say(lines: Iterator[str]) -> None:
    for line in lines:
        say(printable(line).rstrip())


def _drawn(one: Lineage) -> Iterator[str]:
    """From the vector up to its document."""
    yield f"{one.id}  in {one.sink}, {one.store}"
    place = f"characters {one.span[0]} to {one.span[1]}" if one.span else "its place is not known"
    yield from _field("text", f"{place}, hash {one.content_hash}")
    shown = one.text[:_TEXT_CHARS] + ("…" if len(one.text) > _TEXT_CHARS else "")
    for line in shown.splitlines():
        yield from (f"│ {part}" for part in wrap(line, _WIDTH) or [""])
    if one.metadata:
        yield from _field("metadata", json.dumps(dict(one.metadata), ensure_ascii=False))
    yield from _field("model", one.model or "not known")
    yield "│"
    for node in reversed(one.nodes):
        yield f"↑ {_node(node)}"
    yield "│"
    yield f"└ {one.key or 'a document without a key'}"
    yield from _field("where", one.source_uri or "not known", "  ")
    yield from _field("version", _version_of(one), "  ")
    yield from _field("place", _place(one), "  ")
    yield from _field("seen", one.observed_at or "not known", "  ")
    began = f", begun {one.run_started_at}" if one.run_started_at else ""
    yield from _field("run", (one.run or "not known") + began, "  ")
    if one.run_paid is not None and one.run_paid.texts:
        yield from _field("paid", _paid(one.run_paid), "  ")
    yield from _not_known(one.unknown)


def _drawn_descent(came: Descent) -> Iterator[str]:
    """From the document down to its records."""
    yield came.key
    if not came.sinks:
        yield "└ no sink knows such a document"
    for number, held in enumerate(came.sinks):
        is_last = number == len(came.sinks) - 1
        yield f"{'└' if is_last else '├'} {_held(held)}"
        stem = " " if is_last else "│"
        for place, record in enumerate(held.records):
            branch = "└" if place == len(held.records) - 1 else "├"
            span = f"[{record.span[0]}:{record.span[1]}]" if record.span else ""
            version = "" if record.version == held.version else f"  written at {_short(record.version)}"
            yield f"{stem} {branch} {record.id}  {span}  {one_line(record.text, 60)}{version}"
    unknown = [*came.unknown, *(each for held in came.sinks for one in held.records for each in one.unknown)]
    yield from _not_known(tuple(dict.fromkeys(unknown)))


def _held(held: Held) -> str:
    count = f"{len(held.records):,} record{'' if len(held.records) == 1 else 's'}"
    if held.version is None:
        return f"{held.sink}, {held.store}: {count}, from {held.source}; the index remembers no version"
    gone = "" if held.records else ", deleted or nothing of it belongs here"
    return f"{held.sink}, {held.store}: {count}, from {held.source}, at version {_short(held.version)}{gone}"


def _node(node: NodePassed) -> str:
    """A node, what it is, what it was asked to do, and whether that is still so."""
    params = " ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in node.params.items()
    )
    models = f"  [{', '.join(node.models)}]" if node.models else ""
    configuration = f"  @{node.configuration}" if node.configuration else ""
    then = {False: "  (configured otherwise today)", None: "", True: ""}[node.is_as_then]
    gone = "  (no longer in the graph)" if node.configuration and node.is_as_then is None else ""
    return f"{node.node:{_NAMED}}{node.does:15}{params}{models}{configuration}{then}{gone}"


def _version_of(one: Lineage) -> str:
    if one.document_version is None:
        return f"{_short(one.version)}; the index remembers nothing of the document"
    if one.document_version == one.version:
        return f"{_short(one.version)}, which is the document's"
    return f"{_short(one.version)}; the document is at {_short(one.document_version)}, and this passage did not change"


def _place(one: Lineage) -> str:
    if not one.topic:
        return "in no topic"
    partition = "a partition that is not known" if one.partition is None else f"partition {one.partition}"
    place = f"{one.topic}, {partition}, offset {one.version.off}"
    if one.in_log is None:
        return place
    return f"{place}: {one.in_log.size:,} bytes, written {one.in_log.appended_at}"


def _paid(paid: Paid) -> str:
    tokens = f", {paid.tokens:,} tokens" if paid.tokens is not None else ""
    cost = f", {paid.cost_usd:.4f} USD" if paid.cost_usd is not None else ""
    return f"in all of that run: {paid.texts:,} texts embedded{tokens}{cost}"


def _short(version: Version) -> str:
    return f"{version.inc}/{version.off}"


def _field(name: str, value: str, stem: str = "│ ") -> Iterator[str]:
    yield f"{stem}{name:{_NAMED}}{value}"


def _not_known(unknown: tuple[str, ...]) -> Iterator[str]:
    if unknown:
        yield "not known:"
    yield from (f"  {each}" for each in unknown)
