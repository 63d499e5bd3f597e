"""Compiling against fields, evaluating records, and what is reported when either fails."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from types import SimpleNamespace
from typing import Any

import pytest

from nvisy.errors import ExpressionError, Rejected
from nvisy.expressions import Expression, FieldType, compile  # noqa: A004

FIELDS = {
    "key": FieldType.STRING,
    "text": FieldType.STRING,
    "source_uri": FieldType.NULLABLE_STRING,
    "metadata": FieldType.MAP,
    "page": FieldType.INT,
    "score": FieldType.DOUBLE,
    "draft": FieldType.BOOL,
    "data": FieldType.BYTES,
    "seen": FieldType.TIMESTAMP,
    "tags": FieldType.STRINGS,
    "anything": FieldType.DYN,
}


def evaluate(text: str, result: FieldType | None = None, /, **record: Any) -> Any:
    return compile(text, FIELDS, result)(record)


def refusal(text: str, result: FieldType | None = None) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        compile(text, FIELDS, result)
    return caught.value


def rejection(text: str, result: FieldType | None = None, /, **record: Any) -> str:
    expression = compile(text, FIELDS, result)
    with pytest.raises(Rejected) as caught:
        expression(record)
    assert caught.value.kind == "expression"
    assert f"`{text}`" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("kee == 'a'", 1, "unknown field 'kee'; did you mean 'key'? fields: anything, data"),
        ("draft && lang == 'en'", 10, "unknown field 'lang'; did you mean 'metadata.lang'?"),
        ("draft || doc.lang == 'en'", 10, "unknown field 'doc'"),
        ("key + 1", 5, "'+' cannot be applied to string and int; string(x) turns a number into text"),
        ("key == 1", 5, "'==' cannot be applied to string and int"),
        ("source_uri + 1", 12, "'+' cannot be applied to string or null and int"),
        ("page == 1.5", 6, "double(x) turns an int into a double"),
        ("draft ? 1 : 'a'", 7, "both results have one type"),
        ("key.startswith('a')", 5, "unknown function 'startswith'; did you mean 'startsWith'?"),
        ("nonsense (key)", 1, "unknown function 'nonsense'; functions: contains"),
        ("size(key, key)", 1, "size is used with the wrong arguments"),
        ("coalesce(key)", 1, "coalesce is used with the wrong arguments"),
        ("key = 'a'", 5, "a single '='; compare with =="),
        ("draft and draft", 7, "unexpected 'and'; write && for and"),
        ("draft or draft", 7, "unexpected 'or'; write || for or"),
        ("", 1, "the expression ends too early"),
        ("key &&", 7, "the expression ends too early"),
        ("'é😀' + kk", 8, "unknown field 'kk'"),
        ("key\n == kk", 9, "unknown field 'kk'"),
        ("key.matches('[')", 13, "invalid regular expression"),
        ("'\ud800'", 2, "surrogate"),
        ("metadata.?lang", 1, "unsupported syntax"),
    ],
)
def test_an_expression_that_does_not_compile_says_where_and_why(text: str, column: int, says: str) -> None:
    error = refusal(text)
    assert error.column == column
    assert says in str(error)


def test_an_expression_nested_beyond_what_cel_parses_is_refused() -> None:
    assert "nested too deeply" in str(refusal("+".join(["page"] * 40)))
    assert "nested too deeply" in str(refusal("(" * 40 + "page" + ")" * 40))


def test_an_expression_longer_than_cel_takes_is_refused() -> None:
    assert "limit" in str(refusal("draft || " * 20_000 + "draft"))


@pytest.mark.parametrize(
    ("text", "result", "says"),
    [
        ("page", FieldType.BOOL, "it gives int, but bool is needed here"),
        ("page", FieldType.STRING, "write string(…)"),
        ("page", FieldType.DOUBLE, "write double(…)"),
        ("null", FieldType.STRING, "it gives null"),
        ("[1]", FieldType.STRINGS, "it gives list<int>, but list of strings is needed here"),
        ("seen", None, "a timestamp, which no record can hold; write string(…)"),
        ("type(page)", None, "a type, which no record can hold"),
    ],
)
def test_an_expression_of_the_wrong_type_is_refused(text: str, result: FieldType | None, says: str) -> None:
    assert says in str(refusal(text, result))


@pytest.mark.parametrize(
    ("text", "record", "value"),
    [
        ("metadata.lang == 'en'", {"metadata": {"lang": "en"}}, True),
        ("has(metadata.lang)", {"metadata": {}}, False),
        ("metadata['x-y']", {"metadata": {"x-y": 4}}, 4),
        ("'x-y' in metadata", {"metadata": {"x-y": None}}, True),
        ("metadata[key]", {"metadata": {"a": 1}, "key": "a"}, 1),
        ("size(metadata)", {"metadata": {"a": 1, "b": 2}}, 2),
        ("metadata.a.b[1]", {"metadata": {"a": {"b": (1, 2.5)}}}, 2.5),
        ("has(metadata.a) && metadata.a == 1", {"metadata": {}}, False),
        ("metadata.n == 1", {"metadata": {"n": 1.0}}, True),
        ("key.contains('b') && key.endsWith('c')", {"key": "abc"}, True),
        ("key.matches('^a.c$')", {"key": "abc"}, True),
        ("key.lowerAscii().trim()", {"key": " ABC"}, "abc"),
        ("size(text)", {"text": "é😀"}, 2),
        ("draft ? key : 'none'", {"draft": False, "key": "a"}, "none"),
        ("'p' + string(page)", {"page": 3}, "p3"),
        ("int(key) + 1", {"key": "41"}, 42),
        ("score * 2.0", {"score": 3}, 6.0),
        ("source_uri == null ? 'none' : source_uri", {"source_uri": None}, "none"),
        ("source_uri == null ? 'none' : source_uri", {"source_uri": "s3://x"}, "s3://x"),
        ("tags.exists(t, t == 'x')", {"tags": ["y", "x"]}, True),
        ("tags.map(t, t + '!')", {"tags": ["a"]}, ["a!"]),
        ("{'a': [page, 1.5, null]}", {"page": 2}, {"a": [2, 1.5, None]}),
        ("data", {"data": b"\x00\xff"}, b"\x00\xff"),
        ("string(seen)", {"seen": datetime(2026, 1, 2, 3, tzinfo=UTC)}, "2026-01-02T03:00:00Z"),
        ("anything", {"anything": None}, None),
        ("anything", {"anything": 2**63}, 2**63),
    ],
)
def test_an_expression_gives_a_plain_python_value(text: str, record: dict[str, Any], value: Any) -> None:
    found = evaluate(text, **record)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "record", "value"),
    [
        ("coalesce(metadata.title, key)", {"metadata": {}, "key": "k"}, "k"),
        ("coalesce(metadata.title, key)", {"metadata": {"title": None}, "key": "k"}, "k"),
        ("coalesce(metadata.title, key)", {"metadata": {"title": "T"}, "key": "k"}, "T"),
        ("coalesce(metadata['a-b'].c, metadata.z, 'd')", {"metadata": {}}, "d"),
        ("coalesce(metadata['a-b'].c, metadata.z, 'd')", {"metadata": {"a-b": {}}}, "d"),
        ("coalesce(metadata['a-b'].c, metadata.z, 'd')", {"metadata": {"a-b": {"c": 4}}}, 4),
        ("coalesce(source_uri, 'none') + '!'", {"source_uri": None}, "none!"),
        ("coalesce(coalesce(metadata.a, metadata.b), 'c')", {"metadata": {"b": "B"}}, "B"),
        ("[1, 2].map(n, coalesce(metadata.a, n))", {"metadata": {}}, [1, 2]),
        ("{'a': coalesce(metadata.a, 1)}.a", {"metadata": {}}, 1),
        ("coalesce(metadata.draft, false) == true", {"metadata": {}}, False),
    ],
)
def test_coalesce_gives_the_first_that_is_neither_missing_nor_null(
    text: str, record: dict[str, Any], value: Any
) -> None:
    assert evaluate(text, **record) == value


@pytest.mark.parametrize(
    ("text", "record", "says"),
    [
        ("metadata.lang == 'en'", {"metadata": {}}, "there is no entry 'lang'; ask with has(…)"),
        ("metadata.a + 'b'", {"metadata": {"a": None}}, "'+' cannot be applied to null and string"),
        ("metadata.a < 'b'", {"metadata": {"a": 1}}, "'<' cannot be applied to int and string"),
        ("metadata.a.b", {"metadata": {"a": 1}}, "not a map"),
        ("anything.matches('a')", {"anything": 1}, "'matches' cannot be applied to int and string"),
        ("1 / page", {"page": 0}, "divide by zero"),
        ("[1 / page]", {"page": 0}, "divide by zero"),
        ("page * page", {"page": 2**62}, "integer overflow"),
        ("int(key)", {"key": "x"}, "cannot convert string to int"),
        ("tags[4]", {"tags": []}, "index=4 size=0"),
        ("source_uri + 'x'", {"source_uri": None}, "'+' cannot be applied to null and string"),
        ("key.matches(text)", {"key": "a", "text": "["}, "invalid regular expression"),
        (
            "anything.all(a, anything.all(b, anything.all(c, true)))",
            {"anything": [0] * 1000},
            "too many rounds",
        ),
        ("anything", {"anything": 2**64}, "out of range"),
        ("anything", {"anything": object()}, "a value of type object"),
        ("anything", {"anything": {"a\0": 1}}, "NUL"),
        ("text", {"text": "\ud800"}, "surrogate"),
        ("text", {"text": "\ud800\0"}, "surrogate"),
        ("[timestamp(key)]", {"key": "2026-01-01T00:00:00Z"}, "which no record can hold"),
        ("key", {}, "the record has no field 'key'"),
        ("key", {"key": None}, "field 'key' is null, not string"),
        ("page", {"page": True}, "field 'page' is bool, not int"),
        ("score", {"score": True}, "field 'score' is bool, not double"),
        ("metadata.a", {"metadata": []}, "field 'metadata' is list, not map"),
        ("tags", {"tags": [1]}, "not list of strings"),
        ("string(seen)", {"seen": datetime(2026, 1, 2)}, "without a time zone"),  # noqa: DTZ001
        ("string(seen)", {"seen": "2026"}, "field 'seen' is string, not timestamp"),
    ],
)
def test_a_record_without_a_value_is_rejected_with_the_cause(
    text: str, record: dict[str, Any], says: str
) -> None:
    assert says in rejection(text, **record)


def test_an_error_text_in_the_data_is_not_taken_for_an_error() -> None:
    assert evaluate("text", text="INVALID_ARGUMENT: divide by zero") == "INVALID_ARGUMENT: divide by zero"


@pytest.mark.parametrize(
    ("result", "value", "is_accepted"),
    [
        (FieldType.BOOL, True, True),
        (FieldType.BOOL, 1, False),
        (FieldType.BOOL, None, False),
        (FieldType.INT, True, False),
        (FieldType.DOUBLE, 1, False),
        (FieldType.STRING, None, False),
        (FieldType.NULLABLE_STRING, None, True),
        (FieldType.NULLABLE_STRING, "a", True),
        (FieldType.NULLABLE_STRING, 1, False),
        (FieldType.STRINGS, ["a"], True),
        (FieldType.STRINGS, ["a", 1], False),
        (FieldType.MAP, {"a": 1}, True),
        (FieldType.LIST, [1], True),
        (FieldType.LIST, "a", False),
    ],
)
def test_a_result_known_only_when_it_runs_is_checked_then(
    result: FieldType, value: Any, is_accepted: bool
) -> None:
    if is_accepted:
        assert evaluate("metadata.a", result, metadata={"a": value}) == value
    else:
        assert f"not {result.value}" in rejection("metadata.a", result, metadata={"a": value})


def test_a_nullable_field_may_give_a_result_that_is_not_null_only_while_it_is_not() -> None:
    assert evaluate("source_uri", FieldType.STRING, source_uri="a") == "a"
    assert "it gives null, not string" in rejection("source_uri", FieldType.STRING, source_uri=None)


def test_a_timestamp_is_given_where_it_is_asked_for() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    assert evaluate("seen", FieldType.TIMESTAMP, seen=moment) == moment


@pytest.mark.parametrize("text", ["a\0b", "\0", "é\0😀\0"])
def test_text_with_nul_characters_comes_through_whole(text: str) -> None:
    assert evaluate("text", text=text) == text
    assert evaluate("size(text)", text=text) == len(text)
    assert evaluate("text + '!'", text=text) == text + "!"
    assert evaluate("coalesce(metadata.a, 'x')", metadata={"a": text}) == text
    assert evaluate("tags[0]", tags=[text]) == text
    assert evaluate("metadata", metadata={"a": [{"b": text}]}) == {"a": [{"b": text}]}


def test_kindred_python_types_are_taken_for_what_they_are() -> None:
    class Language(StrEnum):
        ENGLISH = "en"

    assert (
        evaluate("key + metadata.lang", key=Language.ENGLISH, metadata={"lang": Language.ENGLISH}) == "enen"
    )
    assert evaluate("tags", tags=("a", "b")) == ["a", "b"]
    assert evaluate("data", data=bytearray(b"a")) == b"a"


class Untouchable(dict[str, Any]):
    """A record that tells which of its fields were read."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(fields)
        self.read: list[str] = []

    def __getitem__(self, name: str) -> Any:
        self.read.append(name)
        return super().__getitem__(name)


