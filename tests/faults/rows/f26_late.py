"""F26: old versions arrive again after new ones, since positions were set back; versions in a sink never fall."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import Any

import httpx

from tests.faults.cell import Cell
from tests.faults.matrix import Row
from tests.faults.oracle import SINKS
from tests.faults.stores import PostgresStore, QdrantStore, SqliteStore

ROUNDS = 4
TOPIC_STAGES = {
    "chain": ("split", "index"),
    "branch": ("split", "index"),
    "fanout": ("split", "index", "other"),
}


def play(cell: Cell) -> None:
    """Every round of edits, then all positions go back to the beginning, and everything passes the sinks again."""
    cell.source.fill(24)
    cell.run()
    cell.judge()
    _watch(cell)
    for _ in range(2 if cell.setting.quick else ROUNDS):
        for _ in range(2):
            cell.source.edit(10)
            cell.run()
            cell.judge()
        before = _versions(cell)
        _set_back(cell)
        cell.tally.runs += 1
        began = time.monotonic()
        report = cell.run()
        cell.rest(began)
        after = _versions(cell)
        fallen = [key for key, version in before.items() if after.get(key, -1) < version]
        cell.expect(not fallen, f"versions have fallen: {fallen[:3]}")
        cell.expect(
            not report["written"] and not report["removed"], f"old versions were written: {report['written']}"
        )
    cell.expect(not _fell(cell), f"versions fell on the way: {_fell(cell)[:3]}")
    cell.finish(repeats=True)


def _set_back(cell: Cell) -> None:
    """Read every topic from its beginning next time."""
    if cell.setting.log == "embedded":
        for file in (cell.state / "log").rglob("*.db"):
            with closing(sqlite3.connect(file)) as connection:
                if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'position'").fetchone():
                    connection.execute("UPDATE position SET next = 0")
                connection.commit()
        return
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": cell.servers.kafka.bootstrap})
    groups = [one.group_id for one in admin.list_consumer_groups().result().valid]
    ours = {group for group in groups if group.startswith(f"nvisy.{cell.name}.")}
    cell.expect(bool(ours), "no group has positions")
    until = time.monotonic() + 30
    while ours:  # a member that has left is missed for some seconds
        for group, done in admin.delete_consumer_groups(list(ours)).items():
            try:
                done.result()
                ours.discard(group)
            except KafkaException as error:
                if time.monotonic() > until:
                    cell.fail(f"the group {group} cannot be removed: {error}")
        time.sleep(0.3)


def _versions(cell: Cell) -> dict[str, int]:
    """Version of every head, by sink and key."""
    found: dict[str, int] = {}
    for sink in SINKS[cell.setting.shape]:
        found |= {f"{sink}/{key}": version for key, version in _heads(cell, f"{sink}__1__heads")}
    return found


def _heads(cell: Cell, table: str) -> list[tuple[str, int]]:
    query = f'SELECT key, version FROM "{table}"'
    match cell.store:
        case SqliteStore(path=path):
            with closing(sqlite3.connect(path)) as connection:
                return connection.execute(query).fetchall()
        case PostgresStore(dsn=dsn):
            return _asked(dsn, query)
        case QdrantStore(url=url):
            body = {"limit": 10_000, "with_payload": True}
            answer = httpx.post(f"{url}/collections/{table}/points/scroll", json=body).json()
            payloads = [point["payload"] for point in answer["result"]["points"]]
            return [(p["key"], p["version"]) for p in payloads if "digest" in p]
    return []


def _watch(cell: Cell) -> None:
    """Have the store itself note every head whose version falls, where it can."""
    for sink in SINKS[cell.setting.shape]:
        heads = f"{sink}__1__heads"
        match cell.store:
            case SqliteStore(path=path):
                with closing(sqlite3.connect(path)) as connection:
                    connection.executescript(_WATCH_SQLITE.format(heads=heads))
            case PostgresStore(dsn=dsn):
                _asked(dsn, _WATCH_POSTGRES.format(heads=heads))


def _fell(cell: Cell) -> list[tuple[Any, ...]]:
    match cell.store:
        case SqliteStore(path=path):
            with closing(sqlite3.connect(path)) as connection:
                return connection.execute("SELECT * FROM test_fell").fetchall()
        case PostgresStore(dsn=dsn):
            return _asked(dsn, "SELECT * FROM test_fell")
    return []


def _asked(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


_WATCH_SQLITE = """
CREATE TABLE IF NOT EXISTS test_fell (key TEXT, before INTEGER, after INTEGER);
CREATE TRIGGER "watch_{heads}" BEFORE INSERT ON "{heads}" BEGIN
  INSERT INTO test_fell SELECT key, version, NEW.version FROM "{heads}"
  WHERE key = NEW.key AND lane = NEW.lane AND version > NEW.version; END;
CREATE TRIGGER "watch_update_{heads}" BEFORE UPDATE ON "{heads}" WHEN OLD.version > NEW.version BEGIN
  INSERT INTO test_fell VALUES (NEW.key, OLD.version, NEW.version); END;
"""
_WATCH_POSTGRES = """
CREATE TABLE IF NOT EXISTS test_fell (key text, before bigint, after bigint);
CREATE OR REPLACE FUNCTION test_watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF OLD.version > NEW.version THEN INSERT INTO test_fell VALUES (NEW.key, OLD.version, NEW.version); END IF;
  RETURN NEW; END $$;
CREATE TRIGGER test_watch BEFORE UPDATE ON "{heads}" FOR EACH ROW EXECUTE FUNCTION test_watch();
"""

ROW = Row("F26", "old versions again after new ones; versions never fall", play, dup=0)
