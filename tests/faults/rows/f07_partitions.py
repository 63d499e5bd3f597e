"""F7: partitions are added to a foreign topic while it is followed; a source is dropped, nodes are renamed."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import Any

from nvisy.topics.open import open_log
from tests.faults.cell import Cell
from tests.faults.clock import Clocks
from tests.faults.feeds import Feed, KafkaTopic
from tests.faults.matrix import CHAIN, Row

MORE = 12
LATE_S = 601
"""Longer than programs may take to learn of new partitions."""
SOON_S = 20.0


def play(cell: Cell) -> None:
    """First the topic grows, then the graph shrinks."""
    feed = Feed(cell, partitions=1)
    clocks = Clocks(cell)
    feed.fill(20)
    cell.start()
    cell.rest()
    if isinstance(feed.log, KafkaTopic):
        for total in (3,) if cell.setting.quick else (2, 5):
            _grow(cell, feed, total)
        _let_time_pass(cell, feed, clocks)
    cell.stop()
    _drop_a_source(cell)
    for old, new in (("files", "papers"), ("split", "cut"), ("embed", "vectors"), ("index", "shelf")):
        _rename(cell, feed, old, new)
    cell.finish(repeats=True)


def _grow(cell: Cell, feed: Feed, total: int) -> None:
    """Every key is written anew, most of them in another partition than before; one is deleted there.

    Then some are written by a program that does not know of the new partitions yet, and some of these once more.
    """
    cell.tally.runs += 1
    assert isinstance(feed.log, KafkaTopic)
    former = feed.log.partitions
    feed.edit()  # what is still on its way in the former partitions
    began = time.monotonic()
    feed.log.add_partitions(total)
    for key in feed.names():
        feed.write(key, feed.document(2))
    feed.delete(feed.names()[0])
    feed.write(f"n{total}.txt", feed.document(2))
    late = feed.names()[::2]
    feed.log.partitions = former
    for key in late:
        feed.write(key, feed.document(2))
    feed.log.partitions = total
    for key in late[::2]:
        feed.write(key, feed.document(2))
    with cell.saying(f"grown to {total} partitions"):
        cell.rest(began)
        feed.edit()
        cell.rest()
        cell.expect(cell.running.poll() is None, f"the run ended, with exit code {cell.running.poll()}")


def _let_time_pass(cell: Cell, feed: Feed, clocks: Clocks) -> None:
    """By now every program knows of the partitions: what timestamps number is read once more, then offsets count."""
    cell.tally.runs += 1
    feed.edit()
    began = time.monotonic()
    clocks.set(LATE_S, LATE_S)
    with cell.saying("partitions that all know of"):
        while not _is_settled(cell, feed):
            if time.monotonic() > began + SOON_S * cell.slowness:
                cell.fail("nobody began to number by offsets again")
            time.sleep(0.5)
        feed.edit()
        cell.rest(began)
        for key in feed.names():
            feed.write(key, feed.document(1))
        cell.rest()


def _is_settled(cell: Cell, feed: Feed) -> bool:
    """Whether what is written now is numbered by offsets."""
    url = f"kafka://{cell.servers.kafka.bootstrap}"
    with closing(open_log(url, root=cell.folder / "aside", environ={})) as log:
        said = [json.loads(value) for value in log.recall(cell.name, f"numbering/{feed.topic}")]
    return all(one["stretches"][-1]["by_time"] is None for one in said)


def _drop_a_source(cell: Cell) -> None:
    """A second source comes, with a stage of its own, and goes; so do its records, and the others stay."""
    without = cell.graph
    folder = cell.folder / "more"
    folder.mkdir()
    cell.graph = {
        **without,
        "nodes": [*without["nodes"], _node("more", "source", "object/files", path="more"), _fan_in()],
        "edges": [
            {"from": "files", "to": "both"},
            {"from": "more", "to": "text"},
            {"from": "text", "to": "both"},
            {"from": "both", "to": "split"},
            *without["edges"][1:],
        ],
    }
    cell.graph["nodes"].append({"id": "text", "type": "action", "action": "extract"})
    for number in range(MORE):
        name, text = f"m{number:02}.txt", f"Something more, number {number}."
        (folder / name).write_text(text)
        cell.oracle.says(name, text)
    with cell.saying("a source more"):
        cell.run()
        cell.judge()
    cell.tally.runs += 1
    cell.graph = without
    for number in range(MORE):
        cell.oracle.says(f"m{number:02}.txt", None)
    with cell.saying("a source dropped"):
        cell.run()
        cell.judge()


def _rename(cell: Cell, feed: Feed, old: str, new: str) -> None:
    """The node goes on under its new name, with the documents as they are by then."""
    cell.tally.runs += 1
    feed.mend()
    cell.graph = {
        **cell.graph,
        "nodes": [{**node, "id": new if node["id"] == old else node["id"]} for node in cell.graph["nodes"]],
        "edges": [
            {end: new if name == old else name for end, name in edge.items()} for edge in cell.graph["edges"]
        ],
    }
    feed.delete(feed.names()[0])
    feed.write(feed.names()[0], feed.document(3))
    with cell.saying(f"{old} renamed"):
        cell.run()
        cell.judge()


def _node(name: str, kind: str, provider: str, **params: Any) -> dict[str, Any]:
    return {"id": name, "type": kind, "provider": provider, "params": params}


def _fan_in() -> dict[str, Any]:
    return {"id": "both", "type": "fanin"}


ROW = Row("F7", "partitions added; a source dropped, nodes renamed", play, where=CHAIN, dup=0, ttr_s=60.0)
