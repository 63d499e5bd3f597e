"""What a graph may write as parameters of `sql/postgres`."""

from __future__ import annotations

import json

import pytest
from nvisy_sql.postgres import PostgresParams
from pydantic import ValidationError

from nvisy.cli.main import call


def params(*tables: object) -> PostgresParams:
    return PostgresParams.model_validate({"dsn": "postgresql://localhost/shop", "tables": tables})


def test_a_table_is_its_name_or_says_what_of_it_is_read():
    by_name, in_part = params("public.articles", {"table": "notes", "columns": ["id"]}).tables
    assert (by_name.table, by_name.columns) == ("public.articles", ())
    assert (in_part.table, in_part.columns) == ("notes", ("id",))


def test_no_table_and_a_table_that_is_neither_are_refused():
    for tables in ((), (7,), ("articles", "public.articles")):
        with pytest.raises(ValidationError):
            params(*tables)


def test_both_ways_are_in_the_list_of_parameters(capsys: pytest.CaptureFixture[str]):
    assert call(["nodes", "sql/postgres", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    types = {param["name"]: param["type"] for param in entry["params"]}
    assert types["tables"] == "list of text or {table: text, columns: list of text, where: text}"
