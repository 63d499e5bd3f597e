import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvisy.graph.positions import MAX_DEPTH, JsonFault, escape, scan

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def fault_of(text: str) -> JsonFault:
    with pytest.raises(JsonFault) as caught:
        scan(text)
    return caught.value


def pointers(value, at=""):
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, below in items:
        yield from pointers(below, f"{at}/{escape(str(name))}")


@given(JSON, st.sampled_from([None, 2]))
def test_gives_the_value_that_the_standard_library_gives(value, indent):
    assert scan(json.dumps(value, indent=indent, ensure_ascii=False))[0] == value


@given(JSON)
def test_knows_a_place_for_every_value(value):
    _, places = scan(json.dumps(value, indent=1))
    assert set(places.values) == set(pointers(value))


@given(st.text("{}[]\",:0123.eE-+truefalsn\\ \n\tu/#'é", max_size=30))
def test_any_other_text_is_a_fault(text):
    try:
        value, _ = scan(text)
    except JsonFault:
        return
    assert json.loads(text) == value


def test_counts_lines_and_columns_from_one_in_characters():
    _, places = scan('{\n  "é": [1,\r\n    "x"]\n}')
    assert [places.of(p) for p in ("", "/é", "/é/0", "/é/1")] == [(1, 1), (2, 8), (2, 9), (3, 5)]
    assert places.of("/é", name=True) == (2, 3)


def test_a_missing_value_is_placed_at_what_encloses_it():
    _, places = scan('{"a": {"b": 1}}')
    assert places.of("/a/c/d") == places.of("/a") == (1, 7)


def test_escapes_names_in_pointers():
    _, places = scan('{"a/b~c": 1}')
    assert places.of("/a~1b~0c") == (1, 11)


@pytest.mark.parametrize(
    ("text", "code", "place", "says"),
    [
        ("", "NV1002", (1, 1), "ends too early"),
        ('{"a": 1', "NV1002", (1, 8), 'expected "," or "}"'),
        ('{"a": 1,}', "NV1002", (1, 8), 'a "," before "}"'),
        ('{\n "a": 1\n "b": 2}', "NV1002", (3, 2), 'expected ","'),
        ("[1] 2", "NV1002", (1, 5), "after the end"),
        ("{'a': 1}", "NV1002", (1, 2), "double quotes"),
        ('{"a" 1}', "NV1002", (1, 6), 'expected ":"'),
        ('{"a": True}', "NV1002", (1, 7), "write true"),
        ('{"a": None}', "NV1002", (1, 7), "write null"),
        ("[NaN]", "NV1002", (1, 2), "'NaN'"),
        ("[01]", "NV1002", (1, 2), "not a number"),
        ("[1e999]", "NV1002", (1, 2), "too large"),
        ("[" + "1" * 5000 + "]", "NV1002", (1, 2), "too many digits"),
        ('["a\nb"]', "NV1002", (1, 4), "invalid control character"),
        ('["abc', "NV1002", (1, 2), "unterminated"),
        ('["\\ud800"]', "NV1002", (1, 2), "U+D800"),
        ('["\\u0000"]', "NV1002", (1, 2), "U+0000"),
        ("[1] // no", "NV1002", (1, 5), "after the end"),
        ("[ // no\n1]", "NV1002", (1, 3), "JSON has no comments"),
        ('{"a": 1,\n "a": 2}', "NV1003", (2, 2), '"a" appears twice'),
        ("[" * 65 + "]" * 65, "NV1004", (1, 65), "64 levels"),
    ],
)
def test_says_what_is_wrong_and_where(text, code, place, says):
    fault = fault_of(text)
    assert (fault.code, (fault.line, fault.column)) == (code, place)
    assert says in f"{fault.message} {fault.hint}"


def test_takes_the_deepest_nesting_that_is_allowed():
    assert scan("[" * MAX_DEPTH + "]" * MAX_DEPTH)


def test_refuses_a_text_that_is_too_large():
    assert fault_of(" " * ((8 << 20) + 1)).code == "NV1004"
