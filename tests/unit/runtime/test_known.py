"""What is remembered of a listed source between passes and processes."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from nvisy.errors import Refused
from nvisy.runtime.known import Known, KnownKeys


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "known.db"


@pytest.fixture
def known(path):
    with closing(KnownKeys(path, "topic-1")) as known:
        known.begin_pass()
        yield known


def test_it_starts_empty(known):
    assert len(known) == 0
    assert list(known.unseen()) == []
    assert known.followed() == {}
    assert known.group("f") is None


def test_what_is_noted_is_there_for_the_next_process(known, path):
    known.note({"a": b"1", "b": b"2"}, groups={"f": b"3"}, followed={0: 7, 3: 9})
    known.note({"b": None})
    with closing(KnownKeys(path, "topic-1")) as again:
        assert again.see(["a", "b"]) == [Known(b"1", False), Known(None, False)]
        assert again.group("f") == b"3"
        assert again.followed() == {0: 7, 3: 9}


def test_a_process_that_was_replaced_notes_nothing_down(known, path):
    known.note({"a": b"1"})
    with closing(KnownKeys(path, "topic-1")) as successor:
        successor.note({"a": b"2"})
        with pytest.raises(Refused, match="taken over"):
            known.note({"a": b"1"}, followed={0: 1})
        assert successor.see(["a"]) == [Known(b"2", False)]
        assert successor.followed() == {}


def test_another_topic_has_everything_sent_again_and_still_knows_what_may_be_gone(known, path):
    known.note({"a": b"1"}, groups={"f": b"3"}, followed={0: 7})
    with closing(KnownKeys(path, "topic-2")) as other:
        other.begin_pass()
        assert list(other.unseen()) == ["a"]
        assert other.see(["a"]) == [Known(b"", False)]
        assert other.group("f") is None
        assert other.followed() == {}


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_a_broken_file_is_made_anew(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with closing(KnownKeys(path, "topic-1")) as known:
        known.note({"a": b"1"})
        assert len(known) == 1


def test_answers_come_in_the_order_of_the_questions(known):
    known.note({"a": b"1", "c": b"3"})
    assert known.see(["c", "b", "a", "c"]) == [
        Known(b"3", False),
        Known(None, False),
        Known(b"1", False),
        Known(b"3", True),
    ]
    assert known.see(["a"]) == [Known(b"1", True)]


def test_a_new_pass_has_seen_nothing(known):
    known.note({"a": b"1"})
    known.see(["a"])
    known.spare("b/")
    known.begin_pass()
    assert known.see(["a"]) == [Known(b"1", False)]
    assert known.was_seen(["b/x"]) == set()


def test_unseen_is_what_is_known_and_neither_seen_nor_spared(known):
    known.note(dict.fromkeys(["a", "b", "f#1", "f#2", "ff#1", "sub", "sub/x", "sub/y/z", "suc"], b"1"))
    known.see(["a"])
    known.spare("f#")
    known.spare("sub/")
    assert list(known.unseen()) == ["b", "ff#1", "sub", "suc"]
    assert known.count_unseen() == 4


def test_a_prefix_is_taken_literally(known):
    known.note(dict.fromkeys(["a%/1", "ab/1", "a_/1", "A%/1", "ü/1", "日本/1", "日/1"], b"1"))
    for prefix in ("a%/", "日本/"):
        known.spare(prefix)
    assert list(known.unseen()) == sorted(["A%/1", "a_/1", "ab/1", "ü/1", "日/1"])


def test_the_empty_prefix_spares_everything(known):
    known.note({"a": b"1", "b/c": b"2"})
    known.spare("")
    assert list(known.unseen()) == []
    assert known.was_seen(["x", "y/z"]) == {"x", "y/z"}


def test_a_prefix_within_a_prefix_changes_nothing(known):
    known.note(dict.fromkeys(["d/a#1", "d/b#1", "d/z", "e"], b"1"))
    for prefix in ("d/a#", "d/", "d/b#"):
        known.spare(prefix)
    assert list(known.unseen()) == ["e"]


def test_unseen_goes_on_while_what_it_yields_is_deleted(known):
    known.note({f"{n:05}": b"1" for n in range(3500)})
    seen = []
    for key in known.unseen():
        seen.append(key)
        known.note({key: None})
    assert len(seen) == len(set(seen)) == 3500


def test_was_seen_tells_listed_and_spared_keys(known):
    known.see(["a"])
    known.spare("s/")
    assert known.was_seen(["a", "b", "s/1", "s"]) == {"a", "s/1"}


@pytest.mark.parametrize(
    "key", ["ü", "日本/🚀", "it's", 'a "b"', "a\nb", "a\\b", "\u2028", "a\0b", "x" * 5000]
)
def test_any_text_is_a_key(known, key):
    known.note({key: b"1"})
    assert known.see([key, key + "x"]) == [Known(b"1", False), Known(None, False)]
    assert known.was_seen([key]) == {key}
    known.begin_pass()
    assert list(known.unseen()) == [key]


def test_a_group_that_is_forgotten_has_to_be_read(known):
    known.note({}, groups={"f": b"1", "g": b"2"})
    known.forget_group("f")
    assert (known.group("f"), known.group("g")) == (None, b"2")


def test_groups_that_a_pass_did_not_list_are_forgotten(known):
    known.note({}, groups={"f": b"1", "g": b"2"})
    known.begin_pass()
    known.group("g")
    known.forget_unlisted_groups()
    assert (known.group("f"), known.group("g")) == (None, b"2")


def test_many_spared_prefixes_cost_no_more_than_one_each(known):
    """Two thousand unchanged files of fifty records are compared in a moment, not each with every other."""
    known.note({f"{file:04}#{record}": b"1" for file in range(2000) for record in range(50)})
    for file in range(1, 2000):
        known.spare(f"{file:04}#")
    began = time.perf_counter()
    assert list(known.unseen()) == sorted(f"0000#{record}" for record in range(50))
    assert time.perf_counter() - began < 5
