"""Several processes use one log, and any of them may be killed."""

import subprocess
import sys
import threading
import time

import pytest

from tests.topics.drive import drain, numbers, reader, records, until, write, writer

_WRITE_WHEN_TOLD = """
import sys
from tests.topics.drive import Place, records, writer
session = Place(sys.argv[1] or None, sys.argv[2]).open().session(writer(*sys.argv[3:]))
print("ready", flush=True)
for number in sys.stdin:
    session.append(records(sys.argv[4], [int(number)]))
    session.commit({})
"""
_WRITE_FOR_EVER = """
import sys
from tests.topics.drive import Place, records, writer
log = Place(sys.argv[1] or None, sys.argv[2]).open()
session = log.session(writer(sys.argv[3], *sys.argv[4:]))
n = int(session.state().get("n", b"0"))
while True:
    for topic in sys.argv[4:]:
        session.append(records(topic, range(n, n + 20)))
    n += 20
    session.commit({}, {"n": b"%d" % n})
    print(n, flush=True)
"""


def _start(place, graph: str, *topics: str, program: str = _WRITE_FOR_EVER) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", program, place.url or "", place.root, graph, *topics]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _kill(process: subprocess.Popen[bytes]) -> int:
    """Kill it in the middle of its work; the last number it reported as committed."""
    process.kill()
    said = process.stdout.read().split(b"\n")
    process.stdout.close()
    process.stdin.close()
    process.wait()
    whole = [line for line in said[:-1] if line]
    return int(whole[-1]) if whole else 0


def test_a_reader_in_another_process_sees_a_commit_within_milliseconds(opened, place, log, graph, topic):
    session = opened().session(reader(graph, topic))
    process = _start(place, graph, topic, program=_WRITE_WHEN_TOLD)
    process.stdout.readline()
    told: list[float] = []

    def tell() -> None:
        told.append(time.monotonic())
        process.stdin.write(b"%d\n" % len(told))
        process.stdin.flush()

    def delay_s() -> float:
        threading.Timer(0.05, tell).start()
        until(lambda: session.poll(1000, 5))
        return time.monotonic() - told[-1]

    until(
        lambda: delay_s() < 0.2
    )  # a busy machine needs several attempts, a reader that looks rarely has none
    _kill(process)
    session.close()


@pytest.mark.timeout(120)
def test_a_killed_writer_loses_nothing_it_committed_and_shows_nothing_it_did_not(
    opened, place, log, graph, topic
):
    committed = 0
    for life in range(3):
        process = _start(place, graph, topic)
        for _ in range(5 + 3 * life):
            committed = int(process.stdout.readline())
        committed = max(committed, _kill(process))
    survivor = opened().session(writer(graph, topic))
    counted = int(survivor.state()["n"])
    survivor.close()
    found = numbers(log.scan(topic))
    assert found == list(range(counted))
    assert committed <= counted <= committed + 20


@pytest.mark.timeout(120)
def test_a_kill_between_two_topics_may_repeat_but_never_loses(opened, place, log, graph, topic):
    log.create(f"{graph}.more", 2)
    committed = 0
    for life in range(3):
        process = _start(place, graph, topic, f"{graph}.more")
        for _ in range(4 + life):
            committed = int(process.stdout.readline())
        committed = max(committed, _kill(process))
    survivor = opened().session(writer(graph, topic, f"{graph}.more"))
    survivor.close()
    for name in (topic, f"{graph}.more"):
        assert set(range(committed)) <= set(numbers(log.scan(name)))


def test_several_stages_append_to_one_topic_at_the_same_time(opened, place, log, graph, topic):
    log.create(f"{graph}.dlq", 1)
    processes = []
    for stage in ("a", "b", "c"):
        log.create(f"{graph}.{stage}", 1)
        processes.append(_start(place, f"{graph}{stage}", f"{graph}.{stage}", f"{graph}.dlq"))
    for process in processes:
        for _ in range(10):
            process.stdout.readline()
    for process in processes:
        _kill(process)
    for stage in ("a", "b", "c"):  # whoever comes next ends the transaction that a killed one left open
        opened().session(writer(f"{graph}{stage}", f"{graph}.{stage}", f"{graph}.dlq")).close()
    found = numbers(log.scan(f"{graph}.dlq"))
    assert all(found.count(n) >= 3 for n in range(200))


def test_a_reader_follows_while_records_keep_coming(opened, log, graph, topic):
    session = opened().session(reader(graph, topic))
    for n in range(5):
        write(log, writer(graph, topic), records(topic, [n]))
        assert numbers(drain(log, session, topic)) == [n]
    session.close()
