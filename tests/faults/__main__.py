"""`python -m tests.faults`: play the fault matrix, print its table, write it into docs/reliability.md."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import psutil

from tests.faults import report
from tests.faults.inject import FOLDER
from tests.faults.matrix import Row, every_row, play_rows, settings
from tests.faults.runs import Setting
from tests.faults.servers import servers


def main() -> int:
    """Play what the command line asks for; 1 if a row failed."""
    asked = _arguments()
    wanted = [row for row in every_row() if not asked.rows or row.id in asked.rows.split(",")]
    pairs, shapes = _several(asked.pairs), _several(asked.shapes)

    def cells(row: Row) -> list[Setting]:
        return list(settings(row, asked.seed, quick=asked.quick, pairs=pairs, shapes=shapes, only=asked.only))

    began = time.monotonic()
    with servers() as started:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: _abandon(started.folder))
        results = play_rows(wanted, cells, started, _say, jobs=asked.jobs)
    _say(f"\n{report.table(results)}\n\ntook {time.monotonic() - began:.0f} s")
    narrowed = asked.rows or asked.quick or asked.pairs or asked.shapes or asked.only
    if asked.write or not narrowed:
        report.write(results)
    return 0 if results and all(result.passed for result in results) else 1


def _abandon(folder: Path) -> NoReturn:
    """End every process under test, stopped ones and orphans too; the guard ends the servers when we are gone."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(FOLDER, "").startswith(str(folder)):
                process.kill()
    os._exit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rows", default="", help="F1,F8: these rows only")
    parser.add_argument(
        "--pairs", default="", help="embedded-sqlite,kafka-qdrant: these logs and stores only"
    )
    parser.add_argument("--shapes", default="", help="chain,branch,fanout: these graphs only")
    parser.add_argument("--only", default="", help="one part of a row, as the command after a failure has it")
    parser.add_argument("--quick", action="store_true", help="the bounded part")
    parser.add_argument("--seed", type=int, default=1, help="what is random follows from it")
    parser.add_argument("--jobs", type=int, default=2, help="cells side by side")
    parser.add_argument(
        "--write", action="store_true", help="write the rows into docs/reliability.md in any case"
    )
    return parser.parse_args()


def _several(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
