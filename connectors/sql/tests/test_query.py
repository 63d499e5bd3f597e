"""Tables that are read by a column that rises: nothing is read twice, and nothing that settled is passed over."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
from pydantic import ValidationError

from nvisy.errors import Fatal

from .database import PATIENCE_S, Database, Follower


@pytest.fixture
def items(database: Database) -> Database:
    """A table with a time and a number that rise."""
    database.execute(
        "CREATE TABLE items (a text, b int, title text, version bigint NOT NULL,"
        " updated_at timestamptz NOT NULL DEFAULT now() - interval '1 hour', maybe int, PRIMARY KEY (a, b))"
    )
    database.execute(
        "INSERT INTO items SELECT 'k' || n % 3, n, 't' || n, n / 4 FROM generate_series(1, 30) AS n"
    )
    return database


def once(database: Database, follower: Follower | None = None, **params) -> Follower:
    """One run that is not followed, a few rows at a time."""
    source = database.source("items", mode="query", follow=False, **params)
    follower = Follower(source, follower.position if follower else None)
    with follower.reading() as reader:
        while not follower.ended:
            follower.take(reader, limit=7)
    return follower


@pytest.mark.parametrize("cursor", ["version", "updated_at"])
def test_every_row_once_then_those_that_rose(items, cursor):
    first = once(items, cursor=cursor)
    assert len(first.events) == 30
    assert first.rows == items.rows("public.items")
    items.execute(
        "UPDATE items SET title = 'new', version = 100, updated_at = now() - interval '1 minute' WHERE b IN (3, 4)"
    )
    second = once(items, first, cursor=cursor)
    assert sorted(event.key for event in second.events) == ["public.items/k0,3", "public.items/k1,4"]
    assert once(items, second, cursor=cursor).events == []


def test_a_time_that_has_not_settled_waits(items):
    first = once(items, cursor="updated_at", settleSeconds=3600 * 24)
    assert first.events == []
    assert len(once(items, first, cursor="updated_at", settleSeconds=0).events) == 30


def test_it_is_complete_when_every_table_was_looked_at_to_its_end(items):
    follower = Follower(items.source("items", mode="query", cursor="version"))
    with follower.reading() as reader:
        while not follower.complete:
            follower.take(reader, limit=7)
        assert len(follower.events) == 30
        items.execute("INSERT INTO items VALUES ('z', 1, 'late', 1000)")
        deadline = time.monotonic() + PATIENCE_S
        while "public.items/z,1" not in follower.rows:
            assert time.monotonic() < deadline
            follower.take(reader)


def test_only_the_columns_and_rows_that_the_graph_asks_for(items):
    wanted = {"table": "items", "columns": ["a", "b", "version"], "where": "b > 28"}
    source = items.source(wanted, mode="query", cursor="version", follow=False)
    with closing(source.open(None)) as reader:
        events = reader.read(100, 0.1).events
    assert [event.item.values for event in events] == [
        {"a": "k0", "b": 30, "version": 7},
        {"a": "k2", "b": 29, "version": 7},
    ]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"cursor": "missing"}, "has no column 'missing'"),
        ({"cursor": "maybe"}, 'ALTER "maybe" SET NOT NULL'),
    ],
)
def test_a_column_that_is_no_cursor_is_refused(items, params, said):
    with pytest.raises(Fatal, match=said):
        items.source("items", mode="query", **params).check()


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"mode": "query"}, 'needs a "cursor"'),
        ({"mode": "query", "cursor": "a", "slot": "s"}, '"slot" has no meaning'),
        ({"cursor": "a"}, '"cursor" has no meaning'),
        ({"pollSeconds": 2}, '"pollSeconds" has no meaning'),
    ],
)
def test_parameters_of_the_other_mode_are_refused(items, params, said):
    with pytest.raises(ValidationError, match=said):
        items.source("items", **params)
