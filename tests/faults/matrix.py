"""The rows of the matrix, the cells that each is played in, and the playing."""

from __future__ import annotations

import importlib
import pkgutil
import secrets
import shutil
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tests.faults import rows
from tests.faults.cell import Cell, Setting
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


def _judged(row: Row, tally: Tally, setting: Setting, folder: object) -> Tally:
    """The tally, held against the bars of its row."""
    failures = list(tally.failures)
    if row.dup is not None and tally.dup > row.dup * tally.runs:
        failures.append(f"{setting}: {tally.dup} texts were asked for twice, at {tally.runs} faults")
    if row.ttr_s is not None and tally.ttr_s > row.ttr_s:
        failures.append(f"{setting}: {tally.ttr_s:.1f} s until it was at rest, more than {row.ttr_s:.0f}")
    if not tally.runs and not failures:
        failures.append(f"{setting}: no fault was injected")
    if not failures:
        shutil.rmtree(str(folder), ignore_errors=True)
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


def play_row(row: Row, cells: Sequence[Setting], servers: Servers, said: Callable[[str], None]) -> Result:
    """Play a row in these cells; `said` is told of every one."""
    began = time.monotonic()
    whole = Tally()
    for setting in cells:
        cell_began = time.monotonic()
        tally = play(row, setting, servers)
        outcome = "pass" if tally.passed else "FAIL"
        said(
            f"{row.id} {setting}: {outcome}, {tally.runs} faults, dup {tally.dup}, ttr {tally.ttr_s:.1f} s,"
            f" took {time.monotonic() - cell_began:.0f} s"
        )
        for failure in tally.failures:
            said(f"  {failure}\n  again: {command(row, setting)}")
        whole.add(tally)
    return Result(row, cells[0].seed if cells else 0, len(cells), whole, time.monotonic() - began)


def command(row: Row, setting: Setting) -> str:
    """What plays a cell again."""
    only = f" --only {setting.only}" if setting.only else ""
    quick = " --quick" if setting.quick else ""
    return (
        f"python -m tests.faults --rows {row.id} --pairs {setting.log}-{setting.store}"
        f" --shapes {setting.shape} --seed {setting.seed}{quick}{only}"
    )
