"""What the log and an index say comes together by key, whatever the order in which it was said."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from nvisy.audit.ledger import EXPECTED, HEAD, MAX_WAITING, NOWHERE, RECORD, UNKNOWN, Ledger
from nvisy.errors import Fatal


def test_what_was_said_of_a_key_comes_together_in_the_order_of_keys(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path)) as ledger:
        for number in range(2 * MAX_WAITING):  # more than is kept in memory
            ledger.say(RECORD, (f"{number % 100:03}", number % 2), b"%d" % number)
        ledger.say(EXPECTED, ("007", 1), b"first")
        ledger.say(HEAD, ("007", 1), b"head")
        ledger.say(EXPECTED, ("007", 1), b"second")
        together = list(ledger.together())
    assert [said.place for said in together] == sorted(said.place for said in together)
    assert len(together) == 100
    found = next(said for said in together if said.place == ("007", 1))
    assert (found.expected, found.heads) == ([b"first", b"second"], [b"head"])
    assert sorted(map(int, found.records)) == list(range(7, 2 * MAX_WAITING, 100))


def test_suspects_are_given_in_pages_until_they_are_settled(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path)) as ledger:
        places = [(f"{number:02}", lane) for number in range(10) for lane in (-1, 0)]
        for place in places:
            ledger.suspect(place, None)
        ledger.suspect(places[3], b"newer")
        assert ledger.suspects(None, 7) == places[:7]
        assert ledger.suspects(places[6], 100) == places[7:]
        assert (ledger.expected(places[3]), ledger.expected(places[4])) == (b"newer", None)
        ledger.settled(places[:15])
        assert (ledger.n_suspects, ledger.is_suspect(places[0]), ledger.is_suspect(places[15])) == (
            5,
            False,
            True,
        )


def test_what_is_wrong_is_found_by_where_the_log_says_what_is_right(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path)) as ledger:
        ledger.wrong(("a", 0), ("topic", 1, 8), b"a")
        ledger.wrong(("b", 0), ("topic", 1, 5), b"b")
        ledger.wrong(("c", 0), NOWHERE, None)
        ledger.wrong(("d", -1), NOWHERE, None)
        ledger.wrong(("e", 0), UNKNOWN, b"e")
        assert ledger.n_wrong == 5
        assert ledger.wrong_places("topic") == [(1, 5), (1, 8)]
        assert ledger.wrong_from("topic") == {1: 5}
        assert ledger.wrong_at(("topic", 1, 8), 9) == [("a", 0)]
        assert ledger.wrong_at(("topic", 1, 6), 9) == []
        assert ledger.wrong_at(NOWHERE, 9) == [("c", 0), ("d", -1)]
        assert ledger.wrong_at(NOWHERE, 9, ("c", 0)) == [("d", -1)]
        ledger.suspect_wrongs()
        assert (ledger.n_wrong, ledger.n_suspects, ledger.expected(("b", 0))) == (0, 5, b"b")


def test_nothing_is_left_behind_and_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "state")
    ledger.close()
    ledger.close()
    assert list((tmp_path / "state").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(Fatal, match="NVISY_STATE"):
        Ledger(tmp_path / "file")
