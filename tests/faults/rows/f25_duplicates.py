"""F25: the same content under two keys, and the same document delivered again."""

from __future__ import annotations

import os
import time

from tests.faults.cell import Cell
from tests.faults.matrix import CHAIN, SHAPES, Row


def play(cell: Cell) -> None:
    """A tenth of the documents are copies; all are touched, written anew as they were, and listed again."""
    source = cell.source
    source.fill(30)
    cell.start()
    cell.rest()
    asked = len(cell.model.texts)
    originals = source.rng.sample(source.names(), 3)
    for number, key in enumerate(originals):
        source.write(f"copy{number}.txt", source.text(key))
    cell.tally.runs += 1
    cell.rest(time.monotonic())
    cell.expect(len(cell.model.texts) == asked, "the model was asked for what it had answered")
    source.delete(originals[0])
    source.write(originals[1], source.document(2))
    cell.tally.runs += 1
    cell.rest(time.monotonic())
    asked = len(cell.model.texts)
    for key in source.names():
        os.utime(source.folder / key)
        source.write(key, source.text(key))
    cell.tally.runs += 1
    cell.stop()
    report = cell.run()
    cell.judge()
    again = {name: report[name] for name in ("written", "removed", "model_calls") if report[name]}
    cell.expect(not again, f"documents that are as they were caused work: {again}")
    cell.expect(len(cell.model.texts) == asked, "the model was asked for documents that are as they were")
    cell.finish()


ROW = Row("F25", "duplicates: content under two keys, documents again", play, where=CHAIN + SHAPES, dup=0)
