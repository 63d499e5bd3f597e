"""Tables that change while they are read."""

from __future__ import annotations

import pytest

from nvisy.errors import Refused

from .database import Database, Follower


@pytest.fixture
def items(database: Database) -> Database:
    """A small table."""
    database.execute("CREATE TABLE items (id int PRIMARY KEY, title varchar(50) NOT NULL, body text, n int)")
    database.execute("INSERT INTO items VALUES (1, 'one', 'b', 1)")
    return database


@pytest.mark.parametrize(
    ("statement", "change", "row"),
    [
        ("ADD COLUMN extra text", "UPDATE items SET extra = 'x'", {"extra": "x"}),
        ("ALTER title TYPE text", "UPDATE items SET title = 't'", {"title": "t"}),
        ("ALTER n TYPE bigint", "UPDATE items SET n = 5000000000", {"n": 5_000_000_000}),
        ("ALTER body SET NOT NULL", "UPDATE items SET body = 'c'", {"body": "c"}),
    ],
)
def test_what_an_expression_can_go_on_with_goes_on(items, statement, change, row):
    follower = Follower(items.source())
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        items.execute(f"ALTER TABLE items {statement}")
        items.execute(change)
        follower.follow(reader, to=items.lsn())
    assert follower.rows["public.items/1"].items() >= row.items()
    assert follower.rows == items.rows("public.items")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DROP COLUMN body", "column body was dropped or renamed"),
        ("RENAME COLUMN body TO text", "column body was dropped or renamed"),
        ("ALTER n TYPE text", "column n was integer and is text now"),
        ("RENAME TO things", r"is called public\.things now"),
    ],
)
def test_what_it_cannot_stops_with_the_table_and_the_column(items, statement, said):
    follower = Follower(items.source())
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        items.execute("UPDATE items SET title = 'before'")
        items.execute(f"ALTER TABLE items {statement}")
        table = "things" if "things" in statement else "items"
        items.execute(f"UPDATE {table} SET title = 'after'")
        with pytest.raises(Refused, match=rf"table public\.items.*{said}"):
            follower.follow(reader, to=items.lsn())
    assert follower.rows["public.items/1"]["title"] in {"one", "before"}


def test_a_new_reader_goes_on_with_the_table_as_it_is_now(items):
    follower = Follower(items.source())
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
    items.execute("UPDATE items SET title = 'before'")
    items.execute("ALTER TABLE items DROP COLUMN body, ADD COLUMN added text DEFAULT 'd'")
    items.execute("UPDATE items SET title = 'after'")
    with follower.reading() as reader:
        told = follower.follow(reader, to=items.lsn())
    assert [event.item.values["title"] for event in told] == ["before", "after"]
    assert "added" not in told[0].item.values
    assert follower.rows == items.rows("public.items")
