from pathlib import Path

import pytest

from nvisy.graph.secrets import Redactor, resolve

HERE = Path("/nowhere")
ENVIRON = {"KEY": "s3cret", "EMPTY": "", "QUOTE": '","x":"y'}


def value_of(text: str) -> str:
    return resolve(text, ENVIRON, HERE).value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Bearer ${KEY}!", "Bearer s3cret!"),
        ("${KEY:-other}", "s3cret"),
        ("${MISSING:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY}", ""),
        ("${MISSING:-}", ""),
        ("$${KEY} ${KEY}", "${KEY} s3cret"),
        ("$KEY $ {} $$", "$KEY $ {} $$"),
    ],
)
def test_replaces_references_inside_text(text, value):
    resolved = resolve(text, ENVIRON, HERE)
    assert (resolved.value, resolved.unresolved) == (value, [])


def test_a_value_cannot_change_the_structure():
    assert resolve({"a": ["${QUOTE}"], "b": 1}, ENVIRON, HERE).value == {"a": ['","x":"y'], "b": 1}


def test_names_of_members_are_left_alone():
    assert resolve({"${KEY}": True}, ENVIRON, HERE).value == {"${KEY}": True}


def test_what_a_value_holds_is_not_resolved_again():
    assert resolve("${A}", {"A": "${B}", "B": "x"}, HERE).value == "${B}"


def test_reads_a_file_without_its_last_line_end(tmp_path):
    (tmp_path / "key").write_bytes(b"one\ntwo\r\n")
    assert resolve("${file:key}", {}, tmp_path).value == "one\ntwo"
    assert resolve(f"${{file:{tmp_path}/key}}", {}, HERE).secrets == {"one\ntwo"}


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("${MISSING}", "NV1402", "MISSING is not set and has no default"),
        ("${file:none}", "NV1403", "cannot read none: No such file"),
        ("${file:.}", "NV1403", "Is a directory"),
        ("${file:binary}", "NV1403", "not UTF-8"),
        ("${file:huge}", "NV1403", "larger than 64 KiB"),
        ("${not a name}", "NV1401", "begins no reference"),
        ("${", "NV1401", "begins no reference"),
    ],
)
def test_a_reference_that_leads_nowhere_is_a_fault_at_its_place(tmp_path, text, code, says):
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "huge").write_bytes(b"x" * 70_000)
    (fault,) = resolve({"a/b": ["", text]}, {}, tmp_path).unresolved
    assert (fault.code, fault.pointer) == (code, "/a~1b/1")
    assert says in fault.message


def test_only_what_comes_from_outside_is_a_secret():
    assert resolve(["${KEY}", "${MISSING:-public}", "plain"], ENVIRON, HERE).secrets == {"s3cret"}


def test_the_resolved_value_is_not_in_its_repr():
    assert "s3cret" not in repr(resolve("${KEY}", ENVIRON, HERE))


@pytest.mark.parametrize(
    ("secret", "text", "clean"),
    [
        ("s3cret", "refused: s3cret.", "refused: ***."),
        ("postgresql://u:p%40ssword@db/x", "password p@ssword is wrong", "password *** is wrong"),
        ("host=db password='p w1' user=x", "for p w1", "for ***"),
        ("a b/c", "GET /?key=a%20b%2Fc", "GET /?key=***"),
        ('quo"te', '{"key": "quo\\"te"}', '{"key": "***"}'),
        ("400", "size 400", "size 400"),
        ("http://[", "bad http://[ here", "bad *** here"),
    ],
)
def test_the_redactor_knows_a_secret_however_it_is_written(secret, text, clean):
    assert Redactor([secret]).clean(text) == clean


def test_the_redactor_replaces_the_longest_secret_first():
    assert Redactor(["abcd", "abcdefgh"]).clean("abcdefgh") == "***"


def test_a_redactor_of_nothing_changes_nothing():
    assert Redactor().clean("text") == "text"
    assert "s3cret" not in repr(Redactor(["s3cret"]))
