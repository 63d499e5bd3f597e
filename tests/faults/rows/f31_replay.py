"""F31: what failed in the middle of a graph is run again from there on, while the source goes on changing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping

from tests.faults.cell import Cell
from tests.faults.graphs import STEPS
from tests.faults.matrix import CHAIN, Row
from tests.faults.oracle import BAD
from tests.faults.replays import outcomes, replaying

SICK = 24
GUARD = """

from pathlib import Path

from nvisy.primitives import Embedding

_split = split


def _refused(where: str, text: str) -> None:
    if where in text and not Path(__file__).with_name("healed").exists():
        raise ValueError(f"not today, in {where}")


def split(document: Document) -> Iterator[Chunk]:
    _refused("SPLIT", (document.content or b"").decode())
    return _split(document)


def guard(embedding: Embedding) -> Embedding:
    _refused("GUARD", embedding.text)
    return embedding
"""


def play(cell: Cell) -> None:
    """Some fail where they are split, some behind the model. The stages above see none of them again."""
    (cell.folder / "steps.py").write_text(STEPS + GUARD)
    guard = {"id": "guard", "type": "action", "action": "python", "params": {"function": "steps:guard"}}
    cell.graph["nodes"].append(guard)
    cell.graph["edges"][-1:] = [{"from": "embed", "to": "guard"}, {"from": "guard", "to": "index"}]
    cell.source.fill(24)
    cell.start()
    cell.rest()
    sick = _sick(cell)
    cell.rest()
    above = _seen(cell, sick)
    cell.expect(set(above.values()) == {1}, f"each document should have been seen once, not {above}")
    asked = Counter(cell.model.texts)
    (cell.folder / "healed").touch()
    for key, text in sick.items():
        cell.oracle.says(key, text)
    began = time.monotonic()
    answer = replaying(cell, "--node", "split"), replaying(cell, "--node", "guard")
    while any(one.poll() is None for one in answer):
        for key in cell.source.rng.sample(cell.source.names(), 3):
            cell.source.write(key, cell.source.document(2))
        time.sleep(0.2)
    for one in answer:
        found = outcomes(cell, one)
        cell.tally.runs += 1
        cell.expect(found == {"resolved": SICK // 2}, f"replayed: {dict(found)}, not {SICK // 2}")
    cell.rest(began)
    cell.expect(
        _seen(cell, sick) == above, f"the stages above ran again: {above} before, {_seen(cell, sick)} after"
    )
    paid = {text for key, text in sick.items() if "GUARD" in text}
    again = sum(Counter(cell.model.texts)[text] - asked[text] for text in paid)
    cell.expect(not again, f"the model was asked again for {again} texts that it had answered")
    cell.expect(cell.running.poll() is None, f"the run ended with exit code {cell.running.poll()}")
    cell.stop()
    read = cell.report()["nodes"]["files"]["out"]
    noted = len(cell.topics.records(f"{cell.name}.files"))
    cell.expect(read == noted, f"the source counted {read} documents, and its topic has {noted}")
    cell.finish()


def _sick(cell: Cell) -> Mapping[str, str]:
    """New documents that fail, half of them in either place."""
    sick: dict[str, str] = {}
    for number in range(SICK):
        key, text = f"s{number:02}.txt", f"{'SPLIT' if number % 2 else 'GUARD'} {cell.source.passage()}"
        whole = cell.folder / "being-written"
        whole.write_text(text)
        whole.rename(cell.source.folder / key)
        cell.oracle.says(key, f"{BAD} for now")
        sick[key] = text
    return sick


def _seen(cell: Cell, sick: Mapping[str, str]) -> Counter[str]:
    """How often each was read from the source, and how often the model's topic has those that got there."""
    behind = {key for key, text in sick.items() if "GUARD" in text}
    return _records(cell, "files", sick) + _records(cell, "embed", behind)


def _records(cell: Cell, topic: str, keys: Iterable[str]) -> Counter[str]:
    found = (record.key.decode() for record in cell.topics.records(f"{cell.name}.{topic}"))
    names = Counter(key.rpartition("/")[2] for key in found)
    return Counter({f"{topic} {key}": names[key] for key in keys})


ROW = Row("F31", "a replay of what failed under live traffic", play, where=CHAIN, dup=0, ttr_s=60.0)
