"""Topics of the embedded log stay as small as what they have to hold, whatever dies, and nobody waits for it."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from nvisy.topics.embedded import EmbeddedLog, compaction
from nvisy.topics.log import Append, LogRecord
from tests.topics.drive import after, ends, reader, writer

SMALL_BYTES = 128 * 1024
LONGEST_WAIT_S = 9.0
"""Of a machine with far too much to do; who waits for ten seconds gives up."""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedLog]:
    """A log whose topics are worth a pass early, with one of two partitions."""
    monkeypatch.setattr(compaction, "SMALL_BYTES", SMALL_BYTES)
    with closing(EmbeddedLog(tmp_path / "log")) as log:
        log.create("t", 2)
        yield log


def always() -> bool:
    return True


def fill(log: EmbeddedLog, keys: range, *, versions: int = 1, n_bytes: int = 1_000) -> None:
    """So many versions of each key, a commit for each round of keys."""
    with closing(log.session(writer("g", "t"))) as session:
        for version in range(versions):
            session.append([Append("t", n % 2, b"k%d" % n, b"%d" % version + bytes(n_bytes)) for n in keys])
            session.commit({})


def latest(log: EmbeddedLog) -> dict[tuple[int, bytes | None], LogRecord]:
    return {(record.partition, record.key): record for record in log.scan("t")}


def size_bytes(log: EmbeddedLog) -> int:
    with closing(apsw.Connection(str(log._root / "topics" / "t.db"))) as db:
        return int(db.pragma("page_count")) * int(db.pragma("page_size"))


def test_a_topic_is_bounded_under_endless_updates(log: EmbeddedLog) -> None:
    live_bytes = 50 * 2_000
    sizes: list[int] = []
    for number in range(40):
        fill(log, range(50), n_bytes=2_000)
        log.tidy("t", always)
        sizes.append(size_bytes(log))
        assert len(latest(log)) == 50
        assert {record.offset for record in latest(log).values()} >= {25 * (number + 1) - 1}
    assert max(sizes) < 4 * live_bytes + 2 * SMALL_BYTES, sizes
    assert ends(log, "t") == {("t", 0): 1000, ("t", 1): 1000}


def test_a_pass_is_made_only_where_about_half_may_have_been_replaced(log: EmbeddedLog) -> None:
    fill(log, range(50))
    assert log.tidy("t", always) == 0, "it is small"
    fill(log, range(1_000))
    assert log.tidy("t", always) == 50
    fill(log, range(300))
    assert log.tidy("t", always) == 0, "most of it was looked at before"
    fill(log, range(1_000))
    assert log.tidy("t", always) == 1_300
    assert log.tidy("nobody-made-it", always) == 0


def test_what_is_free_goes_back_to_the_system_once_it_is_more_than_what_is_used(log: EmbeddedLog) -> None:
    fill(log, range(20), versions=100, n_bytes=10_000)
    before = size_bytes(log)
    assert log.tidy("t", always) == 20 * 99
    assert size_bytes(log) < before / 10


def test_it_ends_soon_once_it_is_not_wanted_and_goes_on_another_time(log: EmbeddedLog) -> None:
    fill(log, range(20), versions=200)
    before, left = latest(log), iter([True, True, False])
    gone = log.tidy("t", lambda: next(left))
    assert 0 < gone < 20 * 199
    assert latest(log) == before
    assert gone + log.tidy("t", always) == 20 * 199
    assert latest(log) == before


@pytest.mark.parametrize("nth", [1, 2, 3, 6, 9])
def test_a_process_that_is_killed_in_the_middle_leaves_a_whole_topic(log: EmbeddedLog, nth: int) -> None:
    fill(log, range(20), versions=200)
    before = latest(log)
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from nvisy import fault_points\n"
        "from nvisy.topics.embedded import EmbeddedLog\n"
        "left = int(sys.argv[2])\n"
        "def reached(point, stage):\n"
        "    global left\n"
        "    left -= 1\n"
        "    if not left:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "fault_points._reached = reached\n"
        "EmbeddedLog(Path(sys.argv[1])).compact('t')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(log._root), str(nth)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert latest(log) == before
    assert ends(log, "t") == {("t", 0): 2_000, ("t", 1): 2_000}
    n_left = sum(1 for _ in log.scan("t"))
    assert n_left > 20, "it was killed before its end"
    fill(log, range(1))
    assert log.tidy("t", always) == n_left - 20 + 1
    assert len(latest(log)) == 20


def test_others_write_and_read_meanwhile_and_wait_for_no_time_worth_the_name(log: EmbeddedLog) -> None:
    fill(log, range(20), versions=600)
    compacted, written = threading.Event(), threading.Event()
    waits_s: list[float] = []
    seen: list[LogRecord] = []

    def write() -> None:
        with (
            closing(EmbeddedLog(log._root)) as own,
            closing(own.session(writer("g", "t", slot=1))) as session,
        ):
            while not compacted.is_set():
                session.append([Append("t", 0, b"new%d" % random.randrange(9), bytes(500))])
                began = time.monotonic()
                session.commit({})
                waits_s.append(time.monotonic() - began)

    def read() -> None:
        with closing(EmbeddedLog(log._root)) as own, closing(own.session(reader("g", "t"))) as session:
            while not written.is_set() or not session.caught_up(ends(own, "t")):
                found = session.poll(50, 0.01)
                seen.extend(found)
                session.commit(after(found))

    with ThreadPoolExecutor() as threads:
        writing, reading = threads.submit(write), threads.submit(read)
        try:
            gone = log.compact("t")
        finally:
            compacted.set()
            wait([writing])
            written.set()
        writing.result()
        reading.result()
    assert gone >= 20 * 599
    assert len(waits_s) > 20, "between any two steps somebody could write"
    assert max(waits_s) < LONGEST_WAIT_S
    for partition in (0, 1):
        offsets = [record.offset for record in seen if record.partition == partition]
        assert offsets == sorted(set(offsets))
    found = {(record.partition, record.key): record for record in seen}
    assert found == latest(log)


def test_a_topic_that_is_made_anew_meanwhile_is_left_alone(log: EmbeddedLog) -> None:
    fill(log, range(20), versions=200)
    wanted = iter([True, True])

    def once_more() -> bool:
        if next(wanted, None) is None and len(log.topics()) == 1:
            log.delete("t")
            log.create("t", 2)
            fill(log, range(4), versions=2)
        return True

    with pytest.raises(Exception, match="made anew"):
        log.tidy("t", once_more)
    assert sum(1 for _ in log.scan("t")) == 8
