"""`nvisy schema`: the schemas as files, and whether they are what the code says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nvisy.catalog import Catalog
from nvisy.cli.graphs import AsJson
from nvisy.cli.output import say, say_json
from nvisy.codec import files as avro
from nvisy.errors import UsageError
from nvisy.graph import json_schema

_FOLDER = Path(__file__).parents[1] / "schemas"
_GRAPH = "graph.schema.json"
_DRIFTED = 1


def command(
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if the files are not up to date.")
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Bring the files up to date.")] = False,
    folder: Annotated[
        Path, typer.Option("--folder", help="Where they are; else those of the project.")
    ] = _FOLDER,
    as_json: AsJson = False,
) -> None:
    """Print the JSON Schema of graph files, for editors."""
    if check and write:
        raise UsageError("--check looks and --write changes: choose one")
    if write:
        changed = _written(folder)
        say_json(changed) if as_json else say("\n".join(f"wrote {name}" for name in changed) or "up to date")
    elif check:
        wrong = _wrong(folder)
        say_json(wrong) if as_json else say("\n".join(wrong) or "up to date")
        raise typer.Exit(_DRIFTED if wrong else 0)
    else:
        say(json_schema.schema_text(Catalog.installed()).rstrip("\n"))


def _written(folder: Path) -> list[str]:
    changed = [f"avro/{name}" for name in avro.write_schemas(folder / "avro")]
    if json_schema.drifted(folder / _GRAPH, Catalog.installed()):
        (folder / _GRAPH).write_text(json_schema.schema_text(Catalog.installed()), encoding="utf-8")
        changed.append(_GRAPH)
    return changed


def _wrong(folder: Path) -> list[str]:
    """What is stale, and what would break a reader of data that is already there."""
    stale = [f"{folder}/avro/{name} is not what the code says" for name in avro.drifted(folder / "avro")]
    if json_schema.drifted(folder / _GRAPH, Catalog.installed()):
        stale.append(f"{folder}/{_GRAPH} is not what the code says")
    hint = ["run `nvisy schema --write`"] if stale else []
    return [*stale, *hint, *avro.incompatible(folder / "avro")]
