"""Versions of a foreign topic's records rise with time, whatever happens to the topic."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from nvisy.primitives.provenance import OFFSET_BITS, Version
from nvisy.runtime.numbering import LATE_MS, Certain, Numbering, Versions, numbering_of
from nvisy.topics.log import LogRecord, TopicInfo, TopicPartition

INFO = TopicInfo("t", "one", 2, {0: 0, 1: 0}, {0: 10, 1: 20})
GROWN = replace(INFO, partitions=3, start={0: 0, 1: 0, 2: 0}, end={0: 12, 1: 20, 2: 5})
CERTAIN = Certain(2, 1_000_000, {0: 8, 1: 18})
NOTICED_MS = 1_010_000
OVER_MS = NOTICED_MS + LATE_MS


def record(partition: int, offset: int, at_ms: int = CERTAIN.at_ms) -> LogRecord:
    return LogRecord("t", partition, offset, b"k", b"", (), at_ms)


def first() -> Numbering:
    return numbering_of(INFO, None, 0, None, 0)


def grown() -> Numbering:
    return numbering_of(GROWN, first(), 0, CERTAIN, NOTICED_MS)


def settled() -> Numbering:
    return numbering_of(GROWN, grown(), 0, None, OVER_MS)


def test_an_unchanged_topic_is_numbered_as_before() -> None:
    assert numbering_of(replace(INFO, end={0: 99, 1: 99}), first(), 0, CERTAIN, 5) == first()
    assert first().version(record(1, 7)) == Version(1, 7)
    assert (first().to_be_ordered(INFO), first().begins_again(INFO)) == ({}, {})


def test_a_topic_that_was_made_anew_is_newer_than_everything_before() -> None:
    for before in (first(), grown(), settled()):
        anew = numbering_of(replace(INFO, id="two", end={0: 0, 1: 0}), before, 0, CERTAIN, 5)
        assert anew.version(record(0, 0)) > before.version(record(0, 10**9))
        assert anew.read_whole == anew.inc, "it is read from its beginning, and confirms what there is"


def test_what_stood_there_before_any_growth_keeps_its_version() -> None:
    for numbering in (grown(), settled()):
        assert numbering.version(record(0, 7)) == Version(1, 7)
        assert numbering.version(record(1, 17)) == Version(1, 17)
        assert numbering.read_whole == 1, "what is added confirms nothing by itself"


@pytest.mark.parametrize(("place", "after"), [((1, 18), (0, 8)), ((0, 8), (1, 18)), ((1, 10**6), (2, 0))])
def test_a_key_that_moves_between_any_partitions_gets_newer(
    place: tuple[int, int], after: tuple[int, int]
) -> None:
    old, new = record(*place, CERTAIN.at_ms + 1), record(*after, CERTAIN.at_ms + 2)
    for numbering in (grown(), settled() if place[1] < 10**6 else grown()):
        assert numbering.version(record(1, 17)) < numbering.version(old) < numbering.version(new)
        assert numbering.turn(record(1, 17)) < numbering.turn(old) < numbering.turn(new)


def test_a_writer_that_learns_of_the_growth_minutes_later_is_no_less_in_order() -> None:
    prompt, late = record(2, 0, NOTICED_MS), record(0, 11, NOTICED_MS + LATE_MS // 2)
    assert grown().version(late) > grown().version(prompt)


def test_timestamps_make_versions_that_fit_where_offsets_do() -> None:
    versions = [grown().version(record(2, 0, at_ms)) for at_ms in (-1, 0, NOTICED_MS, OVER_MS, 2**62)]
    assert versions == sorted(versions)
    assert {version.inc for version in versions} == {2}
    assert versions[-1].off < 2**OFFSET_BITS


def test_a_version_that_is_a_time_tells_no_offset() -> None:
    assert [settled().tells_offset(Version(inc, 5)) for inc in (1, 2, 3)] == [True, False, True]


def test_once_all_writers_know_offsets_count_again_behind_what_there_is() -> None:
    assert numbering_of(GROWN, grown(), 0, None, OVER_MS - 1) == grown()
    assert settled().version(record(0, 12)) == Version(3, 12)
    assert settled().version(record(2, 4, 2**62)) < settled().version(record(2, 5, 0))


def test_what_timestamps_number_is_read_in_turn_and_again_until_it_was_read_whole() -> None:
    all_of_it = {TopicPartition("t", 0): 12, TopicPartition("t", 1): 20, TopicPartition("t", 2): 5}
    begins = {TopicPartition("t", 0): 8, TopicPartition("t", 1): 18, TopicPartition("t", 2): 0}
    for numbering in (grown(), settled()):
        assert numbering.to_be_ordered(GROWN) == all_of_it
        assert numbering.begins_again(GROWN) == begins
    assert grown().read_again() == grown(), "more of it may come"
    assert settled().read_again().begins_again(GROWN) == {}
    assert settled().read_again().to_be_ordered(GROWN) == all_of_it, (
        "where the topic is read from its beginning"
    )


def test_whoever_reads_the_topic_from_further_ahead_begins_there_again_too() -> None:
    done = settled().read_again()
    assert done.read_from({0: 12, 1: 20, 2: 5}) == done
    assert done.read_from({0: 8, 1: 18, 2: 0}) == done, "as much as was certain is behind it"
    assert done.read_from({0: 7, 1: 20, 2: 5}).begins_again(GROWN) == settled().begins_again(GROWN)
    assert first().read_from({0: 0, 1: 0}) == first()


def test_what_has_expired_is_not_begun_with() -> None:
    begins = grown().begins_again(replace(GROWN, start={0: 9, 1: 0, 2: 3}))
    assert begins == {TopicPartition("t", 0): 9, TopicPartition("t", 1): 18, TopicPartition("t", 2): 3}


def test_growing_again_before_all_know_of_the_first_time() -> None:
    certain = Certain(3, NOTICED_MS + 1, {0: 30, 1: 30, 2: 30})
    more = replace(GROWN, partitions=4, start=dict.fromkeys(range(4), 0), end=dict.fromkeys(range(4), 50))
    twice = numbering_of(more, grown(), 0, certain, NOTICED_MS + 10)
    for at in (record(2, 0, NOTICED_MS), record(0, 29, NOTICED_MS)):
        assert twice.version(at) == grown().version(at), "what was numbered keeps its version"
    assert twice.version(record(3, 0, NOTICED_MS)) > twice.version(record(0, 29, 2**62))
    assert twice.begins_again(more)[TopicPartition("t", 0)] == 8
    done = numbering_of(more, twice, 0, None, NOTICED_MS + 10 + LATE_MS)
    assert done.version(record(0, 50)) == Version(4, 50)


def test_where_nothing_is_known_for_certain_timestamps_number_everything() -> None:
    for certain in (None, Certain(1, 5, {0: 9})):
        numbering = numbering_of(GROWN, first(), 0, certain, NOTICED_MS)
        assert numbering.begins_again(GROWN) == dict.fromkeys((TopicPartition("t", p) for p in range(3)), 0)
        assert numbering.version(record(0, 9, 5)) < numbering.version(record(1, 0, NOTICED_MS))


@pytest.mark.parametrize("before", [None, first(), grown(), settled()])
def test_an_incarnation_that_is_asked_for_is_reached_and_the_order_stays(before: Numbering | None) -> None:
    info = INFO if before is None or before.partitions == 2 else GROWN
    numbering = numbering_of(info, before, 9, None, NOTICED_MS)
    assert numbering.read_whole == 9
    places = [record(1, 17), record(0, 8), record(1, 18, OVER_MS), record(2, 9)]
    versions = [numbering.version(place) for place in places]
    assert min(versions) >= Version(9, 0)
    if before is not None:
        raised = [before.version(place)._replace(inc=before.version(place).inc + 8) for place in places]
        assert versions == raised


@pytest.mark.parametrize("numbering", [first(), grown(), settled(), settled().read_again()])
def test_it_can_be_remembered(numbering: Numbering) -> None:
    assert Numbering.from_json(numbering.to_json()) == numbering
    assert Certain.from_json(CERTAIN.to_json()) == CERTAIN


def test_in_a_partition_the_later_record_is_newer_whatever_its_timestamp() -> None:
    versions = Versions(grown())
    times = [NOTICED_MS, NOTICED_MS, NOTICED_MS - 5, -1, NOTICED_MS + 1, 2**62, 2**62, 7]
    given = [versions.of(record(0, 8 + number, at_ms)) for number, at_ms in enumerate(times)]
    assert all(one < other for one, other in itertools.pairwise(given)), given
    assert given[4] == grown().version(record(0, 12, NOTICED_MS + 1)), "what fits is not moved"
    assert versions.of(record(1, 18, NOTICED_MS)) < given[5], "other partitions do not suffer from it"


def test_a_record_that_is_asked_for_twice_has_one_version() -> None:
    versions = Versions(grown())
    once = [versions.of(record(0, offset)) for offset in (8, 9)]
    assert versions.of(record(0, 9)) == once[1]
