"""F30: the graph is edited between runs, while documents change, and some of the runs after it are killed."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from tests.faults.cell import Cell
from tests.faults.graphs import STEPS
from tests.faults.matrix import CHAIN, Row
from tests.faults.oracle import Entries, Entry, Oracle, compare
from tests.faults.stores import held

HALVES = """

def halves(document: Document) -> Iterator[Chunk]:
    for one in split(document):
        cut = len(one.text) // 2
        for start, text in ((0, one.text[:cut]), (cut, one.text[cut:])):
            at = one.span.start + start
            yield Chunk(text=text, span=Span(at, at + len(text)), metadata={"length": len(text)})
"""
Graph = dict[str, Any]


def play(cell: Cell) -> None:
    """Each edit is carried over into what the sinks hold; one run in two is killed in the middle of that."""
    (cell.folder / "steps.py").write_text(STEPS + HALVES)
    edits = list(_edits())
    cell.oracle = cell.source.oracle = oracle = EditedOracle(cell.setting.shape)
    cell.source.fill(24)
    cell.run()
    cell.judge()
    chance = random.Random(f"{cell.setting.seed}/F30")
    for what, edit, made_of in edits[::3] if cell.setting.quick else edits:
        if cell.setting.only not in ("", what.replace(" ", "_")):
            continue
        cell.tally.runs += 1
        edit(cell.graph)
        oracle.made_of = made_of
        _unspoil(cell)
        cell.source.edit(3)
        _unspoil(cell)
        with cell.saying(what):
            if chance.random() < 0.5:
                _kill_in_the_middle(cell, chance.random())
            cell.run()
            cell.judge()
            _the_other_sink(cell)
    cell.finish(repeats=True)


class EditedOracle(Oracle):
    """An oracle whose graph makes something else of each passage."""

    made_of: Callable[[Entry], Iterator[Entry]] = staticmethod(lambda entry: iter((entry,)))

    def allowed(self, sink: str, key: str) -> list[Entries]:
        """See `Oracle`."""
        return [
            Counter(made for entry in found.elements() for made in self.made_of(entry))
            for found in super().allowed(sink, key)
        ]


def _same(entry: Entry) -> Iterator[Entry]:
    yield entry


def _halved(entry: Entry) -> Iterator[Entry]:
    cut = len(entry.text) // 2
    yield Entry(entry.text[:cut], entry.start, entry.start + cut, cut)
    yield Entry(entry.text[cut:], entry.start + cut, entry.end, len(entry.text) - cut)


def _shouted(entry: Entry) -> Iterator[Entry]:
    yield entry._replace(text=entry.text.upper())


def _shouted_rivers(entry: Entry) -> Iterator[Entry]:
    yield entry._replace(text=entry.text.upper()) if "river" in entry.text else entry


def _edits() -> Iterator[tuple[str, Callable[[Graph], None], Callable[[Entry], Iterator[Entry]]]]:
    """What is done to the graph, one after the other, and what it makes of a passage then."""
    yield "smaller chunks", lambda graph: _set(graph, "split", function="steps:halves"), _halved
    yield "chunks as before", lambda graph: _set(graph, "split", function="steps:split"), _same
    yield "a node inserted", lambda graph: _insert(graph, "shout", "split", "embed"), _shouted
    yield "it is renamed", lambda graph: _rename(graph, "shout", "loud"), _shouted
    yield "the first stage renamed", lambda graph: _rename(graph, "split", "cut"), _shouted
    yield "the source renamed", lambda graph: _rename(graph, "files", "papers"), _shouted
    yield "a topic more", lambda graph: _topic(graph, "loud", "embed", True), _shouted
    yield "no topics", lambda graph: _topics(graph, False), _shouted
    yield "topics as before", lambda graph: _topics(graph, None), _shouted
    yield "a node taken out", lambda graph: _take_out(graph, "loud", "cut", "embed"), _same
    yield "a branch", _branch, _shouted_rivers
    yield "a sink more", _sink_more, _shouted_rivers
    yield "it is dropped", _sink_dropped, _shouted_rivers


def _kill_in_the_middle(cell: Cell, when: float) -> None:
    process = cell.spawn("--follow")
    cell.process = process
    time.sleep((1.5 + 2.0 * when) * cell.slowness)
    cell.kill()


def _unspoil(cell: Cell) -> None:
    """Documents that fail are mended: what stays of a version before an edit is as the graph was then."""
    for key in cell.oracle.letters():
        cell.source.write(key, cell.source.document(2))


def _the_other_sink(cell: Cell) -> None:
    """What a second sink holds, while there is one: the same."""
    if any(node["id"] == "other" for node in cell.graph["nodes"]):
        lost, extra = compare(cell.oracle, "index", held(cell.store, "other"))
        cell.tally.lost += len(lost)
        cell.tally.extra += len(extra)
        cell.expect(not lost and not extra, f"in the other sink: lost {lost[:3]}, extra {extra[:3]}")


def _node(graph: Graph, name: str) -> Graph:
    found: Graph = next(node for node in graph["nodes"] if node["id"] == name)
    return found


def _set(graph: Graph, name: str, **params: Any) -> None:
    _node(graph, name)["params"].update(params)


def _insert(graph: Graph, name: str, before: str, after: str) -> None:
    params = {"function": f"steps:{name}"}
    graph["nodes"].append({"id": name, "type": "action", "action": "python", "params": params})
    _cut(graph, before, after)
    graph["edges"] += [{"from": before, "to": name}, {"from": name, "to": after}]


def _take_out(graph: Graph, name: str, before: str, after: str) -> None:
    graph["nodes"].remove(_node(graph, name))
    graph["edges"] = [edge for edge in graph["edges"] if name not in edge.values()]
    graph["edges"].append({"from": before, "to": after})


def _cut(graph: Graph, before: str, after: str) -> None:
    graph["edges"] = [edge for edge in graph["edges"] if (edge["from"], edge["to"]) != (before, after)]


def _rename(graph: Graph, old: str, new: str) -> None:
    _node(graph, old)["id"] = new
    for edge in graph["edges"]:
        edge.update({end: new for end in ("from", "to") if edge[end] == old})


def _topic(graph: Graph, before: str, after: str, is_cut: bool) -> None:
    edge = next(edge for edge in graph["edges"] if (edge["from"], edge["to"]) == (before, after))
    edge["topic"] = f"{graph['name']}.more" if is_cut else False


def _topics(graph: Graph, is_cut: bool | None) -> None:
    for edge in graph["edges"]:
        edge.pop("topic", None)
        if is_cut is False:
            edge["topic"] = False


def _branch(graph: Graph) -> None:
    params = {"routes": [{"port": "loud", "when": "text.contains('river')"}], "default": "plain"}
    graph["nodes"] += [{"id": "route", "type": "branch", "params": params}, {"id": "join", "type": "fanin"}]
    _insert(graph, "shout", "route", "join")
    graph["edges"][-2]["port"] = "loud"
    _cut(graph, "cut", "embed")
    graph["edges"] += [
        {"from": "cut", "to": "route"},
        {"from": "route", "to": "join", "port": "plain"},
        {"from": "join", "to": "embed"},
    ]


def _sink_more(graph: Graph) -> None:
    index = _node(graph, "index")
    params = {**index["params"], "collection": "other"}
    graph["nodes"] += [{**index, "id": "other", "params": params}, {"id": "both", "type": "fanout"}]
    _cut(graph, "embed", "index")
    graph["edges"] += [
        {"from": a, "to": b} for a, b in (("embed", "both"), ("both", "index"), ("both", "other"))
    ]


def _sink_dropped(graph: Graph) -> None:
    _take_out(graph, "other", "embed", "index")
    graph["nodes"].remove(_node(graph, "both"))
    graph["edges"] = [edge for edge in graph["edges"] if "both" not in edge.values()]


ROW = Row("F30", "the graph is edited between runs", play, where=CHAIN)
