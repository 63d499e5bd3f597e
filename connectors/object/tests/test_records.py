"""Files of records, well written and otherwise."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import pytest
from nvisy_object.files import FilesParams, FilesSource

from nvisy.connector.source import Item, Unreadable
from nvisy.errors import Rejected
from nvisy.testing.source_conformance import Listed

from .targets import refuse


@pytest.fixture
def read(tmp_path):
    """Writes a file and reads its records: those that are one, by key, and those that are none."""

    def read_(content: str | bytes, suffix: str = "jsonl", **params):
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        (group,) = FilesSource(FilesParams(path=path, format=suffix, **params)).scan()
        members = list(group.members())
        good = {member.key.partition("#")[2]: member for member in members if isinstance(member, Item)}
        assert len(good) == sum(isinstance(member, Item) for member in members)
        return good, [member for member in members if isinstance(member, Unreadable)]

    return read_


def texts(good):
    return {key: item.load().text for key, item in good.items()}


# JSON Lines.


def test_records_are_documents_with_the_other_fields_as_metadata(read):
    good, bad = read('{"id": "a", "text": "one", "n": 1, "f": 1.5, "b": true, "no": null, "l": ["x"]}\n')
    assert bad == []
    document = good["a"].load()
    assert document.text == "one"
    assert document.metadata == {"id": "a", "n": 1, "f": 1.5, "b": True, "no": None, "l": ["x"]}
    assert good["a"].uri.endswith("/a.jsonl#id=a")


def test_nested_values_and_large_numbers_become_json_text(read):
    good, _ = read('{"id": "a", "text": "", "o": {"x": [1]}, "l": [1, 2], "u": 18446744073709551615}\n')
    assert good["a"].load().metadata == {
        "id": "a",
        "o": '{"x":[1]}',
        "l": "[1,2]",
        "u": "18446744073709551615",
    }


def test_a_bad_line_is_named_and_the_others_come(read):
    good, bad = read(
        '{"id": 1, "text": "a"}\n{"id": 2, "te\n{"id": 3, "text": "c"}\n[4]\n{"id": 5, "text": "e"}'
    )
    assert list(good) == ["1", "3", "5"]
    assert [entry.key for entry in bad] == ["a.jsonl#line-2", "a.jsonl#line-4"]
    assert "a.jsonl: line 2: it is no JSON" in str(bad[0].error)
    assert bad[0].content == b'{"id": 2, "te'
    assert bad[0].uri.endswith("#line=2")


def test_a_torn_last_line_is_named_as_that(read):
    good, bad = read('{"id": 1, "text": "a"}\n{"id": 2, "te')
    assert list(good) == ["1"]
    assert "is it still being written?" in str(bad[0].error)


def test_the_same_id_twice_is_listed_twice_for_the_runtime_to_refuse(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "a"}\n{"id": "1", "text": "b"}\n')
    (group,) = FilesSource(FilesParams(path=tmp_path, format="jsonl")).scan()
    assert [member.key for member in group.members()] == ["a.jsonl#1", "a.jsonl#1"]


@pytest.mark.parametrize(
    "value", ["null", '""', "{}", "[1]", "true", "99999999999999999999999", "9007199254740993"]
)
def test_an_id_that_names_nothing_is_refused(read, value):
    good, bad = read(f'{{"id": {value}, "text": "a"}}\n{{"id": 1, "text": "b"}}\n')
    assert list(good) == ["1"]
    assert bad[0].error.kind == "no_key"
    assert 'name another field as "key"' in str(bad[0].error)


def test_a_missing_id_is_refused(read):
    _, bad = read('{"text": "a"}\n')
    assert bad[0].error.kind == "no_key"


@pytest.mark.parametrize(
    ("value", "key"), [("7", "7"), ("-7", "-7"), ("1.5", "1.5"), ('"ü/#x"', "ü/#x"), ('" "', " ")]
)
def test_numbers_and_any_text_are_ids(read, value, key):
    good, _ = read(f'{{"id": {value}, "text": "a"}}\n')
    assert list(good) == [key]


def test_another_field_may_be_the_key_or_the_text(read):
    good, _ = read('{"sku": "x", "body": "words", "text": "t"}\n', key="sku", text="body")
    assert good["x"].load().text == "words"
    assert good["x"].load().metadata == {"sku": "x", "text": "t"}


def test_a_record_without_its_text_is_refused_and_null_is_empty(read):
    good, _ = read('{"id": 1}\n{"id": 2, "text": null}\n{"id": 3, "text": 3}\n')
    assert good["2"].load().text == ""
    for key, message in (("1", "has no 'text'"), ("3", "is no text")):
        with pytest.raises(Rejected, match=message):
            good[key].load()


@pytest.mark.parametrize("depth", [300, 1000])
def test_a_value_nested_too_deep_is_refused(read, depth):
    good, bad = read(f'{{"id": 1, "text": "a", "deep": {"[" * depth}{"]" * depth}}}\n')
    for item in good.values():
        with pytest.raises(Rejected):
            item.load()
    assert len(good) + len(bad) == 1


def test_a_field_without_a_name_is_refused(read):
    good, _ = read('{"id": 1, "text": "a", "": "x"}\n')
    with pytest.raises(Rejected, match="non-empty string"):
        good["1"].load()


def test_marks_blank_lines_and_line_ends_of_other_systems_are_nothing_special(read):
    good, bad = read(b'\xef\xbb\xbf{"id": 1, "text": "a"}\r\n\r\n  \n{"id": 2, "text": "b"}\r\n')
    assert texts(good) == {"1": "a", "2": "b"}
    assert bad == []


def test_a_line_of_twenty_megabytes_is_refused_and_the_others_come(read):
    good, bad = read(
        '{"id": 1, "text": "a"}\n{"id": 2, "text": "' + "x" * (20 << 20) + '"}\n{"id": 3, "text": "c"}\n'
    )
    assert list(good) == ["1", "3"]
    assert bad[0].error.kind == "too_large"
    assert len(bad[0].content) == 8 << 20
    assert bad[0].key == "a.jsonl#line-2"


def test_bytes_that_are_not_utf8_are_refused_by_line(read):
    good, bad = read(b'{"id": 1, "text": "caf\xe9"}\n{"id": 2, "text": "b"}\n')
    assert list(good) == ["2"]
    assert bad[0].error.kind == "decode"


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_utf16_is_named(read, suffix):
    good, (bad,) = read('{"id": 1, "text": "a"}\n'.encode("utf-16"), suffix)
    assert good == {}
    assert bad.key == f"a.{suffix}#"
    assert "UTF-16; convert it to UTF-8" in str(bad.error)


def test_a_file_that_is_something_else_is_given_up(read):
    good, bad = read("not json\n" * 100_000)
    assert good == {}
    assert len(bad) == 101
    assert bad[-1].key == "a.jsonl#"
    assert "is it jsonl?" in str(bad[-1].error)


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_an_empty_file_has_no_records(read, suffix, content):
    assert read(content, suffix) == ({}, [])


# CSV.


def test_csv_fields_are_texts(read):
    good, bad = read("id,text,n\n1,one,7\n2,two,\n", "csv")
    assert bad == []
    assert good["1"].load().metadata == {"id": "1", "n": "7"}
    assert texts(good) == {"1": "one", "2": "two"}


def test_quoted_line_ends_quotes_and_commas(read):
    good, bad = read('id,text\r\n1,"a\r\nb"\r\n2,"say ""x"", y"\r\n3,c\r\n', "csv")
    assert bad == []
    assert texts(good) == {"1": "a\r\nb", "2": 'say "x", y', "3": "c"}
    assert good["3"].uri.endswith("#id=3")


def test_too_few_or_too_many_fields_are_refused_by_row(read):
    good, bad = read("id,text\n1,a\n2\n3,c,d\n\n4,e\n", "csv")
    assert list(good) == ["1", "4"]
    assert [entry.key for entry in bad] == ["a.csv#line-3", "a.csv#line-4"]
    assert "it has 1 fields, and the header names 2" in str(bad[0].error)
    assert bad[1].content == b"3,c,d"


def test_a_stray_quote_costs_its_row(read):
    good, bad = read('id,text\n1,"a"b\n2,c\n', "csv")
    assert list(good) == ["2"]
    assert bad[0].key == "a.csv#line-2"


def test_a_quote_that_is_never_closed_ends_the_reading(read):
    good, (bad,) = read('id,text\n1,a\n2,"b\n3,c\n4,d\n', "csv")
    assert list(good) == ["1"]
    assert bad.key == "a.csv#"
    assert "it is no CSV from line 3 on" in str(bad.error)


def test_a_quote_that_is_never_closed_is_not_read_to_the_end_of_a_large_file(read):
    good, (bad,) = read('id,text\n1,a\n2,"b\n' + ("x" * 1000 + "\n") * 20_000, "csv")
    assert list(good) == ["1"]
    assert bad.key == "a.csv#"


def test_a_csv_line_of_twenty_megabytes_is_refused_and_the_others_come(read):
    good, bad = read("id,text\n1,a\n2," + "x" * (20 << 20) + "\n3,c\n", "csv")
    assert list(good) == ["1", "3"]
    assert len(bad) == 1


def test_a_field_larger_than_the_csv_modules_limit_comes_whole(read):
    good, bad = read("id,text\n1," + "x" * (1 << 20) + "\n", "csv")
    assert bad == []
    assert len(good["1"].load().text) == 1 << 20


def test_csv_bytes_that_are_not_utf8_are_refused_by_row(read):
    good, bad = read(b"id,text\n1,caf\xe9\n2,b\n", "csv")
    assert list(good) == ["2"]
    assert bad[0].content == b"1,caf\xe9"
    assert "not UTF-8" in str(bad[0].error)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,one\n2,two\n", "its first line, the header, has no field 'id'"),
        ("id,body\n1,one\n", "the header, has no field 'text'; name one of its fields as \"text\""),
        ("id;text\n1;one\n", "has no field 'id'"),
        ("id,text,text\n1,a,b\n", "names 'text' twice"),
    ],
)
def test_a_header_that_does_not_do_is_one_error(read, content, message):
    good, (bad,) = read(content, "csv")
    assert good == {}
    assert bad.key == "a.csv#"
    assert message in str(bad.error)


def test_a_column_without_a_name_gets_one(read):
    good, _ = read(",id,text\n0,a,b\n", "csv")
    assert good["a"].load().metadata == {"column_1": "0", "id": "a"}


def test_what_a_csv_writer_wrote_is_read_back(read):
    rows = [{"id": f"{n}\n,\"'", "text": f'"{n}"\r\n\t,;\0ä🚀'} for n in range(50)]
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, ["id", "text"])
    writer.writeheader()
    writer.writerows(rows)
    good, bad = read(file.getvalue(), "csv")
    assert bad == []
    assert texts(good) == {row["id"]: row["text"] for row in rows}


def test_what_a_json_writer_wrote_is_read_back(read):
    rows = [{"id": f"{n}\n\"'\u2028", "text": f'"{n}"\r\n\0ä🚀\u2028\x85'} for n in range(50)]
    good, bad = read("".join(json.dumps(row, ensure_ascii=n % 2 == 0) + "\n" for n, row in enumerate(rows)))
    assert bad == []
    assert texts(good) == {row["id"]: row["text"] for row in rows}


# Fingerprints.


@pytest.mark.parametrize("params", [{"key": "other"}, {"text": "other"}])
def test_reading_in_another_way_makes_other_fingerprints(tmp_path, params):
    (tmp_path / "a.jsonl").write_text('{"id": "1", "other": "1", "text": "a"}\n')

    def marks(**given):
        (group,) = FilesSource(FilesParams(path=tmp_path, format="jsonl", **given)).scan()
        return group.fingerprint, next(group.members()).fingerprint

    assert all(one != two for one, two in zip(marks(), marks(**params), strict=True))


def test_a_renamed_csv_column_makes_other_fingerprints(read):
    one, _ = read("id,text,a\n1,x,y\n", "csv")
    two, _ = read("id,text,b\n1,x,y\n", "csv")
    assert one["1"].fingerprint != two["1"].fingerprint


# Files of records as a whole.


def test_an_unreadable_file_of_records_is_a_prefix(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "a"}\n')
    source, listed = FilesSource(FilesParams(path=tmp_path, format="jsonl")), Listed()
    listed.follow(source)
    refuse(monkeypatch, {str(tmp_path / "a.jsonl")})
    done = listed.follow(FilesSource(FilesParams(path=tmp_path, format="jsonl")))
    assert set(done.failed) == {"a.jsonl#"}
    assert listed.texts == ["a"]


def test_a_line_that_cannot_be_parsed_deletes_nothing_of_its_file(tmp_path):
    path = tmp_path / "a.jsonl"
    source, listed = FilesSource(FilesParams(path=tmp_path, format="jsonl")), Listed()
    path.write_text('{"id": 1, "text": "a"}\n{"id": 2, "text": "b"}\n')
    listed.follow(source)
    path.write_text('{"id": 1, "te')
    assert listed.follow(source).deleted == set()
    path.write_text('{"id": 2, "text": "b"}\n')
    assert listed.follow(source).deleted == {"a.jsonl#1"}


@pytest.mark.parametrize("change", ["append", "rewrite", "truncate", "remove"])
def test_a_file_that_changes_after_it_was_listed(tmp_path, change):
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"id": n, "text": "x"}) + "\n" for n in range(3)]
    path.write_text("".join(lines))
    (group,) = FilesSource(FilesParams(path=tmp_path, format="jsonl")).scan()
    if change == "append":
        path.write_text("".join([*lines, '{"id": 9, "text": "later"}\n']))
    elif change == "rewrite":
        path.write_text("".join(lines).replace("x", "y"))
    elif change == "truncate":
        path.write_text(lines[0])
    else:
        path.unlink()
    bad = [member for member in group.members() if isinstance(member, Unreadable)]
    assert [entry.key for entry in bad] == ([] if change == "append" else ["a.jsonl#"])
    assert all(entry.error.retryable for entry in bad)


def test_a_name_with_a_hash_is_not_below_another_file(tmp_path):
    (tmp_path / "a").write_text('{"id": "b#1", "text": "x"}\n')
    (tmp_path / "a#b").write_text('{"id": "1", "text": "y"}\n')
    listed = Listed()
    listed.follow(FilesSource(FilesParams(path=tmp_path, format="jsonl")))
    assert sorted(listed.documents) == ["a#b#1", "a%23b#1"]


def test_memory_stays_flat_however_long_the_file(tmp_path):
    """A file of 200,000 records is read within a few megabytes of what one of 1,000 takes."""
    code = (
        "import resource, sys; from pathlib import Path; from nvisy_object.files import *\n"
        "group, = FilesSource(FilesParams(path=sys.argv[1], format='jsonl')).scan()\n"
        "print(sum(1 for _ in group.members()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for count in (1_000, 200_000):
        path = tmp_path / f"{count}.jsonl"
        with path.open("w") as file:
            file.writelines(f'{{"id": {n}, "text": "{"x" * 200}"}}\n' for n in range(count))
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        read, peak = map(int, done.stdout.split())
        assert read == count
        peaks.append(peak)
    per_mb = 1 << (10 if sys.platform == "linux" else 20)
    assert (peaks[1] - peaks[0]) / per_mb < 8, peaks


def test_a_record_is_found_under_its_key_wherever_it_moves_in_its_file(read):
    record = '{"id": "a/b #1", "text": "one"}\n'
    first, _ = read(record)
    moved, _ = read('{"id": "new", "text": "zero"}\n' + record)
    assert first["a/b #1"].uri == moved["a/b #1"].uri
    assert first["a/b #1"].uri.endswith("#id=a/b%20%231")
    assert first["a/b #1"].fingerprint == moved["a/b #1"].fingerprint
