"""Of a topic that has grown the latest record of a key wins by its time, whatever is read when, and comes out last."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvisy.primitives.provenance import Version
from nvisy.runtime import in_turn
from nvisy.runtime.in_turn import InTurn
from nvisy.runtime.numbering import LATE_MS, Certain, Numbering, Versions, numbering_of
from nvisy.topics.log import LogRecord, TopicInfo, TopicPartition

T = "t"
N_KEYS = 5


class Topic:
    """A topic in memory, and those who write to it: some know how many partitions there are, some not yet."""

    def __init__(self, former: int, rng: random.Random) -> None:
        self.partitions: list[list[LogRecord]] = [[] for _ in range(former)]
        self.now_ms = 1_000_000_000
        self.latest: dict[bytes, bytes] = {}
        self._rng = rng
        self._at: dict[tuple[bytes, int], int] = {}
        self._written: dict[bytes, tuple[int, int]] = {}
        self._serial = 0

    def write(self, count: int, times: int) -> None:
        """Records by one who knows of `count` partitions; several may fall into one millisecond."""
        for _ in range(times):
            key = b"%d" % self._rng.randrange(N_KEYS)
            partition = self._at.setdefault((key, count), self._rng.randrange(count))
            self.now_ms += self._rng.choice((0, 0, 1, 3))
            before, at_ms = self._written.get(key, (partition, -1))
            if before != partition and at_ms == self.now_ms:
                self.now_ms += 1
            self._written[key] = partition, self.now_ms
            self._serial += 1
            records, value = self.partitions[partition], b"%d" % self._serial
            records.append(LogRecord(T, partition, len(records), key, value, (), self.now_ms))
            self.latest[key] = value

    def grow(self, total: int) -> None:
        """So many in all."""
        self.partitions += [[] for _ in range(total - len(self.partitions))]

    def info(self) -> TopicInfo:
        """As it is now."""
        ends = {partition: len(records) for partition, records in enumerate(self.partitions)}
        return TopicInfo(T, "id", len(ends), dict.fromkeys(ends, 0), ends)


class Reading:
    """A session that fetches whatever it likes of the partitions there were when it began."""

    def __init__(self, topic: Topic, positions: dict[int, int], rng: random.Random) -> None:
        self.topic = topic
        self.positions = {
            partition: positions.get(partition, 0) for partition in range(len(topic.partitions))
        }
        self._rng = rng

    def poll(
        self, limit: int, timeout_s: float, *, paused: bool = False, held: Collection[TopicPartition] = ()
    ) -> Sequence[LogRecord]:
        found: list[LogRecord] = []
        places = [one for one in self.positions if TopicPartition(T, one) not in held]
        for partition in self._rng.sample(places, self._rng.randint(0, len(places))):
            start = self.positions[partition]
            found += self.topic.partitions[partition][start : start + self._rng.randint(1, 3)]
            self.positions[partition] += sum(record.partition == partition for record in found)
        return found

    def caught_up(self, ends: Mapping[TopicPartition, int]) -> bool:
        return all(self.positions.get(at.partition, 0) >= end for at, end in ends.items())


class Stage:
    """Reads the topic life by life, and fills an index that takes the newest version, and a topic of its own."""

    def __init__(self, topic: Topic, rng: random.Random) -> None:
        self.topic = topic
        self.rng = rng
        self.numbering: Numbering | None = None
        self.certain: Certain | None = None
        self.positions: dict[int, int] = {}
        self.index: dict[bytes, tuple[Version, bytes]] = {}
        self.written: dict[bytes, list[Version]] = {}

    def begin(self, now_ms: int) -> None:
        """One more life."""
        info = self.topic.info()
        self.numbering = numbering_of(info, self.numbering, 0, self.certain, now_ms)
        for at, place in self.numbering.begins_again(info).items():
            self.positions[at.partition] = min(self.positions.get(at.partition, 0), place)
        self.session = Reading(self.topic, self.positions, self.rng)
        self.reader = InTurn(self.session, {T: self.numbering}, self.numbering.to_be_ordered(info))
        self.versions = Versions(self.numbering)

    def look(self) -> None:
        """The topic has as many partitions as before."""
        assert self.numbering is not None
        self.certain = Certain(self.numbering.partitions, self.topic.now_ms, dict(self.positions))

    def read(self, polls: int | None = None) -> None:
        """So many times, or all there is; every bit of it is committed."""
        ends = {TopicPartition(T, partition): end for partition, end in self.topic.info().end.items()}
        mine = {at: end for at, end in ends.items() if at.partition in self.session.positions}
        while polls != 0 and (polls is not None or not self.reader.caught_up(mine)):
            for record in self.reader.poll(1000, 0.0):
                self._take(record)
            polls = polls - 1 if polls is not None else None

    def _take(self, record: LogRecord) -> None:
        key, version = record.key or b"", self.versions.of(record)
        self.positions[record.partition] = record.offset + 1
        self.written.setdefault(key, []).append(version)
        if key not in self.index or version >= self.index[key][0]:
            self.index[key] = version, record.value or b""


@pytest.mark.parametrize("partitions", [(1, 3), (2, 5), (4, 6)])
@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 25), min_size=6, max_size=6))
def test_the_latest_record_of_a_key_wins(partitions: tuple[int, int], seed: int, sizes: list[int]) -> None:
    rng = random.Random(seed)
    former, total = partitions
    topic = Topic(former, rng)
    stage = Stage(topic, rng)
    stage.begin(topic.now_ms)
    topic.write(former, sizes[0])
    stage.read(rng.randint(0, 20))
    stage.look()
    topic.write(former, sizes[1])  # nobody can tell this
    stage.read(rng.randint(0, 20))
    topic.grow(total)
    for _ in range(rng.randint(0, 3)):
        topic.write(rng.choice(partitions), sizes[2])  # from this, before somebody notices
        stage.read(rng.randint(0, 20))
    noticed_ms = topic.now_ms
    for _ in range(rng.randint(1, 4)):  # lives while some do not know yet
        stage.begin(topic.now_ms)
        stage.read(rng.randint(0, 30))
        topic.write(rng.choice(partitions), sizes[3])
        stage.read(rng.randint(0, 30))
    stage.read()
    assert {key: value for key, (_, value) in stage.index.items()} == topic.latest

    topic.now_ms = max(topic.now_ms, noticed_ms) + LATE_MS
    topic.write(total, sizes[4])
    stage.begin(topic.now_ms)
    stage.read(rng.randint(0, 30))
    stage.begin(topic.now_ms)  # it died on the way
    topic.write(total, sizes[5])
    stage.read()
    assert {key: value for key, (_, value) in stage.index.items()} == topic.latest
    assert all(of_key[-1] == max(of_key) for of_key in stage.written.values()), stage.written

    assert stage.numbering is not None
    from_start = Stage(topic, rng)
    from_start.numbering = stage.numbering.read_again()
    from_start.begin(topic.now_ms)
    from_start.read()
    assert from_start.index == stage.index, "read from its beginning it comes to the same, versions included"
    assert all(of_key == sorted(of_key) for of_key in from_start.written.values())


def test_what_waits_for_its_turn_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_turn, "HELD_BYTES", 10 * 256)
    numbering = numbering_of(
        TopicInfo(T, "id", 2, {0: 0, 1: 0}, {0: 1, 1: 500}),
        Numbering.begun(TopicInfo(T, "id", 1, {0: 0}, {0: 0}), 1),
        0,
        None,
        5_000,
    )
    records = {0: [LogRecord(T, 0, 0, b"k", None, (), 1_000)]}
    records[1] = [LogRecord(T, 1, offset, b"k", None, (), 2_000) for offset in range(500)]
    taken = {0: 0, 1: 0}
    slow = {0: True}

    class OneSlow:
        def poll(
            self, limit: int, timeout_s: float, *, paused: bool = False, held: Collection[TopicPartition] = ()
        ) -> Sequence[LogRecord]:
            found: list[LogRecord] = []
            for partition in (0, 1):
                if (T, partition) not in held and not (partition == 0 and slow[0]):
                    start = taken[partition]
                    found += records[partition][start : start + 3]
                    taken[partition] = min(start + 3, len(records[partition]))
            return found

        def caught_up(self, ends: Mapping[TopicPartition, int]) -> bool:
            return all(taken[at.partition] >= end for at, end in ends.items())

    until = {TopicPartition(T, 0): 1, TopicPartition(T, 1): 500}
    reader = InTurn(OneSlow(), {T: numbering}, until)
    for _ in range(100):
        assert not reader.poll(1000, 0.0)
    assert taken[1] <= 12
    assert not reader.caught_up({TopicPartition(T, 1): 1}), "what waits has not been let through"
    slow[0] = False
    found = [record for _ in range(200) for record in reader.poll(1000, 0.0)]
    assert [(record.partition, record.offset) for record in found] == [(0, 0), *((1, n) for n in range(500))]
    assert reader.caught_up(until)


def test_other_topics_do_not_wait() -> None:
    other = LogRecord("other", 0, 0, b"k", None, (), 0)

    class Other:
        def poll(
            self, limit: int, timeout_s: float, *, paused: bool = False, held: Collection[TopicPartition] = ()
        ) -> Sequence[LogRecord]:
            return [other]

        def caught_up(self, ends: Mapping[TopicPartition, int]) -> bool:
            return False

    assert InTurn(Other(), {}, {TopicPartition(T, 0): 9}).poll(10, 0.0) == [other]
