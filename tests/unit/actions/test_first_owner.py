from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nvisy.actions.first_owner import Decision, FirstOwner, Name, Seen
from nvisy.primitives import Version


def seen(key: str, offset: int, *hashes: str, source: str = "files") -> Seen:
    return Seen(Name(source, key), Version(1, offset), frozenset(hashes), f"ref-{offset}")


def deleted(key: str, offset: int, source: str = "files") -> Seen:
    return Seen(Name(source, key), Version(1, offset), frozenset(), None)


def kept(key: str, offset: int, *hashes: str, source: str = "files") -> Decision:
    return Decision(Name(source, key), f"ref-{offset}", frozenset(hashes))


def gone(key: str) -> Decision:
    return Decision(Name("files", key), None, frozenset())


@pytest.fixture
def owners(tmp_path):
    with FirstOwner(tmp_path / "state" / "owners.db") as owners:
        yield owners


def test_the_first_of_two_keeps_the_content_and_the_other_is_empty(owners):
    assert owners.apply(seen("a", 1, "x")) == [kept("a", 1, "x")]
    assert owners.apply(seen("b", 2, "x")) == [kept("b", 2)]


def test_a_smaller_key_that_comes_later_takes_the_content_over(owners):
    owners.apply(seen("b", 1, "x"))
    assert owners.apply(seen("a", 2, "x")) == [kept("a", 2, "x"), kept("b", 1)]


def test_a_smaller_source_goes_before_a_smaller_key(owners):
    owners.apply(seen("a", 1, "x", source="web"))
    assert owners.apply(seen("z", 2, "x", source="disk")) == [
        kept("z", 2, "x", source="disk"),
        kept("a", 1, source="web"),
    ]


def test_when_the_owner_is_deleted_the_next_one_takes_its_place(owners):
    for offset, key in enumerate("abc"):
        owners.apply(seen(key, offset, "x"))
    assert owners.apply(deleted("a", 9)) == [gone("a"), kept("b", 1, "x")]
    assert owners.apply(deleted("c", 10)) == [gone("c")]
    assert owners.apply(deleted("b", 11)) == [gone("b")]


def test_when_the_owner_changes_the_next_one_takes_its_place(owners):
    owners.apply(seen("a", 1, "x"))
    owners.apply(seen("b", 2, "x"))
    assert owners.apply(seen("a", 3, "y")) == [kept("a", 3, "y"), kept("b", 2, "x")]


def test_a_duplicate_that_goes_away_concerns_nobody_else(owners):
    owners.apply(seen("a", 1, "x"))
    owners.apply(seen("b", 2, "x"))
    assert owners.apply(deleted("b", 3)) == [gone("b")]


def test_of_several_items_each_has_an_owner(owners):
    owners.apply(seen("b", 1, "x", "y"))
    assert owners.apply(seen("a", 2, "y", "z")) == [kept("a", 2, "y", "z"), kept("b", 1, "x")]


def test_an_older_version_is_ignored_and_the_same_one_is_decided_again(owners):
    owners.apply(seen("a", 5, "x"))
    assert owners.apply(seen("a", 4, "y")) == []
    assert owners.apply(seen("a", 5, "x")) == [kept("a", 5, "x")]
    owners.apply(deleted("a", 6))
    assert owners.apply(seen("a", 5, "x")) == []


def test_what_was_committed_is_there_after_a_restart_and_nothing_else(tmp_path):
    path = tmp_path / "owners.db"
    with FirstOwner(path) as owners:
        owners.apply(seen("a", 1, "x"))
        owners.commit({"t/0": 2})
        owners.apply(seen("b", 2, "x"))
        owners.rollback()
        owners.apply(deleted("a", 3))
    with FirstOwner(path) as owners:
        assert owners.positions == {"t/0": 2}
        assert list(owners.decisions()) == [kept("a", 1, "x")]
        owners.clear()
        assert (owners.positions, list(owners.decisions())) == ({}, [])


@pytest.mark.parametrize("content", [b"garbage" * 1000, b""])
def test_a_damaged_file_starts_empty(tmp_path, content):
    path = tmp_path / "owners.db"
    path.write_bytes(content)
    with FirstOwner(path) as owners:
        assert owners.positions == {}
        owners.apply(seen("a", 1, "x"))
        owners.commit({"t/0": 1})


NAMES = st.builds(Name, st.sampled_from("st"), st.sampled_from("abcd"))
VERSIONS = st.frozensets(st.sampled_from("xyz"), max_size=3) | st.none()


@given(st.lists(st.tuples(NAMES, VERSIONS), max_size=25), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_interleaving_ends_with_the_same_owners(tmp_path_factory, history, random):
    offsets: dict[Name, count] = {}
    changes = [
        Seen(
            name,
            Version(1, next(offsets.setdefault(name, count()))),
            hashes or frozenset(),
            None if hashes is None else "r",
        )
        for name, hashes in history
    ]
    living = {change.name: change for change in changes}
    expected = {
        name: Decision(
            name,
            change.ref,
            frozenset(
                each
                for each in change.hashes
                if name == min(n for n, c in living.items() if each in c.hashes)
            ),
        )
        for name, change in living.items()
    }
    with FirstOwner(tmp_path_factory.mktemp("owners") / "owners.db") as owners:
        emitted: dict[Name, Decision] = {}
        for change in _interleaved(changes, random):
            emitted |= {decision.name: decision for decision in owners.apply(change)}
            if random.random() < 0.1:
                owners.commit({})
        assert emitted == expected
        assert {decision.name: decision for decision in owners.decisions()} == expected


def _interleaved(changes, random):
    """The changes in another order, each key's own in the order in which they came; some of them twice."""
    waiting: dict[Name, list[Seen]] = {}
    for change in changes:
        waiting.setdefault(change.name, []).append(change)
    while waiting:
        name = random.choice(list(waiting))
        yield waiting[name][0]
        if random.random() < 0.8:
            waiting[name].pop(0)
        if not waiting[name]:
            del waiting[name]
