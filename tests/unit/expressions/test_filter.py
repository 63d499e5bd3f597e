"""Search filters: what parses to which tree, what is refused, and what the tree means."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvisy.errors import ExpressionError, Rejected
from nvisy.expressions import FieldType, compile  # noqa: A004
from nvisy.expressions.filter import (
    SEARCH_FIELDS,
    And,
    Compare,
    Contains,
    Filter,
    Has,
    In,
    Not,
    Or,
    matches,
    parse_filter,
)
from nvisy.testing.filter_cases import FOUND, RECORDS

LANG = ("metadata", "lang")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("key == 'a'", Compare(("key",), "==", "a")),
        ("'a' == key", Compare(("key",), "==", "a")),
        ("1 < metadata.n", Compare(("metadata", "n"), ">", 1)),
        ("-1.5 >= metadata.n", Compare(("metadata", "n"), "<=", -1.5)),
        ("metadata['x-y'] in [1, -2, 'c', true]", In(("metadata", "x-y"), (1, -2, "c", True))),
        ("key in []", In(("key",), ())),
        ("'t' in metadata.tags", Contains(("metadata", "tags"), "t")),
        ("has(metadata.lang)", Has(LANG)),
        ("'lang' in metadata", Has(LANG)),
        ("!has(metadata.lang)", Not(Has(LANG))),
        ("metadata.lang == false", Compare(LANG, "==", False)),
        ("metadata.key == 'a'", Compare(("metadata", "key"), "==", "a")),
    ],
)
def test_a_filter_becomes_a_tree(text: str, tree: Filter) -> None:
    assert parse_filter(text) == tree


def test_chains_of_and_and_or_are_flat() -> None:
    parts = tuple(Compare(("key",), "==", name) for name in "abcdefgh")
    tests = [f"key == '{name}'" for name in "abcdefgh"]
    assert parse_filter(" && ".join(tests)) == And(parts)
    assert parse_filter(" || ".join(tests)) == Or(parts)
    assert parse_filter("(key == 'a' || key == 'b') && key == 'c'") == And((Or(parts[:2]), parts[2]))


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        (
            "lng == 1",
            1,
            "unknown field 'lng'; did you mean 'metadata.lng'? fields: key, metadata, source_uri",
        ),
        ("text == 'a'", 1, "unknown field 'text'"),
        ("key == 1", 5, "cannot be applied to string and int"),
        ("key", 1, "it gives string, but bool is needed here"),
        ("true", 1, "a constant in this place"),
        ("1 == 1", 1, "a constant in this place"),
        ("metadata.flag", 1, "compare it, as with == true"),
        ("key == 'a' && !metadata['flag']", 16, "compare it, as with == true"),
        ("key.startsWith('a/')", 15, "write key >= 'a/' && key < 'a0'; a filter compares key"),
        (
            "metadata['x-y'].startsWith('a')",
            27,
            "write metadata['x-y'] >= 'a' && metadata['x-y'] < 'b'; a filter",
        ),
        (
            "key.endsWith('a')",
            13,
            "a filter cannot use 'endsWith'; let a `map` node compute it into a metadata",
        ),
        ("size(key) > 1", 5, "a filter cannot use 'size'; let a `map` node compute it"),
        (
            "'x' in key",
            5,
            "a filter cannot look for a part of a text: compare all of it, as in key == 'a.md'",
        ),
        ("'x' in source_uri", 5, "a filter cannot look for a part of a text"),
        ("metadata.tags.contains('x')", 23, "if it is a list, write 'x' in metadata.tags"),
        ("int(metadata.page) > 3", 4, "values keep the type they have in metadata"),
        ("metadata.lang == en", 18, "a text is written in quotes, 'en'"),
        ("has(key)", 5, "has(…) asks for a field of a map, as in has(metadata.lang)"),
        ("metadata", 1, "it gives map, but bool is needed here"),
        ("metadata.n + 1 == 2", 12, "a filter cannot use '+'; let a `map` node compute it"),
        ("-metadata.n == 1", 1, "a filter cannot use '-'"),
        ("coalesce(metadata.n, 1) == 2", 9, "ask has(metadata.NAME) or !has(metadata.NAME)"),
        ("key == 'a' ? true : false", 12, "a filter cannot use '? :'; say it with && and ||"),
        ("metadata.a.b == 1", 1, "'b' in this place; metadata has one level of fields"),
        ("metadata.a[0] == 1", 11, "'[ ]'"),
        ("metadata[key] == 1", 9, "'[ ]'; a field of metadata is named by a text, as in metadata['x-y']"),
        (
            "key == source_uri",
            8,
            "a filter cannot compare with another field, source_uri; compare with a value",
        ),
        ("metadata.a == metadata.b", 15, "cannot compare with another field, metadata.b"),
        ("metadata.a in metadata.b", 1, "cannot compare with another field, metadata.a"),
        ("string == metadata.a", 1, "'string' in this place"),
        ("metadata == {}", 1, "'metadata' in this place; name a field of it, metadata.NAME"),
        (
            "[1].exists(x, metadata.n == x)",
            1,
            "a map or a loop in this place; ask what a list holds with 'text' in metadata.NAME",
        ),
        ("metadata.tags == ['a']", 18, "a list in this place; ask for one of its elements"),
        ("has(metadata.a) == true", 4, "'a' in this place"),
        ("metadata.a == null", 15, "a filter cannot use null; ask has(…) or !has(…)"),
        ("metadata.a == b'x'", 15, "a constant in this place"),
        ("metadata.a < true", 14, "true and false have no order"),
        ("metadata.a == 9007199254740992", 15, "too large"),
        ("metadata.a == -1e300", 15, "too large"),
        ("metadata.a == 'x\\000'", 15, "NUL"),
        ("1 in metadata.tags", 1, "lists in metadata hold strings"),
        ("key == 'a' and key == 'b'", 12, "write && for and"),
    ],
)
def test_what_some_store_cannot_answer_is_refused(text: str, column: int, says: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_filter(text)
    assert caught.value.column == column
    assert says in str(caught.value)


@pytest.mark.parametrize(("text", "keys"), FOUND.items(), ids=FOUND)
def test_the_shared_cases_are_what_a_filter_means(text: str, keys: frozenset[str]) -> None:
    tree = parse_filter(text)
    assert {record["key"] for record in RECORDS if matches(tree, record)} == keys


# Random filters. A filter here is a nested tuple, written out as text and evaluated by rules of its own.

NAMES = ["lang", "n", "x-y", "it's"]
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3
) | st.sampled_from("ab")
numbers = st.integers(-3, 3) | st.sampled_from([-1.5, 0.0, 1.0, 2.5])
literals = texts | numbers | st.booleans()
stored = literals | st.none() | st.lists(texts, max_size=2)
tests = (
    st.tuples(st.sampled_from(["==", "!="]), st.sampled_from(NAMES), literals)
    | st.tuples(st.sampled_from(["<", "<=", ">", ">="]), st.sampled_from(NAMES), texts | numbers)
    | st.tuples(st.just("in"), st.sampled_from(NAMES), st.lists(literals, max_size=3))
    | st.tuples(st.just("contains"), st.sampled_from(NAMES), texts)
    | st.tuples(st.just("has"), st.sampled_from(NAMES))
)
filters = st.recursive(
    tests,
    lambda inner: st.tuples(st.sampled_from(["&&", "||"]), inner, inner) | st.tuples(st.just("!"), inner),
    max_leaves=6,
)


def written(tree: Any) -> str:
    match tree:
        case ("&&" | "||" as joint, left, right):
            text = f"({written(left)} {joint} {written(right)})"
        case ("!", part):
            text = f"!({written(part)})"
        case ("has", name):
            text = f"{literal(name)} in metadata"
        case ("contains", name, value):
            text = f"{literal(value)} in metadata[{literal(name)}]"
        case ("in", name, values):
            text = f"metadata[{literal(name)}] in [{', '.join(map(literal, values))}]"
        case (op, name, value):
            text = f"metadata[{literal(name)}] {op} {literal(value)}"
    return text


def literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + "".join(f"\\U{ord(character):08x}" for character in value) + "'"
    return str(value).lower()


def meaning(tree: Any, metadata: dict[str, Any]) -> bool:  # noqa: PLR0911 - a return per kind
    match tree:
        case ("&&", left, right):
            return meaning(left, metadata) and meaning(right, metadata)
        case ("||", left, right):
            return meaning(left, metadata) or meaning(right, metadata)
        case ("!", part):
            return not meaning(part, metadata)
    found = metadata.get(tree[1])
    if found is None or tree[0] == "has":
        return found is not None
    if tree[0] == "contains":
        return type(found) is list and tree[2] in found
    if tree[0] == "in":
        return any(tagged(found) == tagged(value) for value in tree[2])
    there, asked = tagged(found), tagged(tree[2])
    orders = there[0] == asked[0]
    return {
        "==": there == asked,
        "!=": there != asked,
        "<": orders and there[1] < asked[1],
        "<=": orders and there[1] <= asked[1],
        ">": orders and there[1] > asked[1],
        ">=": orders and there[1] >= asked[1],
    }[tree[0]]


def tagged(value: Any) -> tuple[str, Any]:
    if isinstance(value, str):
        return "text", value.encode("utf-32-be")
    return {bool: "bool", int: "number", float: "number", list: "list"}[type(value)], value


@settings(deadline=None)
@given(filters, st.dictionaries(st.sampled_from(NAMES), stored))
def test_a_random_filter_means_what_the_rules_say(tree: Any, metadata: dict[str, Any]) -> None:
    assert matches(parse_filter(written(tree)), {"key": "k", "metadata": metadata}) == meaning(tree, metadata)


@settings(deadline=None)
@given(filters, st.dictionaries(st.sampled_from(NAMES), literals | st.lists(texts, max_size=2)))
def test_a_filter_agrees_with_the_same_expression_wherever_that_has_a_value(
    tree: Any, metadata: dict[str, Any]
) -> None:
    text = written(tree)
    expression = compile(text, SEARCH_FIELDS, FieldType.BOOL)
    record = {"key": "k", "source_uri": None, "metadata": metadata}
    try:
        value = expression(record)
    except Rejected:
        return
    if all_present(tree, metadata):
        assert matches(parse_filter(text), record) == value


def all_present(tree: Any, metadata: dict[str, Any]) -> bool:
    """Whether nothing in the filter is an error to CEL, which && and || may have absorbed."""
    if tree[0] in {"&&", "||"}:
        return all_present(tree[1], metadata) and all_present(tree[2], metadata)
    if tree[0] == "!":
        return all_present(tree[1], metadata)
    return tree[0] in {"==", "!=", "in", "has"} and (tree[0] == "has" or tree[1] in metadata)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_text_either_parses_or_is_an_expression_error(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        assert matches(parse_filter(text), RECORDS[0]) in {True, False}


def test_a_number_beyond_every_float_is_no_trap() -> None:
    tree = parse_filter("metadata.n > 1")
    assert matches(tree, {"key": "k", "metadata": {"n": 10**400}})
    assert not matches(tree, {"key": "k", "metadata": {"n": math.nan}})


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=3),
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3), max_size=3
    ),
)
@settings(deadline=None)
def test_what_is_offered_for_a_prefix_finds_the_texts_that_begin_with_it(
    prefix: str, rest: list[str]
) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_filter(f"key.startsWith({literal(prefix)})")
    offered = (caught.value.hint or "").partition("; a filter compares")[0].removeprefix("write ")
    if offered.startswith("key >="):
        tree = parse_filter(offered)
        assert all(matches(tree, {"key": prefix + more}) for more in rest)
        assert matches(tree, {"key": prefix})
        assert not any(matches(tree, {"key": more}) for more in rest if not more.startswith(prefix))