def test_only_the_fields_it_uses_are_read() -> None:
    expression = compile("metadata.lang == 'en' && key != ''", FIELDS, FieldType.BOOL)
    record = Untouchable(key="a", metadata=Untouchable(lang="en", vector=object()), text=object())
    assert expression(record)
    assert expression.fields == {"key", "metadata"}
    assert sorted(record.read) == ["key", "metadata"]
    assert record["metadata"].read == ["lang"]


def test_a_map_used_as_a_whole_is_read_whole_even_if_an_entry_is_named_too() -> None:
    assert evaluate("has(metadata.a) ? size(metadata) : 0", metadata={"a": 1, "b": 2}) == 2
    assert evaluate("['b'].map(k, metadata[k] + metadata.a)", metadata={"a": 1, "b": 2}) == [3]


def test_a_loop_variable_may_have_the_name_of_a_field() -> None:
    assert evaluate("[{'a': 1}].map(metadata, metadata.a)", metadata={}) == [1]


def test_a_record_may_be_an_object() -> None:
    expression = compile("key + string(page)", FIELDS, FieldType.STRING)
    assert expression(SimpleNamespace(key="a", page=1)) == "a1"
    with pytest.raises(Rejected, match="no field 'page'"):
        expression(SimpleNamespace(key="a"))


def test_an_expression_without_fields_needs_no_record() -> None:
    expression = compile("1 + 1", {})
    assert isinstance(expression, Expression)
    assert expression.fields == frozenset()
    assert expression({}) == 2
