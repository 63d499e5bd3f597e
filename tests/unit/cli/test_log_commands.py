"""`nvisy topics` and `nvisy dlq`, on an embedded log."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from nvisy.cli import output
from nvisy.codec.codec import Codec
from nvisy.codec.registry import open_registry
from nvisy.primitives import Change, Document, Provenance
from nvisy.primitives.provenance import Version
from nvisy.runtime import dead_letters
from nvisy.runtime.flight import Failure, Flight, Ticket
from nvisy.runtime.settings import Settings
from nvisy.topics.log import Append, Seat, TopicPartition
from tests.unit.cli.conftest import Call


def append(topic: str, records: Sequence[Append], partitions: int = 1) -> None:
    log = Settings.from_environ().open_log()
    log.create(topic, partitions)
    session = log.session(Seat("docs", topic, "c", (), (topic,)))
    session.append(records)
    session.commit({})
    session.close()
    log.close()


@pytest.fixture
def filled(nvisy: Call) -> None:
    """A topic with a change, a delete, a tombstone, text, and bytes that are nothing."""
    settings = Settings.from_environ()
    codec = Codec(open_registry({}, settings.state))
    topic = "docs.files"
    origin = Provenance("files", "a.md", "file:///a.md")
    change = Change(origin, "upsert", (Document(text="alpha"),))
    values = [
        (change.message_key, codec.encode_change(change, topic, inc=1)),
        (
            b"files/gone.md",
            codec.encode_change(Change(replace(origin, key="gone.md"), "delete"), topic, inc=1),
        ),
        (b"files/b.md", None),
        (b"files/c.md", b"\x1b[31mplain text"),
        (b"files/d.md", b"\xff\xfe\x00"),
    ]
    append(topic, [Append(topic, 0, key, value) for key, value in values])


@pytest.fixture
def letter(nvisy: Call) -> None:
    """One open dead letter and one that was closed."""
    entry = failed(b"%PDF\x1b[31m\xff", "the file is damaged")
    other = Append("docs.dlq", 0, b"text/docs.embed/files/gone.pdf", b"x")
    closed = dead_letters.closing("docs", other.key, "resolved", 1)
    append("docs.dlq", [entry, other, closed])


def failed(content: bytes, message: str) -> Append:
    """The record of a dead letter."""
    origin = Provenance("files", "bad.pdf", "file:///bad.pdf", Version(1, 7), run="run1")
    failure = Failure("text", "decode", message, attempts=1)
    ticket = Ticket(TopicPartition("docs.files", 0), 7)
    flight = Flight(Change(origin), ticket, content, failure)
    return dead_letters.entry("docs", "text", "docs.embed", flight, 1)


def test_a_log_without_topics_says_so_and_makes_nothing(nvisy: Call, tmp_path: Path) -> None:
    assert nvisy("topics", "list").out.startswith("no topics on embedded:")
    assert nvisy("topics", "list", "--json").json() == []
    assert not (tmp_path / ".nvisy").exists()


@pytest.mark.usefixtures("filled")
def test_topics_are_listed_with_their_size(nvisy: Call) -> None:
    assert nvisy("topics", "list").out.splitlines()[1].split() == ["docs.files", "1", "5"]
    assert nvisy("topics", "list", "--json").json()[0]["end"] == {"0": 5}


@pytest.mark.usefixtures("filled")
def test_records_are_decoded_and_what_cannot_be_is_shown_as_such(nvisy: Call) -> None:
    ended = nvisy("topics", "read", "docs.files", "--json")
    change, delete, tombstone, text, unknown = (json.loads(line) for line in ended.out.splitlines())
    assert (change["key"], change["op"], change["version"]) == ("files/a.md", "upsert", [1, 0])
    assert change["items"][0]["type"] == "Document"
    assert (delete["key"], delete["op"], delete["items"]) == ("files/gone.md", "delete", [])
    assert tombstone["op"] == "tombstone"
    assert text["text"] == "\x1b[31mplain text"
    assert (unknown["bytes"], bool(unknown["undecodable"])) == (3, True)


@pytest.mark.usefixtures("filled")
def test_what_is_read_cannot_drive_the_terminal(nvisy: Call) -> None:
    ended = nvisy("topics", "read", "docs.files")
    assert ended.code == 0
    assert "\x1b" not in ended.out
    assert "\\x1b[31mplain text" in ended.out


@pytest.mark.usefixtures("filled")
def test_reading_stops_at_the_limit(nvisy: Call) -> None:
    assert len(nvisy("topics", "read", "docs.files", "--limit", "2", "--json").out.splitlines()) == 2


def test_a_topic_that_is_not_there_is_wrong_usage(nvisy: Call) -> None:
    assert nvisy("topics", "read", "nowhere").code == 2


@pytest.mark.usefixtures("letter")
def test_open_dead_letters_are_listed(nvisy: Call, graph: Path) -> None:
    head, line = nvisy("dlq", "list", graph).out.splitlines()
    assert head.split() == ["id", "when", "node", "kind", "key", "message"]
    assert line.startswith("0-0 ")
    assert line.endswith("text  decode  bad.pdf  the file is damaged")
    (listed,) = nvisy("dlq", "list", graph, "--json").json()
    assert (listed["id"], listed["key"], listed["version"]) == ("0-0", "bad.pdf", [1, 7])


@pytest.mark.usefixtures("letter")
def test_a_dead_letter_is_shown_once_over_and_its_bytes_cannot_drive_the_terminal(
    nvisy: Call, graph: Path
) -> None:
    ended = nvisy("dlq", "show", graph, "0-0")
    facts = dict(line.split(maxsplit=1) for line in ended.out.split("\n\n")[0].splitlines())
    assert (facts["document"], facts["kind"]) == ("bad.pdf of files", "decode")
    assert facts["attempts"] == "1; the same bytes would fail again"
    assert facts["read"] == "from  docs.files/0/7, by the stage text"
    assert ended.out.count("the file is damaged") == ended.out.count("decode") == 1
    assert "the 10 bytes that failed, which are no text\n000000  25 50 44 46 1b 5b 33 31 6d ff" in ended.out
    assert ended.out.endswith(" %PDF.[31m.\n")
    assert "\x1b" not in ended.out
    shown = nvisy("dlq", "show", graph, "0-0", "--json").json()
    assert base64.b64decode(shown["original_base64"]) == b"%PDF\x1b[31m\xff"
    assert shown["headers"]["__connect.errors.topic"] == "docs.files"


def test_of_bytes_that_are_no_text_the_first_are_dumped(nvisy: Call, graph: Path) -> None:
    append("docs.dlq", [failed(bytes(range(256)) * 4, "damaged")])
    ended = nvisy("dlq", "show", graph, "0-0")
    _, dump = ended.out.split("\n\n")
    head, *lines, last = dump.splitlines()
    assert (head, last) == (
        "the 1,024 bytes that failed, which are no text",
        "… 768 more bytes; --json has them all",
    )
    assert len(lines) == 16
    assert lines[4] == "000040  40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f  @ABCDEFGHIJKLMNO"


def test_of_a_long_text_the_beginning_is_shown(nvisy: Call, graph: Path) -> None:
    append("docs.dlq", [failed(("é" * 3000).encode(), "too long")])
    shown = nvisy("dlq", "show", graph, "0-0").out
    assert "the 6,000 bytes that failed\n" + "é" * 2000 + "\n… 2,000 more bytes" in shown


def test_a_long_message_is_cut_on_a_terminal_only(
    nvisy: Call, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append("docs.dlq", [failed(b"x", "a word\n" * 40)])
    assert nvisy("dlq", "list", graph).out.count("a word") == 40
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    assert nvisy("dlq", "list", graph).out.endswith("…\n")


@pytest.mark.usefixtures("letter")
@pytest.mark.parametrize("command", ["list", "drop", "replay"])
def test_nodes_and_kinds_that_are_not_there_are_named_with_those_that_are(
    nvisy: Call, graph: Path, command: str
) -> None:
    ended = nvisy("dlq", command, graph, "--node", "txt")
    assert ended.code == 2
    assert "no node 'txt'; there are: files, text, chunk, embed, index" in ended.err
    ended = nvisy("dlq", command, graph, "--kind", "timeout")
    assert (ended.code, "is of kind 'timeout'; there are: decode\n" in ended.err) == (2, True)


@pytest.mark.usefixtures("letter")
def test_a_dead_letter_that_was_closed_is_not_shown(nvisy: Call, graph: Path) -> None:
    ended = nvisy("dlq", "show", graph, "1-0")
    assert ended.code == 2
    assert "no open dead letter 1-0" in ended.err


def test_a_graph_that_never_ran_has_no_dead_letters(nvisy: Call, graph: Path, tmp_path: Path) -> None:
    assert nvisy("dlq", "list", graph).out == "no dead letters\n"
    assert not (tmp_path / ".nvisy").exists()


@pytest.mark.usefixtures("letter")
def test_dead_letters_are_filtered(nvisy: Call, graph: Path) -> None:
    for found in (["--node", "text"], ["--kind", "decode", "--not-retryable"], ["--newer-than", "1h"]):
        assert len(nvisy("dlq", "list", graph, *found).out.splitlines()) == 2
    for none in (["--node", "embed"], ["--retryable"], ["--older-than", "1h"], ["--key", "other"]):
        assert nvisy("dlq", "list", graph, *none).out == "no such dead letters\n"
    assert nvisy("dlq", "list", graph, "--older-than", "soon").code == 2


@pytest.mark.usefixtures("letter")
def test_dead_letters_are_dropped_by_whoever_holds_the_graph(nvisy: Call, graph: Path) -> None:
    ended = nvisy("dlq", "drop", graph, "0-0")
    assert (ended.code, ended.out) == (0, "0-0  bad.pdf  dropped\n")
    assert nvisy("dlq", "list", graph).out == "no dead letters\n"
    assert nvisy("dlq", "drop", graph, "0-0").code == 2
    assert nvisy("dlq", "drop", graph, "--all").out == "no such dead letters\n"


@pytest.mark.usefixtures("letter")
@pytest.mark.parametrize("command", ["drop", "replay"])
def test_which_letters_are_meant_has_to_be_said(nvisy: Call, graph: Path, command: str) -> None:
    for arguments in ([], ["--all", "0-0"], ["--all", "--node", "text"]):
        ended = nvisy("dlq", command, graph, *arguments)
        assert ended.code == 2
        assert "say which dead letters are meant" in ended.err
    assert len(nvisy("dlq", "list", graph, "--json").json()) == 1


def test_the_status_of_a_graph_that_never_ran(nvisy: Call, graph: Path, tmp_path: Path) -> None:
    ended = nvisy("status", graph)
    assert ended.code == 0
    assert ended.out.splitlines()[0].endswith("is not being run")
    assert nvisy("status", graph, "--json").json()["stages"][0]["state"] == "idle"
    assert not (tmp_path / ".nvisy").exists()
