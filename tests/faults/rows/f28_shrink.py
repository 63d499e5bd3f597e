"""F28: documents that shrink, grow, become empty, and have the same passage more than once."""

from __future__ import annotations

import time

from tests.faults.cell import Cell
from tests.faults.matrix import Row
from tests.faults.stores import held


def play(cell: Cell) -> None:
    """Each script is a row of versions of one document; all documents go through theirs side by side."""
    source = cell.source
    p = [source.passage() for _ in range(9)]
    scripts = {
        "shrinks": ["\n\n".join(p[:7]), "\n\n".join(p[:5]), p[0], p[0]],
        "grows": [p[0], "\n\n".join(p[:5]), "\n\n".join(p[:9]), "\n\n".join(p[:9])],
        "loses its first": ["\n\n".join(p[:5]), "\n\n".join(p[1:5]), "\n\n".join(p[2:5]), p[4]],
        "becomes empty": ["\n\n".join(p[:4]), "", "\n\n".join(p[:2]), "\n\n \n\n"],
        "is turned around": ["\n\n".join(p), "\n\n".join(reversed(p)), "\n\n".join(p[::2]), "\n\n".join(p)],
        "repeats itself": ["\n\n".join([p[1]] * 5), "\n\n".join([p[1]] * 3), p[1], "\n\n".join([p[1]] * 4)],
        "moves": [p[2], f"{p[3]}\n\n{p[2]}", f"\n\n\n\n{p[2]}", p[2]],
    }
    source.fill(10)
    cell.start()
    for turn in range(4):
        began = time.monotonic()
        for name, versions in scripts.items():
            source.write(f"{name}.txt", versions[turn])
            cell.tally.runs += 1
        cell.rest(began)
    there = held(cell.store, "index")
    cell.expect("becomes empty.txt" not in there, "an empty document left something behind")
    cell.stop()
    cell.finish()


ROW = Row("F28", "documents shrink, grow, become empty", play, dup=0)
