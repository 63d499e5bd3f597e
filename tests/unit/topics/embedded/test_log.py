"""What is the embedded log's own: its files, their format, a full disk, compaction. The rest is in tests/topics."""

import stat

import apsw
import pytest

from nvisy.errors import Refused, Unreachable, UsageError
from nvisy.topics.embedded import EmbeddedLog, folder
from nvisy.topics.log import Append, Seat
from tests.topics.drive import after, drain, ends, numbers, reader, records, write, writer


@pytest.fixture
def log(tmp_path):
    log = EmbeddedLog(tmp_path / "log")
    yield log
    log.close()
    log.close()


def test_the_folder_is_its_users_alone(log):
    log.create("t", 1)
    assert log.id
    for path in ("log", "log/topics"):
        assert stat.S_IMODE((log._root.parent / path).stat().st_mode) == 0o700


def test_opening_a_log_makes_nothing(tmp_path):
    log = EmbeddedLog(tmp_path / "log")
    assert log.topics() == []
    assert log.describe("t") is None
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("name", ["topics/t.db", "control.db"])
def test_a_format_of_another_version_is_refused(log, name):
    log.create("t", 1)
    assert log.id
    log.close()
    db = apsw.Connection(str(log._root / name))
    db.execute("UPDATE meta SET format = 2")
    db.close()
    with pytest.raises(Refused, match="format 2"):
        log.lag(reader("g", "t"))


def test_a_file_that_is_no_log_is_refused(log):
    log.create("t", 1)
    (log._root / "topics" / "u.db").write_bytes(b"no database, but long enough to look at" * 200)
    with pytest.raises(Refused, match=r"u\.db"):
        log.describe("u")


def test_a_topic_whose_making_was_cut_short_is_not_there_and_can_be_made(log):
    log.create("t", 1)
    (log._root / "topics" / "u.db").touch()
    assert log.describe("u") is None
    assert log.create("u", 2).partitions == 2


def test_network_file_systems_are_refused(tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(folder, "_MOUNTS", mounts)
    with pytest.raises(Refused, match="nfs4"):
        EmbeddedLog(tmp_path / "log").create("t", 1)


def test_a_full_disk_is_said_plainly_and_nothing_is_half_written(log):
    log.create("t", 1)
    log.create("other", 1)
    write(log, writer("g", "t"), records("t", [1]))
    session = log.session(writer("g", "t"))
    pages = int(session._home.db.pragma("page_count"))
    session._home.db.pragma("max_page_count", pages + 2)
    session.append([Append("t", 0, b"k%d" % n, bytes(10_000)) for n in range(50)])
    with pytest.raises(Unreachable, match="no space left"):
        session.commit({}, {"n": b"1"})
    with pytest.raises(Unreachable):
        session.commit({})
    session.close()
    again = log.session(writer("g", "t"))
    assert again.state() == {}
    again.append(records("t", [2]))
    again.commit({})
    again.close()
    assert numbers(log.scan("t")) == [1, 2]


def test_a_topic_deleted_under_a_session_is_refused(log):
    log.create("t", 1)
    session, reading = log.session(writer("g", "t")), log.session(reader("g", "t"))
    log.delete("t")
    log.create("t", 1)
    session.append(records("t", [1]))
    with pytest.raises(Refused, match="made anew"):
        session.commit({})
    with pytest.raises(Refused, match="made anew"):
        reading.poll(1, 0)
    session.close()
    reading.close()


def test_an_older_copy_of_a_topic_is_a_gap(log):
    log.create("t", 1)
    write(log, writer("g", "t"), records("t", range(10)))
    session = log.session(reader("g", "t"))
    session.commit(after(drain(log, session, "t")))
    session.close()
    db = apsw.Connection(str(log._root / "topics" / "t.db"))
    db.execute("UPDATE part SET next = 5; DELETE FROM record WHERE row >= 5")
    db.close()
    with pytest.raises(Refused, match="gap"):
        log.session(reader("g", "t"))


def test_copies_of_a_stage_share_the_partitions(log):
    log.create("t", 4)
    sessions = [log.session(Seat("g", "read", "c", ("t",), (), slot=slot, slots=2)) for slot in (0, 1)]
    mine = [{place.partition for place in session.positions()} for session in sessions]
    assert mine == [{0, 2}, {1, 3}]
    for session in sessions:
        session.close()


def test_compaction_keeps_the_last_record_of_every_key_and_partition_and_the_offsets(log):
    log.create("t", 2)
    for n in range(30):
        write(log, writer("g", "t"), [Append("t", p, b"k%d" % (n % 3), b"%d" % n) for p in (0, 1)])
    write(log, writer("g", "t"), [Append("t", 1, b"k0", None)])
    before = ends(log, "t")
    assert log.compact("t") == 27 + 28
    assert log.compact("t") == 0
    found = list(log.scan("t"))
    assert [(r.partition, r.offset, r.key) for r in found] == [
        (0, 27, b"k0"),
        (0, 28, b"k1"),
        (0, 29, b"k2"),
        (1, 28, b"k1"),
        (1, 29, b"k2"),
        (1, 30, b"k0"),
    ]
    assert ends(log, "t") == before
    assert log.read("t", 0, 5) is None
    session = log.session(reader("g", "t"))
    assert drain(log, session, "t") == found
    session.close()
    write(log, writer("g", "t"), records("t", [99]))
    assert next(iter(log.scan("t", {0: 30, 1: 31}))).offset == 30


def test_compaction_never_reuses_the_offset_of_the_newest_record(log):
    log.create("t", 1)
    write(log, writer("g", "t"), [Append("t", 0, b"k", b"1"), Append("t", 0, b"k", b"2")])
    log.compact("t")
    write(log, writer("g", "t"), [Append("t", 0, b"k", b"3")])
    assert [(r.offset, r.value) for r in log.scan("t")] == [(1, b"2"), (2, b"3")]


def test_a_page_is_bounded_by_its_bytes(log):
    log.create("t", 1)
    write(log, writer("g", "t"), [Append("t", 0, b"k", bytes(3_000_000)) for _ in range(5)])
    session = log.session(reader("g", "t"))
    assert [len(session.poll(1_000, 1)) for _ in range(3)] == [2, 2, 1]
    session.close()


def test_a_stage_that_moves_its_home_shuts_out_whoever_writes_the_old_one(log):
    log.create("a", 1)
    log.create("b", 1)
    old = log.session(writer("g", "a"))
    old.commit({}, {"n": b"1"})
    new = log.session(writer("g", "b"))
    assert new.state() == {"n": b"1"}
    with pytest.raises(Refused):
        old.commit({}, {"n": b"2"})
    assert new.state() == {"n": b"1"}
    old.close()
    new.close()


def test_no_other_host_can_join_a_graph(tmp_path):
    with pytest.raises(UsageError, match="NVISY_LOG=kafka"):
        EmbeddedLog(tmp_path).join("g", "alpha:1", "c")
