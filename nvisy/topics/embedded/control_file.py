"""What an embedded log knows beside its topics: its id, the claims on graphs, the homes of stages."""

from __future__ import annotations

import uuid
from pathlib import Path

from nvisy.errors import Refused
from nvisy.topics.embedded import seat_rows
from nvisy.topics.embedded.sqlite import close, connect, immediate, rows, said_plainly
from nvisy.topics.log import Seat
from nvisy.topics.token import token_after

FORMAT = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (format INTEGER NOT NULL, id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS claim (
    graph TEXT PRIMARY KEY, token INTEGER NOT NULL, owner TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS home (
    graph TEXT, stage TEXT, topic TEXT, PRIMARY KEY (graph, stage)) WITHOUT ROWID;
"""


class ControlFile:
    """`control.db`, opened or made. Not to be shared between threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log_id: str
        with said_plainly(path):
            self.db = connect(path, create=True)
            if not self.db.table_exists(None, "meta"):
                self._create()
            found, self.log_id = rows(self.db, "SELECT format, id FROM meta")[0]
        if found != FORMAT:
            close(self.db)
            raise Refused(
                f"{path} has format {found}, this version of nvisy reads format {FORMAT}: upgrade nvisy"
            )

    def _create(self) -> None:
        with immediate(self.db):
            self.db.execute(_SCHEMA + seat_rows.SCHEMA)
            if not rows(self.db, "SELECT 1 FROM meta"):
                self.db.execute("INSERT INTO meta VALUES (?, ?)", (FORMAT, uuid.uuid4().hex))

    def close(self) -> None:
        """Let go of the file."""
        close(self.db)

    def next_token(self, graph: str, owner: str) -> int:
        """Count one more claim of a graph, by `owner`."""
        with said_plainly(self.path), immediate(self.db):
            found = rows(self.db, "SELECT token FROM claim WHERE graph = ?", (graph,))
            token = token_after(int(found[0][0]) if found else 0)
            self.db.execute("INSERT OR REPLACE INTO claim VALUES (?, ?, ?)", (graph, token, owner))
        return token

    def owner(self, graph: str) -> str:
        """Who claimed a graph last."""
        with said_plainly(self.path):
            found = rows(self.db, "SELECT owner FROM claim WHERE graph = ?", (graph,))
        return str(found[0][0]) if found else "another run"

    def home(self, seat: Seat) -> str | None:
        """The topic whose file is the stage's home, empty for this file, None for a stage never seen."""
        query = "SELECT topic FROM home WHERE graph = ? AND stage = ?"
        found = rows(self.db, query, (seat.graph, seat.stage))
        return str(found[0][0]) if found else None

    def homes(self, graph: str) -> set[str]:
        """The topics whose files are homes of stages of a graph, empty for this file."""
        with said_plainly(self.path):
            return {
                str(topic) for (topic,) in rows(self.db, "SELECT topic FROM home WHERE graph = ?", (graph,))
            }

    def set_home(self, seat: Seat, topic: str) -> None:
        """Remember the stage's home."""
        self.db.execute("INSERT OR REPLACE INTO home VALUES (?, ?, ?)", (seat.graph, seat.stage, topic))
