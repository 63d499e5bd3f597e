"""Versions of a foreign topic's records rise with time, whatever happens to the topic."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nvisy.primitives.provenance import Version
from nvisy.runtime.numbering import Numbering, numbering_of
from nvisy.topics.log import TopicInfo, TopicPartition

INFO = TopicInfo("t", "one", 2, {0: 0, 1: 0}, {0: 10, 1: 20})
GROWN = replace(INFO, partitions=3, start={0: 0, 1: 0, 2: 0}, end={0: 12, 1: 20, 2: 5})


def test_an_unchanged_topic_is_numbered_as_before():
    first = numbering_of(INFO, None, 0)
    assert numbering_of(replace(INFO, end={0: 99, 1: 99}), first, 0) == first
    assert first.version(1, 7) == Version(1, 7)


def test_a_topic_that_was_made_anew_is_newer_than_everything_before():
    first = numbering_of(INFO, None, 0)
    second = numbering_of(replace(INFO, id="two", end={0: 0, 1: 0}), first, 0)
    assert second.version(0, 0) > first.version(0, 10**9)
    assert second.read_whole == second.inc, "it is read from its beginning, and confirms what there is"


def test_a_key_that_moves_to_an_added_partition_gets_newer():
    grown = numbering_of(GROWN, numbering_of(INFO, None, 0), 0)
    before, after = grown.version(1, 19), grown.version(2, 0)
    assert before == Version(1, 19), "what was numbered keeps its number"
    assert after > before
    assert grown.version(1, 20) > before


def test_added_partitions_wait_for_the_former_ones():
    grown = numbering_of(GROWN, numbering_of(INFO, None, 0), 0)
    assert grown.to_be_drained() == {TopicPartition("t", 0): 12, TopicPartition("t", 1): 20}
    assert numbering_of(INFO, None, 0).to_be_drained() == {}


def test_partitions_that_are_added_confirm_nothing_by_themselves():
    grown = numbering_of(GROWN, numbering_of(INFO, None, 0), 0)
    assert grown.read_whole == 1


def test_growing_twice_keeps_both_bounds():
    grown = numbering_of(GROWN, numbering_of(INFO, None, 0), 0)
    again = replace(GROWN, partitions=4, end={0: 50, 1: 50, 2: 50, 3: 1})
    twice = numbering_of(again, grown, 0)
    versions = [twice.version(0, 11), twice.version(0, 49), twice.version(0, 50)]
    assert [version.inc for version in versions] == [1, 2, 3]


@pytest.mark.parametrize("before", [None, numbering_of(INFO, None, 0)])
def test_an_incarnation_that_is_asked_for_is_reached(before: Numbering | None):
    numbering = numbering_of(INFO, before, 5)
    assert (numbering.inc, numbering.read_whole, numbering.bounds) == (5, 5, ())


def test_it_can_be_remembered():
    grown = numbering_of(GROWN, numbering_of(INFO, None, 0), 0)
    assert Numbering.from_json(grown.to_json()) == grown
