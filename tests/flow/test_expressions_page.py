"""`docs/expressions.md` is true: every example, every field, every function and every message."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nvisy.catalog import Catalog
from nvisy.connector.fields import fields_of
from nvisy.errors import ExpressionError, Rejected
from nvisy.expressions import FieldType, compile  # noqa: A004
from nvisy.expressions.faults import FUNCTIONS
from nvisy.expressions.filter import matches, parse_filter
from nvisy.graph.parse import parse
from nvisy.graph.validate import check
from nvisy.primitives import BUILTIN, Document

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "expressions.md").read_text()
FIELDS = fields_of(Document)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def examples(language: str) -> Iterator[tuple[str, Any]]:
    for line in "".join(blocks(language)).splitlines():
        expression, _, result = line.rpartition("//")
        yield expression.strip(), json.loads(result)


def table(head: str) -> list[tuple[str, str]]:
    """Rows of two columns, without backticks, of the table whose head is given."""
    (rows,) = re.findall(rf"^\| {re.escape(head)} \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [
        (left.strip().strip("`"), right.strip())
        for left, right in re.findall(r"^\| (.*?) \| (.*) \|$", rows, re.M)
    ]


GRAPH, DOCUMENT = blocks("json")
RECORD = json.loads(DOCUMENT)
CEL = list(examples("cel"))
FILTERS = list(examples("filter"))


def test_the_graph_is_without_faults() -> None:
    check(parse(GRAPH, folder=ROOT), Catalog.installed())


@pytest.mark.parametrize(("text", "result"), CEL)
def test_an_example_gives_what_the_page_says(text: str, result: Any) -> None:
    given = compile(text, FIELDS)(RECORD)
    assert (given, type(given)) == (result, type(result))


@pytest.mark.parametrize(("text", "result"), FILTERS)
def test_a_filter_finds_what_the_page_says(text: str, result: bool) -> None:
    assert matches(parse_filter(text), {**RECORD, "source_uri": None}) is result


def test_every_field_of_every_primitive_is_listed_with_its_type() -> None:
    listed = dict(table("primitive | fields besides `key`, `content_hash` and `metadata`"))
    common = {"key", "content_hash", "metadata"}
    for primitive in BUILTIN:
        fields = dict(re.findall(r"`(\w+)` ([\w ]+)", listed.pop(primitive.type)))
        assert fields == {n: k.value for n, k in fields_of(primitive).items() if n not in common}, primitive
    assert not listed


def test_every_function_is_shown() -> None:
    shown = {name for text, _ in CEL for name in re.findall(r"(\w+)\(", text)}
    assert set(FUNCTIONS) <= shown
    assert shown - set(FUNCTIONS) == {"getFullYear"}


@pytest.mark.parametrize(("text", "says"), table("expression | what `nvisy lint` says"))
def test_what_does_not_compile_says_so(text: str, says: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile(text, FIELDS, FieldType.BOOL)
    assert says in str(caught.value)


@pytest.mark.parametrize(("text", "says"), table("expression | what `nvisy dlq list` says"))
def test_what_a_document_has_no_value_for_says_so(text: str, says: str) -> None:
    with pytest.raises(Rejected) as caught:
        compile(text, FIELDS)(RECORD)
    assert says in str(caught.value)
    assert caught.value.kind == "expression"


@pytest.mark.parametrize(("text", "says"), table("filter | what `nvisy search` says"))
def test_a_filter_that_is_refused_says_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_filter(text)
    assert says in str(caught.value)
