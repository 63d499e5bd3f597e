"""The rows of the matrix, the cells that each is played in, and the playing."""

from __future__ import annotations

import importlib
import math
import pkgutil
import secrets
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults import rows
from tests.faults.cell import Cell
from tests.faults.runs import CALM_START_S, Setting
from tests.faults.servers import Servers
from tests.faults.tally import CellFailed, Tally

LOGS = ("embedded", "kafka")
STORES = ("sqlite", "pgvector", "qdrant")
CHAIN = tuple(("chain", log, store) for log in LOGS for store in STORES)
"""All six pairs, for the chain."""
SHAPES = (("branch", "embedded", "pgvector"), ("fanout", "kafka", "sqlite"))
"""The other graphs, on a pair each."""
EVERY = CHAIN + SHAPES
SMALLEST = ("chain", "embedded", "sqlite")

KEPT = Path(tempfile.gettempdir()) / "nvisy-faults"
"""Where the folder of a cell that failed is kept."""

Where = tuple[str, str, str]
"""shape, log, store"""


@dataclass(frozen=True)
class Row:
    """A row of the matrix.

    Attributes:
        id: `F1`.
        title: What goes wrong, in some words.
        play: Injects it in one cell. What is wrong it tells the cell; what it does not foresee it raises.
        where: Cells it is played in, as `(shape, log, store)`.
        quick: Cells of the bounded part; none where the row does not fit into it.
        dup: Bar for texts asked once more, per fault; None where there is none.
        ttr_s: Bar for the time from a fault to rest; None where the row has another.
        alone: It harms a server that other cells use: none is played beside it.
    """

    id: str
    title: str
    play: Callable[[Cell], None]
    where: Sequence[Where] = EVERY
    quick: Sequence[Where] = (SMALLEST,)
    dup: float | None = None
    ttr_s: float | None = None
    alone: bool = False

    @property
    def number(self) -> int:
        """1 for `F1`."""
        return int(self.id[1:])


def every_row() -> list[Row]:
    """All rows there are, in order."""
    found = pkgutil.iter_modules(rows.__path__)
    modules = [importlib.import_module(f"{rows.__name__}.{one.name}") for one in found]
    return sorted((module.ROW for module in modules), key=lambda row: row.number)


def settings(
    row: Row, seed: int, *, quick: bool, pairs: Iterable[str] = (), shapes: Iterable[str] = (), only: str = ""
) -> Iterator[Setting]:
    """The cells of a row; `pairs` (`kafka-qdrant`) and `shapes` narrow them down."""
    pairs, shapes = list(pairs), list(shapes)
    for shape, log, store in row.quick if quick else row.where:
        if (not pairs or f"{log}-{store}" in pairs) and (not shapes or shape in shapes):
            yield Setting(shape, log, store, seed, quick, only)


def play(row: Row, setting: Setting, servers: Servers) -> Tally:
    """Play a row in one cell."""
    name = f"{row.id.lower()}-{setting.shape}-{secrets.token_hex(3)}"
    folder = servers.folder / name
    folder.mkdir()
    cell = Cell(setting, row.id, servers, folder, name)
    try:
        row.play(cell)
    except CellFailed:
        pass  # it has said why
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        cell.expect(right=False, otherwise=f"{type(error).__name__}: {error} ({place.name}:{place.lineno})")
    finally:
        cell.close()
    return _judged(row, cell.tally, setting, folder)


def _judged(row: Row, tally: Tally, setting: Setting, folder: Path) -> Tally:
    """The tally, held against the bars of its row."""
    failures = list(tally.failures)
    if row.dup is not None and tally.dup > row.dup * tally.runs:
        failures.append(
            f"{setting}: {tally.dup} texts were asked for twice, at {tally.runs} faults: {tally.asked_again}"
        )
    bar_s = (row.ttr_s or math.inf) * max(1.0, tally.calm_start_s / CALM_START_S)
    if tally.ttr_s > bar_s:
        failures.append(f"{setting}: {tally.ttr_s:.1f} s until it was at rest, more than {bar_s:.0f}")
    if not tally.runs and not failures:
        failures.append(f"{setting}: no fault was injected")
    if failures:
        kept = KEPT / folder.name
        shutil.copytree(folder, kept, dirs_exist_ok=True)
        failures = [f"{failure}; kept in {kept}" for failure in failures]
    shutil.rmtree(folder, ignore_errors=True)
    return replace(tally, failures=failures)


@dataclass(frozen=True)
class Result:
    """A row that was played."""

    row: Row
    seed: int
    cells: int
    tally: Tally
    took_s: float

    @property
    def passed(self) -> bool:
        """Whether every cell was as it has to be."""
        return self.tally.passed


def play_rows(
    rows: Sequence[Row],
    cells: Callable[[Row], Sequence[Setting]],
    servers: Servers,
    said: Callable[[str], None],
    *,
    jobs: int,
) -> list[Result]:
    """Play rows, `jobs` cells side by side, those that stand alone one after the other; `said` is told of each."""
    work = [(row, setting) for row in rows for setting in cells(row)]
    played: dict[tuple[str, Setting], tuple[Tally, float]] = {}

    def one(task: tuple[Row, Setting]) -> None:
        row, setting = task
        began = time.monotonic()
        tally = play(row, setting, servers)
        played[row.id, setting] = tally, time.monotonic() - began
        said(told(row, setting, tally, time.monotonic() - began))

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, (task for task in work if not task[0].alone)))
    for task in work:
        if task[0].alone:
            one(task)
    return [_whole(row, [(s, *played[row.id, s]) for r, s in work if r is row]) for row in rows if cells(row)]


def _whole(row: Row, parts: Sequence[tuple[Setting, Tally, float]]) -> Result:
    whole = Tally()
    for _, tally, _ in parts:
        whole.add(tally)
    return Result(row, parts[0][0].seed, len(parts), whole, sum(took_s for _, _, took_s in parts))


def told(row: Row, setting: Setting, tally: Tally, took_s: float) -> str:
    """What a person is told of a cell: its figures, and for each failure how to see it again."""
    outcome = "pass" if tally.passed else "FAIL"
    figures = f"{tally.runs} faults, dup {tally.dup}, ttr {tally.ttr_s:.1f} s, took {took_s:.0f} s"
    again = f"\n  seed {setting.seed}, again: {command(row, setting)}"
    return "".join(
        [
            f"{row.id} {setting}: {outcome}, {figures}",
            *(f"\n  {failure}{again}" for failure in tally.failures),
        ]
    )


def command(row: Row, setting: Setting) -> str:
    """What plays a cell again."""
    only = f" --only {setting.only}" if setting.only else ""
    quick = " --quick" if setting.quick else ""
    return (
        f"python -m tests.faults --rows {row.id} --pairs {setting.log}-{setting.store}"
        f" --shapes {setting.shape} --seed {setting.seed}{quick}{only}"
    )
