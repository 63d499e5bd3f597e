"""`nvisy forget`: a person's document has to go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from nvisy.cli.graphs import AsJson, GraphFile, checked_graph
from nvisy.cli.letters import when
from nvisy.cli.logs import log_to_stderr
from nvisy.cli.output import printable, say, say_json, say_table
from nvisy.erasure.forget import ForgetReport, forget, forgotten, readmit
from nvisy.erasure.place import Place
from nvisy.errors import UsageError


def command(
    graph: GraphFile,
    key: Annotated[str, typer.Option("--key", help="What the source calls the document.")] = "",
    source: Annotated[
        str, typer.Option("--source", metavar="NODE", help="Its source, where several know such a key.")
    ] = "",
    clear_cache: Annotated[
        bool, typer.Option("--clear-cache", help="Empty the cache of vectors, which other graphs may share.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the documents that are kept away.")] = False,
    readmit_: Annotated[bool, typer.Option("--readmit", help="Let the document come again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Be rid of a document for good: in every sink, in the log, in caches.

    Says what is gone, what is not gone yet, and when it will be. The document is kept away from then on, also where its
    source still has it, until --readmit. Nobody may be running the graph: a live run is named, and nothing is done
    (exit 6). To do it twice is fine.
    """
    if bool(key) == list_ or (readmit_ and list_):
        raise UsageError("name a document with --key, or say --list")
    log_to_stderr()
    checked = checked_graph(graph)
    if list_:
        marks = forgotten(checked)
        if as_json:
            say_json([mark.as_json() for mark in marks])
        elif not marks:
            say("no document was forgotten")
        else:
            rows = ((when(mark.at_ms), mark.source, printable(mark.key)) for mark in marks)
            say_table(("forgotten", "source", "key"), rows)
    elif readmit_:
        mark = readmit(checked, key, source=source or None)
        if as_json:
            say_json(mark.as_json())
        else:
            say(f"{printable(mark.key)} of {mark.source} may come again")
    else:
        report = forget(checked, key, source=source or None, clear_cache=clear_cache)
        if as_json:
            say_json(report.as_json())
            return
        for line in _said(report):
            say(printable(line))


def _said(report: ForgetReport) -> Iterator[str]:
    for place in report.places:
        if place.gone:
            yield f"gone       {place.name}: {place.gone:,}"
    if report.letters:
        yield f"closed     {report.letters:,} dead letters"
    for place in report.places:
        if place.until:
            yield f"not yet    {place.name}{_left(place)}: {place.until}"
    yield f"stays      its key, {report.key!r}, with versions and hashes, in deletes, heads and the mark"
    yield f"source     {_source(report)}"
    if report.is_gone:
        yield "nothing of its text is left"


def _left(place: Place) -> str:
    return f", {place.left:,} records" if place.left else ""


def _source(report: ForgetReport) -> str:
    kept = "runs pass over it until `--readmit`"
    if report.at_source:
        return f"{report.source} still lists it: remove it there; {kept}"
    if report.at_source is None:
        return f"whether {report.source} still has it is not known ({report.source_said}); {kept}"
    return f"{report.source} no longer lists it; should it come back, {kept}"
