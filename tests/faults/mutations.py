"""`python -m tests.faults.mutations`: switch one mechanism off at a time; the row that guards it has to fail.

A matrix that is green says little unless it is red where something is missing. Each mechanism is played in the smallest
cell whose row needs it. The table goes into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from tests.faults.cell import Cell
from tests.faults.matrix import SMALLEST, Row, every_row, play
from tests.faults.report import PAGE
from tests.faults.runs import Setting
from tests.faults.servers import Servers, servers
from tests.faults.switched_off import MECHANISMS, NOTE, SWITCHED_OFF
from tests.faults.tally import CellFailed, Tally

BEGIN = "<!-- mutations: begin, written by `make mutations` -->"
END = "<!-- mutations: end -->"
HEAD = "| switched off | row | what it finds | |\n|---|---|---|---|"
MAX_CHARS = 160
REST_S = 20.0
"""How long a cell may take to be as the oracle says. Where something is missing it never is."""


WRONG, FELL, WRITTEN = "not as the oracle says", "versions fell in topics", "old versions were written"


class Guard(NamedTuple):
    """The row that guards a mechanism.

    Attributes:
        row: Its id.
        says: What it has to find, one of these: if it fails for something else it proves nothing. Empty: it has to
            pass.
        only: The part of it that is enough.
    """

    row: str
    says: tuple[str, ...]
    only: str = ""


GUARDS = {
    "fenced appends": Guard("F8", (WRONG,), "files:LISTED"),
    "only what is acknowledged is committed": Guard("F2", (WRONG,)),
    "a key stays in its partition": Guard("F28", (FELL,)),
    "answers of a model go on in order": Guard("F9", (FELL, WRONG)),
    "what is no longer in a document is removed": Guard("F28", (WRONG,)),
    "nothing, with batches of one document": Guard("F26", ()),
    "the version guard": Guard("F26", (WRITTEN,)),
    "acknowledged after the sink's answer": Guard("F1", (WRONG,), "index:SINK_CALL/kill"),
    "the claim: one run at a time": Guard("F8", ("a run did not end",)),
    "deletes are remembered": Guard("F26", (WRITTEN,)),
}


class Found(NamedTuple):
    """What became of a row without a mechanism."""

    name: str
    guard: Guard
    tally: Tally
    was_off: bool

    @property
    def what(self) -> str:
        """The failure that it has to find; empty where it did not."""
        failures = self.tally.failures
        return next((one for one in failures for said in self.guard.says if said in one), "")

    @property
    def right(self) -> bool:
        """Whether the row found that, with the mechanism off; or nothing, where there is nothing."""
        return self.was_off and (bool(self.what) if self.guard.says else self.tally.passed)

    def line(self) -> str:
        """Its line of the table."""
        only = f" at `{self.guard.only}`" if self.guard.only else ""
        said = self._said() if self.what else "nothing"
        colour = "green" if self.tally.passed else "red"
        shown = colour if self.right else f"{colour.upper()}, which is wrong"
        return f"| {self.name} | {self.guard.row}{only} | {said} | {shown} |"

    def _said(self) -> str:
        t = self.tally
        if WRONG not in self.what:
            return _plain(self.what)
        figures = (("LOST", t.lost), ("EXTRA", t.extra), ("SILENT", t.silent))
        return ", ".join(f"{name} {count}" for name, count in figures if count)


def main() -> int:
    """Play every mechanism, or those that are named; 1 if a row stays green."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.mutations", description=__doc__)
    parser.add_argument("mechanism", nargs="*", help=f"some of: {', '.join(GUARDS)}")
    parser.add_argument("--seed", type=int, default=1, help="what is random follows from it")
    asked = parser.parse_args()
    if unknown := set(asked.mechanism) - set(GUARDS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    began = time.monotonic()
    with servers() as started:
        found = [_play(name, asked.seed, started) for name in asked.mechanism or GUARDS]
    _say(f"took {time.monotonic() - began:.0f} s")
    write(found)
    return 0 if all(one.right for one in found) else 1


def _play(name: str, seed: int, started: Servers) -> Found:
    guard = GUARDS[name]
    (row,) = (row for row in every_row() if row.id == guard.row)
    replaced: set[str] = set()

    def noted(cell: Cell) -> None:
        cell.rest_s = REST_S
        try:
            row.play(cell)
        except CellFailed:
            if not (cell.tally.lost or cell.tally.extra or cell.tally.silent):
                cell.judge()  # it had no time to look
            raise
        finally:
            if (note := cell.orders.folder / NOTE).exists():
                replaced.update(line.split()[0] for line in note.read_text().splitlines())

    watched = Row(row.id, row.title, noted, dup=row.dup, ttr_s=row.ttr_s)
    os.environ[SWITCHED_OFF] = name
    began = time.monotonic()
    try:
        tally = play(watched, Setting(*SMALLEST, seed, quick=not guard.only, only=guard.only), started)
    finally:
        del os.environ[SWITCHED_OFF]
    found = Found(name, guard, tally, replaced == {part.module for part in MECHANISMS[name]})
    _say(f"{found.line()}\n  took {time.monotonic() - began:.0f} s")
    _say("".join(f"  {failure}\n" for failure in tally.failures[:3]))
    return found


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _plain(failure: str) -> str:
    """The beginning of a failure, fit for a cell of a table."""
    said = (failure.partition(": ")[2] or failure).partition("; kept in")[0].rstrip(": ")
    short = said if len(said) <= MAX_CHARS else f"{said[:MAX_CHARS].rpartition(' ')[0]} …"
    return short.replace("|", "/")


def write(found: Sequence[Found]) -> None:
    """Put these lines into the table of the page, in the place of those of the same name."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    block, _, after = rest.partition(END)
    lines = {name: line for line in block.splitlines() for name in GUARDS if line.startswith(f"| {name} |")}
    lines |= {one.name: one.line() for one in found}
    table = [lines[name] for name in GUARDS if name in lines]
    text = "\n".join([BEGIN, f"Measured {datetime.now(UTC):%Y-%m-%d}.", "", HEAD, *table, END])
    PAGE.write_text(f"{before}{text}{after}")


if __name__ == "__main__":
    sys.exit(main())
