"""A table changes in front of you, and what a search finds changes with it: `make follow`.

Starts the Postgres that the tests use (no Docker, nothing installed on the machine), follows a table with the graph
`postgres_to_vectors.json`, and ends it all again.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from beside import ROOT, following, wait_for

sys.path.insert(0, str(ROOT))

import psycopg

from nvisy.connector.sink import Hit
from nvisy.errors import NvisyError
from nvisy.graph.model import Graph
from nvisy.query import records, search
from nvisy.runtime.settings import Settings
from tests.servers.postgres import PostgresServer
from tests.servers.session import FOLDER_VARIABLE, new_session_folder

QUESTION = "which river runs through the most countries?"
ARTICLES = [
    (
        1,
        "Rivers",
        "The Danube rises in the Black Forest and passes through ten countries on its way to the sea.",
    ),
    (2, "Lakes", "Baikal is the deepest lake of the world and holds a fifth of its fresh water."),
    (3, "Bread", "A sourdough loaf needs flour, water, salt and a day of patience."),
]
STEPS = [
    (
        "INSERT INTO articles VALUES (4, 'The Nile', 'The river Nile runs through eleven countries of Africa.')",
        4,
    ),
    ("UPDATE articles SET body = 'The Nile is a ship in a museum now.' WHERE id = 4", 4),
    ("DELETE FROM articles WHERE id = 1", 1),
]


def main() -> None:
    """Start the server, follow the table, change rows, show what is found."""
    sessions = new_session_folder()
    os.environ[FOLDER_VARIABLE] = str(sessions)
    folder = Path(tempfile.mkdtemp(prefix="nvisy-follow-"))
    (sessions / "postgres").mkdir(mode=0o711)
    server = PostgresServer(sessions / "postgres")
    try:
        print("starting a Postgres of our own …")
        server.start()
        os.environ["PG_DSN"] = server.create_database("shop")
        show(folder)
    finally:
        server.remove()
        for made in (sessions, folder):
            shutil.rmtree(made, ignore_errors=True)


def show(folder: Path) -> None:
    """Everything that is to be seen, with the state and the index in `folder`."""
    path = folder / "postgres_to_vectors.json"
    shutil.copy(ROOT / "dataflows" / path.name, path)
    settings = Settings(folder / "state", None)
    graph = Graph.load(path)
    with psycopg.connect(os.environ["PG_DSN"], autocommit=True) as database:
        database.execute("CREATE TABLE articles (id int PRIMARY KEY, title text NOT NULL, body text)")
        for article in ARTICLES:
            database.execute("INSERT INTO articles VALUES (%s, %s, %s)", article)
        with following(path, settings.state):
            wait_for(lambda: len(found(graph, settings)) == len(ARTICLES))
            ask(graph, settings)
            for statement, row in STEPS:
                before = found(graph, settings)
                print(f"\n> {statement}")
                database.execute(statement.encode())
                began = time.monotonic()
                wait_for(lambda: found(graph, settings) != before)  # noqa: B023 - called at once
                print(f"  row {row} is in the index as it is now, {time.monotonic() - began:.2f} s later")
                ask(graph, settings)


def found(graph: Graph, settings: Settings) -> dict[str, str]:
    """What the index holds, by key; nothing before it was made."""
    try:
        return {hit.key: hit.text for hit in records(graph, settings=settings)}
    except NvisyError:
        return {}


def ask(graph: Graph, settings: Settings) -> None:
    """Search, and print the best."""
    print(f"\n  {QUESTION}")
    hits: list[Hit] = search(graph, QUESTION, 2, settings=settings)
    for hit in hits:
        print(f"  {hit.score:6.3f}  {hit.key}  {' '.join(hit.text.split())}")


if __name__ == "__main__":
    main()
