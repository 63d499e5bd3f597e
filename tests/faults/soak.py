"""`python -m tests.faults.soak --minutes 30`: one pipeline that is edited and harmed for a long time, by seed.

For the first third of the time anything may die. For the rest the processes of the run live on, and only what they need
is taken from them, so that what grows shows: memory, descriptors and threads are looked at whenever everything is at
rest. The figures go into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.faults.cell import Cell
from tests.faults.logs import letters
from tests.faults.report import PAGE
from tests.faults.runs import Setting
from tests.faults.servers import Servers, servers
from tests.faults.stores import PostgresStore
from tests.faults.tally import CellFailed

BEGIN = "<!-- soak: begin, written by `make soak` -->"
END = "<!-- soak: end -->"
DOCUMENTS = 60
BETWEEN_S = 10.0
"""From one fault to the next, about."""
AWAY_S = 3.0
"""How long something is taken away."""
SETTLED_SHARE = 0.25
"""What of the calm part passes before the first look: caches and allocators have filled up by then."""
GROWTH_SHARE = 0.10
GROWTH_BYTES = 16 << 20
"""Memory may grow by the larger of the two; allocators breathe by some megabytes."""
SLACK = 4
"""Descriptors and threads that may come and go: a connection that is being made anew."""

Fault = Callable[[Cell], None]


class Held(NamedTuple):
    """What all processes of the run hold together."""

    rss_bytes: int
    descriptors: int
    threads: int

    def __str__(self) -> str:
        return f"{self.rss_bytes >> 20} MB, {self.descriptors} descriptors, {self.threads} threads"


def soak(cell: Cell, minutes: float, said: Callable[[str], None]) -> str:
    """Harm a pipeline for some minutes; returns the sentence that the documentation gets."""
    chance = random.Random(f"{cell.setting.seed}/soak")
    began, harmed = time.monotonic(), Counter[str]()
    calm_from, until = began + minutes * 60 / 3, began + minutes * 60
    settled = calm_from + SETTLED_SHARE * (until - calm_from)
    looks: list[Held] = []
    cell.source.fill(DOCUMENTS)
    cell.start()
    cell.rest()
    while time.monotonic() < until:
        lives_on = time.monotonic() > calm_from
        fault = chance.choice(_faults(cell, lives_on=lives_on))
        _edits(cell, chance)
        fault(cell)
        cell.tally.runs += 1
        harmed[fault.__name__.strip("_").replace("_", " ")] += 1
        cell.source.edit()
        _rest(cell)
        if lives_on and time.monotonic() > settled:
            looks.append(_held(cell))
        said(f"{time.monotonic() - began:5.0f} s, {cell.tally.runs} faults, {_held(cell)}")
    cell.stop()
    cell.finish()
    first, last = _most(looks[: len(looks) // 3 or 1]), _most(looks[-(len(looks) // 3 or 1) :])
    _judge(cell, first, last)
    drift = cell.tally.lost + cell.tally.extra + cell.tally.silent
    kinds = ", ".join(f"{count} x {name}" for name, count in sorted(harmed.items()))
    return (
        f"{minutes:.0f} minutes of edits, inserts and deletes on {cell.setting}, seed {cell.setting.seed}: "
        f"{cell.tally.runs} faults ({kinds}); drift {drift} at each of {cell.tally.runs} rests; "
        f"all processes of the run together first {first}, at the end {last}: "
        f"{'pass' if cell.tally.passed else 'fail'}."
    )


def _edits(cell: Cell, chance: random.Random) -> None:
    until = time.monotonic() + chance.uniform(0.5, 1.5) * BETWEEN_S
    while time.monotonic() < until:
        cell.source.edit(4)
        time.sleep(0.5)


def _rest(cell: Cell) -> None:
    """Wait until everything is right. What was in flight at three deaths is a dead letter, and is written anew."""
    if cell.rests_within(20):
        return
    for key in sorted(letters(cell.topics, cell.name) - cell.oracle.letters()):
        cell.note(f"{key} was quarantined")
        cell.source.write(key, cell.source.document(2))
    cell.rest()


def _faults(cell: Cell, *, lives_on: bool) -> Sequence[Fault]:
    """What can be done to this cell; with `lives_on`, nothing that ends a process of the run."""
    outside: list[Fault] = [_a_stage_is_paused, _the_model_is_down, _answers_are_lost, _nothing]
    if cell.setting.log == "kafka":
        outside.append(_the_broker_is_killed)
    if isinstance(cell.store, PostgresStore):
        outside.append(_connections_are_cut)
    inside: list[Fault] = [_a_stage_is_killed, _the_run_is_killed, _all_are_killed, _the_run_is_stopped]
    return outside if lives_on else [*outside, *inside]


def _nothing(cell: Cell) -> None:
    """Edits alone."""


def _a_stage_is_killed(cell: Cell) -> None:
    cell.source.rng.choice(cell.stages()).kill()


def _the_run_is_killed(cell: Cell) -> None:
    cell.kill()
    cell.start()


def _all_are_killed(cell: Cell) -> None:
    children = cell.stages()
    for process in [*children, psutil.Process(cell.running.pid)]:
        process.kill()
    cell.gone(children)
    cell.start()


def _the_run_is_stopped(cell: Cell) -> None:
    cell.stop()
    cell.start()


def _a_stage_is_paused(cell: Cell) -> None:
    process = cell.source.rng.choice(cell.stages())
    process.send_signal(signal.SIGSTOP)
    time.sleep(AWAY_S)
    process.send_signal(signal.SIGCONT)


def _the_model_is_down(cell: Cell) -> None:
    cell.model.fail("unavailable")
    cell.source.edit()
    time.sleep(AWAY_S)
    cell.model.fail(None)


def _answers_are_lost(cell: Cell) -> None:
    cell.model.next("dropped", "error", "dropped")


def _the_broker_is_killed(cell: Cell) -> None:
    cell.servers.kafka.kill()
    time.sleep(AWAY_S)
    cell.servers.kafka.start()


def _connections_are_cut(cell: Cell) -> None:
    assert isinstance(cell.store, PostgresStore)
    cell.store.cut()


def _held(cell: Cell) -> Held:
    """What the run and its stages hold now; a process that ends meanwhile counts nothing."""
    found = []
    for process in [psutil.Process(cell.running.pid), *cell.stages()]:
        try:
            found.append(Held(process.memory_info().rss, process.num_fds(), process.num_threads()))
        except psutil.NoSuchProcess:
            continue
    return Held(*map(sum, zip(*found, strict=True)))


def _most(looks: Sequence[Held]) -> Held:
    """The median of each: a look may come while a connection is made anew."""
    return Held(*(sorted(values)[len(values) // 2] for values in zip(*looks, strict=True)))


def _judge(cell: Cell, first: Held, last: Held) -> None:
    bar_bytes = max(GROWTH_BYTES, int(first.rss_bytes * GROWTH_SHARE))
    grown = last.rss_bytes - first.rss_bytes
    cell.expect(grown <= bar_bytes, f"memory grew from {first} to {last}")
    for name in ("descriptors", "threads"):
        more = getattr(last, name) - getattr(first, name)
        cell.expect(more <= SLACK, f"{more} more {name}: from {first} to {last}")


def _play(setting: Setting, minutes: float, started: Servers) -> tuple[bool, str]:
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=started.folder))
    cell = Cell(setting, "F33", started, folder, "soak")
    try:
        sentence = soak(cell, minutes, _say)
    except CellFailed:
        kept = Path(tempfile.mkdtemp(prefix="nvisy-soak-")) / "cell"
        shutil.copytree(folder, kept)
        return False, f"{setting}, seed {setting.seed}: {'; '.join(cell.tally.failures)}; kept in {kept}"
    finally:
        cell.close()
    return cell.tally.passed, "; ".join([sentence, *cell.tally.failures])


def _write(sentence: str) -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\nMeasured {datetime.now(UTC):%Y-%m-%d}: {sentence}\n{END}{after}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Soak one cell; 1 if it drifts or grows."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--pair", default="kafka-pgvector", help="log and store, such as embedded-sqlite")
    parser.add_argument("--shape", default="chain", help="chain, branch or fanout")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="put the figures into docs/reliability.md")
    asked = parser.parse_args()
    log, _, store = asked.pair.partition("-")
    with servers() as started:
        passed, sentence = _play(Setting(asked.shape, log, store, asked.seed), asked.minutes, started)
    _say(sentence)
    if asked.write:
        _write(sentence)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
