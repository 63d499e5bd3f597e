"""The tests that every sink has to pass: what `nvisy.connector.sink` promises, one named test per promise.

A connector's test is a subclass with one fixture; with a second one if its collections have generations::

    class TestSqlite(GenerationConformance):
        descriptor = DESCRIPTOR
        drivers = ("apsw",)

        @pytest.fixture
        def make_sink(self, tmp_path):
            params = SqliteParams(path=tmp_path / "index.db", collection="docs")
            return lambda: SqliteSink(params)

        @pytest.fixture
        def make_generation(self, make_sink, tmp_path):
            params = SqliteParams(path=tmp_path / "index.db", collection="docs")
            return lambda number: SqliteSink(params, number)

Tests are not overridden: a connector that cannot keep a promise says so with `xfail` and a reason.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from nvisy.connector.descriptor import SinkDescriptor
from nvisy.connector.sink import Hit, Outcome, Owner, RecordSet, Sink, Writer
from nvisy.errors import Fatal, Refused
from nvisy.expressions.filter import parse_filter
from nvisy.primitives.primitive import MetadataValue
from nvisy.testing.filter_cases import FOUND, RECORDS
from nvisy.testing.records import (
    DIMENSIONS,
    LANE,
    MODEL,
    OWNER,
    make_record,
    make_set,
    set_of,
    vector_of,
    version,
    with_vector,
)

MakeSink = Callable[[], Sink]
MakeGeneration = Callable[[int], Sink]

TOKEN = 7
OTHER_LOG = replace(OWNER, log="log-2")
SEVEN = [f"passage number {number} of the document" for number in range(7)]


class SinkConformance:
    """Subclass it, set the attributes, and give `make_sink`.

    Attributes:
        descriptor: What the catalogue gets; its module is imported alone to see that it loads no driver.
        drivers: Modules that importing the descriptor must not load.
        secrets: Strings that must not show in the repr of a sink or of its parameters.
        many: Documents of five records in the tests that need more than a page of them.
    """

    descriptor: ClassVar[SinkDescriptor]
    drivers: ClassVar[Sequence[str]] = ()
    secrets: ClassVar[Sequence[str]] = ()
    many: ClassVar[int] = 450

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a subclass that weakens a test."""
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            is_promise = name.startswith("test_") and any(hasattr(base, name) for base in cls.__bases__)
            if is_promise and not _is_excused(value):
                message = f"{cls.__name__}.{name} overrides a conformance test: mark it xfail, with a reason"
                raise TypeError(message)

    @pytest.fixture
    def make_sink(self) -> MakeSink:
        """A factory: every call gives a new sink over the same target, empty when the test starts."""
        raise NotImplementedError("the subclass gives it: only a connector knows how its sink is made")

    @pytest.fixture
    def sink(self, make_sink: MakeSink) -> Sink:
        """A sink whose collection has just been made."""
        sink = make_sink()
        sink.prepare(OWNER)
        return sink

    @pytest.fixture
    def writer(self, sink: Sink) -> Iterator[Writer]:
        """A writer into that collection."""
        with closing(sink.open(TOKEN)) as writer:
            yield writer

    # What is written can be read.

    def test_starts_empty(self, sink: Sink) -> None:
        """A new collection holds nothing."""
        assert read(sink) == []
        assert search(sink, "anything", 3) == []

    def test_write_then_read(self, sink: Sink, writer: Writer) -> None:
        """Every field of a record comes back as it went in."""
        document = make_set("a.md", ["one", "two"], metadata={"team": "core"})
        assert writer.apply([document]) == [Outcome(written=2)]
        hits = read(sink)
        assert [(h.id, h.key, h.text, h.source_uri, h.span) for h in hits] == [
            (r.id, "a.md", r.text, r.source_uri, r.span) for r in document.records
        ]
        assert all(hit.metadata == {"team": "core"} for hit in hits)
        assert all(hit.score is None for hit in hits)

    def test_lineage_comes_back(self, sink: Sink, writer: Writer) -> None:
        """A record leads back to its document, the version of it, and the configuration that made it."""
        document = make_set("a.md", ["one"], offset=9)
        writer.apply([document])
        record = document.records[0]
        assert read(sink)[0].lineage == {
            "lane": document.lane,
            "source": "files",
            "version": version(9),
            "content_hash": record.content_hash,
            "steps": record.steps,
            "model": MODEL,
            "run": "run-1",
            "observed_at": "2025-10-09T08:53:20.123456Z",
            "topic": "docs.files",
            "partition": 3,
        }

    def test_metadata_keeps_its_types(self, sink: Sink, writer: Writer) -> None:
        """Each type of value that metadata may have survives."""
        metadata: dict[str, MetadataValue] = {
            "s": "ä",
            "i": 7,
            "f": 1.5,
            "yes": True,
            "no": False,
            "none": None,
            "list": ["x", "y"],
            "e": "",
        }
        writer.apply([make_set("a.md", ["one"], metadata=metadata)])
        back = read(sink)[0].metadata
        assert back == metadata
        assert {name: type(value) for name, value in back.items()} == {
            n: type(v) for n, v in metadata.items()
        }

    def test_any_text_and_any_key(self, sink: Sink, writer: Writer) -> None:
        """Quotes, wildcards, line ends and characters beyond the first plane are nothing special."""
        keys = ["it's", 'a "b"', "100%_", "ordner/über.md", "日本/🚀", "back\\slash", "a\nb", "x" * 900]
        writer.apply([make_set(key, [f"text of {key}"], offset=n) for n, key in enumerate(keys, 1)])
        assert sorted(hit.key for hit in read(sink)) == sorted(keys)
        for key in keys:
            assert [hit.text for hit in read(sink, key)] == [f"text of {key}"]

    def test_an_empty_batch_is_fine(self, writer: Writer) -> None:
        """No sets, no outcomes."""
        assert list(writer.apply([])) == []

    def test_survives_reopen(self, make_sink: MakeSink) -> None:
        """What `apply` returned for is there for the next process."""
        sink = make_sink()
        sink.prepare(OWNER)
        with closing(sink.open(TOKEN)) as writer:
            writer.apply([make_set("a.md", ["one"])])
        assert texts(make_sink()) == {"one"}

    # A set replaces what the key had.

    def test_same_batch_twice_is_once(self, sink: Sink, writer: Writer) -> None:
        """A repeat after a crash writes nothing."""
        batch = [make_set("a.md", ["one", "two"]), make_set("b.md", ["three"])]
        writer.apply(batch)
        assert writer.apply(batch) == [Outcome(unchanged=2), Outcome(unchanged=1)]
        assert texts(sink) == {"one", "two", "three"}
        assert len(read(sink)) == 3

    def test_overwrite_by_key(self, sink: Sink, writer: Writer) -> None:
        """A newer version takes the place of the older one."""
        writer.apply([make_set("a.md", ["old"], offset=1)])
        assert writer.apply([make_set("a.md", ["new"], offset=2)]) == [Outcome(written=1, removed=1)]
        assert texts(sink) == {"new"}

    def test_shrinking_leaves_no_orphans(self, sink: Sink, writer: Writer) -> None:
        """Seven passages that became five are five."""
        writer.apply([make_set("a.md", SEVEN, offset=1)])
        assert writer.apply([make_set("a.md", SEVEN[:5], offset=2)]) == [Outcome(removed=2, unchanged=5)]
        assert texts(sink) == set(SEVEN[:5])

    def test_every_set_of_a_batch_is_written(self, sink: Sink, writer: Writer) -> None:
        """New, changed, unchanged and deleted documents in one batch, each as it should be."""
        writer.apply([make_set(key, [f"{key} one", f"{key} two"], offset=1) for key in "abc"])
        batch = [
            make_set("a", ["a one", "a two"], offset=2),
            make_set("b", ["b one", "b new"], offset=3),
            make_set("c", offset=4),
            make_set("d", ["d one"], offset=5),
        ]
        assert writer.apply(batch) == [
            Outcome(unchanged=2),
            Outcome(written=1, removed=1, unchanged=1),
            Outcome(removed=2),
            Outcome(written=1),
        ]
        assert texts(sink) == {"a one", "a two", "b one", "b new", "d one"}

    def test_kept_records_are_not_rewritten(self, sink: Sink, writer: Writer) -> None:
        """Text inserted at the top moves what is below it: the vectors stay, the new places are stored."""
        writer.apply([make_set("a.md", SEVEN, offset=1)])
        assert writer.apply([make_set("a.md", SEVEN, offset=2, shift=33)]) == [Outcome(unchanged=7)]
        assert [hit.span and hit.span.start for hit in read(sink)][:1] == [33]

    def test_only_the_changed_vector_is_written(self, sink: Sink, writer: Writer) -> None:
        """The same id with another vector is an upsert of that record alone."""
        document = make_set("a.md", SEVEN, offset=1)
        writer.apply([document])
        other = vector_of("something else")
        changed = with_vector(replace(document, version=version(2)), 3, other)
        assert writer.apply([changed]) == [Outcome(written=1, unchanged=6)]
        best = search(sink, other, 1)[0]
        assert best.id == document.records[3].id

    # Deletes.

    def test_delete(self, sink: Sink, writer: Writer) -> None:
        """An empty set takes out what the key had, and nothing else."""
        writer.apply([make_set("a.md", SEVEN, offset=1), make_set("b.md", ["b"], offset=2)])
        assert writer.apply([make_set("a.md", offset=3)]) == [Outcome(removed=7)]
        assert texts(sink) == {"b"}

    def test_delete_missing_is_fine(self, sink: Sink, writer: Writer) -> None:
        """A delete of what was never there does nothing, twice."""
        assert writer.apply([make_set("a.md", offset=1)]) == [Outcome()]
        assert writer.apply([make_set("a.md", offset=2)]) == [Outcome()]
        assert read(sink) == []

    def test_a_deleted_key_may_come_back(self, sink: Sink, writer: Writer) -> None:
        """A newer upsert after a delete is an upsert."""
        for offset, passages in enumerate((["one"], [], ["one"]), 1):
            writer.apply([make_set("a.md", passages, offset=offset)])
        assert texts(sink) == {"one"}

    # Never back.

    def test_an_older_version_is_superseded(self, sink: Sink, writer: Writer) -> None:
        """Whatever the order of arrival, the highest version stays."""
        writer.apply([make_set("a.md", ["new"], offset=2)])
        assert writer.apply([make_set("a.md", ["old"], offset=1)]) == [Outcome(superseded=True)]
        assert texts(sink) == {"new"}

    def test_a_version_without_changes_counts(self, sink: Sink, writer: Writer) -> None:
        """A newer version with the same content still refuses the one before it."""
        writer.apply([make_set("a.md", ["same"], offset=1)])
        writer.apply([make_set("a.md", ["same"], offset=3)])
        assert writer.apply([make_set("a.md", ["other"], offset=2)]) == [Outcome(superseded=True)]
        assert texts(sink) == {"same"}

    def test_a_shrink_counts(self, sink: Sink, writer: Writer) -> None:
        """A version that only removed something refuses the one before it."""
        writer.apply([make_set("a.md", ["one", "two"], offset=1)])
        writer.apply([make_set("a.md", ["one"], offset=3)])
        assert writer.apply([make_set("a.md", ["one", "two"], offset=2)]) == [Outcome(superseded=True)]
        assert texts(sink) == {"one"}

    def test_a_remembered_delete_refuses_an_older_upsert(self, make_sink: MakeSink) -> None:
        """A delete is remembered when nothing of the key is left, also by the next process."""
        sink = make_sink()
        sink.prepare(OWNER)
        with closing(sink.open(TOKEN)) as writer:
            writer.apply([make_set("a.md", ["one"], offset=1)])
            writer.apply([make_set("a.md", offset=3)])
        sink = make_sink()
        sink.prepare(OWNER)
        with closing(sink.open(TOKEN + 1)) as writer:
            assert writer.apply([make_set("a.md", ["two"], offset=2)]) == [Outcome(superseded=True)]
        assert read(sink) == []

    def test_a_higher_incarnation_wins_over_any_offset(self, sink: Sink, writer: Writer) -> None:
        """Versions compare as whole numbers up to 2^53, by incarnation first."""
        writer.apply([make_set("a.md", ["old"], offset=2**36 - 1)])
        newer = replace(make_set("a.md", ["new"]), version=version(0, inc=2))
        assert writer.apply([newer]) == [Outcome(written=1, removed=1)]
        top = replace(make_set("a.md", ["top"]), version=2**53 - 2)
        assert writer.apply([top]) == [Outcome(written=1, removed=1)]
        assert writer.apply([replace(newer, version=2**53 - 3)]) == [Outcome(superseded=True)]
        assert texts(sink) == {"top"}

    def test_an_equal_version_with_other_content_replaces(self, sink: Sink, writer: Writer) -> None:
        """The graph was edited and the same version read again: the later one in the log wins."""
        writer.apply([make_set("a.md", ["by the old graph"], offset=1)])
        writer.apply([make_set("a.md", ["by the new graph"], offset=1)])
        assert texts(sink) == {"by the new graph"}

    def test_two_lanes_do_not_touch_each_other(self, sink: Sink, writer: Writer) -> None:
        """The same key from two sources is two documents."""
        writer.apply([make_set("a.md", ["left"], lane="left"), make_set("a.md", ["right"], lane="right")])
        writer.apply([make_set("a.md", lane="left", offset=2)])
        assert texts(sink) == {"right"}
        assert writer.apply([make_set("a.md", ["right two"], lane="right", offset=2)])[0].written == 1

    # Fencing.

    def test_a_newer_token_fences_the_old_writer(self, make_sink: MakeSink) -> None:
        """A run that was taken over can write nothing more."""
        sink = make_sink()
        sink.prepare(OWNER)
        with closing(sink.open(TOKEN)) as old, closing(make_sink().open(TOKEN + 1)) as new:
            new.apply([make_set("a.md", ["new"], offset=1)])
            with pytest.raises(Refused):
                old.apply([make_set("a.md", ["zombie"], offset=2)])
            assert texts(sink) == {"new"}

    def test_a_lower_token_cannot_open(self, make_sink: MakeSink) -> None:
        """A run that was taken over before it began to write is refused at once."""
        sink = make_sink()
        sink.prepare(OWNER)
        sink.open(TOKEN).close()
        with pytest.raises(Refused):
            make_sink().open(TOKEN - 1)

    def test_two_writers_may_share_a_token(self, make_sink: MakeSink) -> None:
        """The workers of one run write side by side."""
        sink = make_sink()
        sink.prepare(OWNER)
        with closing(sink.open(TOKEN)) as one, closing(make_sink().open(TOKEN)) as two:
            one.apply([make_set("a.md", ["one"])])
            two.apply([make_set("b.md", ["two"])])
            one.apply([make_set("c.md", ["three"])])
        assert texts(sink) == {"one", "two", "three"}

    # Heads.

    def test_a_head_tells_the_highest_version(self, sink: Sink, writer: Writer) -> None:
        """Of an upsert, a delete, and a version that changed nothing; what was superseded does not lower it."""
        assert writer.head(LANE, "a.md") is None
        for offset, passages in ((1, ["one"]), (3, ["one"]), (2, ["late"]), (5, []), (6, []), (4, ["late"])):
            writer.apply([make_set("a.md", passages, offset=offset), make_set("b.md", ["b"], offset=9)])
            expected = version({2: 3, 4: 6}.get(offset, offset))
            assert writer.head(LANE, "a.md") == expected
        assert writer.head(LANE, "b.md") == version(9)

    def test_a_head_is_one_lanes_and_exact(self, make_sink: MakeSink) -> None:
        """The next process reads it to the last digit, and another lane's is not taken for it."""
        sink = make_sink()
        sink.prepare(OWNER)
        with closing(sink.open(TOKEN)) as writer:
            writer.apply([replace(make_set("a.md", ["one"]), version=2**53 - 3)])
        with closing(make_sink().open(TOKEN)) as writer:
            assert writer.head(LANE, "a.md") == 2**53 - 3
            assert writer.head("other", "a.md") is None
            assert writer.head(LANE, "A.md") is None

    def test_no_head_of_a_set_that_was_faulty(self, sink: Sink, writer: Writer) -> None:
        """What was not stored leaves the head where it was; a key that no store can hold has none."""
        writer.apply([bad_set("nan")])
        assert writer.head(LANE, "bad.md") is None
        assert writer.head(LANE, "half \ud800") is None
        writer.apply([make_set("bad.md", ["former"], offset=1)])
        writer.apply([bad_set("nan")])
        assert writer.head(LANE, "bad.md") == version(1)

    def test_a_set_without_records_is_a_stamp(self, sink: Sink, writer: Writer) -> None:
        """In a lane of its own it holds nothing but a version, which rises although the digest stays."""
        for offset in (1, 2, 7):
            batch = [make_set("stamp", lane="stamps", offset=offset), make_set("a.md", ["a"], offset=offset)]
            writer.apply(batch)
            assert writer.head("stamps", "stamp") == version(offset)
        assert texts(sink) == {"a"}
        assert sorted(writer.lanes()) == sorted([LANE, "stamps"])

    def test_lanes_are_all_that_anything_is_known_of(self, sink: Sink, writer: Writer) -> None:
        """Those with records, and those with a remembered delete alone; each once."""
        assert list(writer.lanes()) == []
        writer.apply([make_set(key, [key], lane=lane) for lane in ("left", "right") for key in "abc"])
        writer.apply([make_set("a", lane="gone")])
        assert sorted(writer.lanes()) == ["gone", "left", "right"]

    # Sweeping.

    def test_a_sweep_removes_what_is_lower(self, sink: Sink, writer: Writer) -> None:
        """Records and heads of keys below, remembered deletes too; what is at the version or above stays."""
        writer.apply([make_set(f"{n}.md", [f"{n} one", f"{n} two"], offset=n) for n in range(1, 6)])
        writer.apply([make_set("1.md", offset=2)])
        assert writer.sweep(LANE, version(4)) == 4
        assert texts(sink) == {"4 one", "4 two", "5 one", "5 two"}
        heads = [writer.head(LANE, f"{n}.md") for n in range(1, 6)]
        assert heads == [None, None, None, version(4), version(5)]

    def test_a_sweep_goes_by_the_head(self, sink: Sink, writer: Writer) -> None:
        """A key that was confirmed without a change stays whole, whichever version wrote its records."""
        writer.apply([make_set(key, SEVEN, offset=1) for key in ("same", "shrunk", "grown", "moved")])
        writer.apply([make_set("same", SEVEN, offset=9), make_set("shrunk", SEVEN[:3], offset=9)])
        writer.apply(
            [make_set("grown", [*SEVEN, "more"], offset=9), make_set("moved", SEVEN, offset=9, shift=5)]
        )
        assert writer.sweep(LANE, version(9)) == 0
        assert [len(read(sink, key)) for key in ("same", "shrunk", "grown", "moved")] == [7, 3, 8, 7]

    def test_a_sweep_keeps_to_its_lane(self, sink: Sink, writer: Writer) -> None:
        """Another lane's keys of the same name stay, and an emptied lane is none any more."""
        writer.apply([make_set("a.md", [lane], lane=lane) for lane in ("left", "right")])
        assert writer.sweep("left", version(2)) == 1
        assert texts(sink) == {"right"}
        assert writer.head("right", "a.md") == version(1)
        assert list(writer.lanes()) == ["right"]

    def test_a_sweep_takes_many_keys(self, sink: Sink, writer: Writer) -> None:
        """More than a page of them, none twice and none left."""
        write_many(writer, self.many)
        kept = [f"{n:05}.md" for n in range(0, self.many, 3)]
        writer.apply([make_set(key, [key], offset=2) for key in kept])
        assert writer.sweep(LANE, version(2)) == (self.many - len(kept)) * 5
        assert texts(sink) == set(kept)
        heads = [writer.head(LANE, f"{n:05}.md") for n in range(self.many)]
        assert heads == [None if n % 3 else version(2) for n in range(self.many)]

    def test_a_sweep_twice_is_once(self, sink: Sink, writer: Writer) -> None:
        """A repeat finds nothing, as does the sweep of a lane that there is not."""
        writer.apply([make_set("a.md", ["one"], offset=1), make_set("b.md", ["two"], offset=2)])
        assert [writer.sweep(LANE, version(2)) for _ in range(3)] == [1, 0, 0]
        assert writer.sweep("no lane", version(2)) == 0
        assert texts(sink) == {"two"}

    def test_a_swept_key_may_come_back(self, sink: Sink, writer: Writer) -> None:
        """With what it had before, in an older version even: nothing of it is remembered."""
        writer.apply([make_set("a.md", SEVEN, offset=3), make_set("b.md", offset=3)])
        writer.sweep(LANE, version(4))
        batch = [make_set("a.md", SEVEN, offset=1), make_set("b.md", ["b"], offset=1)]
        assert writer.apply(batch) == [Outcome(written=7), Outcome(written=1)]
        assert texts(sink) == {*SEVEN, "b"}
        assert writer.head(LANE, "a.md") == version(1)

    def test_a_newer_token_fences_a_sweep(self, make_sink: MakeSink) -> None:
        """A run that was taken over removes nothing more, be there anything to remove or not."""
        sink = make_sink()
        sink.prepare(OWNER)
        with closing(sink.open(TOKEN)) as old, closing(make_sink().open(TOKEN + 1)) as new:
            new.apply([make_set("a.md", ["new"], offset=1)])
            for lane in (LANE, "no lane"):
                with pytest.raises(Refused):
                    old.sweep(lane, version(5))
            assert texts(sink) == {"new"}
            assert new.head(LANE, "a.md") == version(1)

    # Bad data.

    @pytest.mark.parametrize("bad", ["nan", "infinite", "long", "short", "twice", "surrogate", "metadata"])
    def test_a_bad_set_is_a_fault_and_the_others_are_applied(
        self, sink: Sink, writer: Writer, bad: str
    ) -> None:
        """One document that cannot be stored keeps its former version, and holds up no other."""
        writer.apply([make_set("bad.md", ["former"], offset=1)])
        batch = [make_set(f"{n}.md", [f"good {n}"], offset=n) for n in range(2, 7)]
        batch.insert(2, bad_set(bad))
        outcomes = writer.apply(batch)
        assert [outcome.fault is not None for outcome in outcomes] == [
            False,
            False,
            True,
            False,
            False,
            False,
        ]
        assert "bad.md" in str(outcomes[2].fault)
        assert texts(sink) == {"former", *(f"good {n}" for n in range(2, 7))}

    def test_a_faulty_version_may_be_mended(self, sink: Sink, writer: Writer) -> None:
        """A rejected version leaves no trace: the same version without its fault is applied."""
        writer.apply([bad_set("nan")])
        assert writer.apply([make_set("bad.md", ["mended"], offset=99)]) == [Outcome(written=1)]
        assert texts(sink) == {"mended"}

    # The collection.

    def test_prepare_twice_keeps_the_collection(self, make_sink: MakeSink) -> None:
        """The second time verifies, and gives the same id."""
        first = make_sink().prepare(OWNER)
        with closing(make_sink().open(TOKEN)) as writer:
            writer.apply([make_set("a.md", ["one"])])
        assert make_sink().prepare(OWNER) == first
        assert texts(make_sink()) == {"one"}

    @pytest.mark.parametrize("other", [{"graph": "other-graph"}, {"log": "other-log"}])
    def test_another_owner_is_refused(self, make_sink: MakeSink, other: dict[str, str]) -> None:
        """A collection of another graph or log is not touched, and the message names both."""
        make_sink().prepare(OWNER)
        with pytest.raises(Refused) as refused:
            make_sink().prepare(replace(OWNER, **other))  # type: ignore[arg-type]
        for name in (*other.values(), getattr(OWNER, next(iter(other)))):
            assert name in str(refused.value)

    def test_another_log_is_told_how_to_adopt(self, make_sink: MakeSink) -> None:
        """Whoever moved to a new log finds the way on in the message."""
        make_sink().prepare(OWNER)
        with pytest.raises(Refused, match="--adopt"):
            make_sink().prepare(OTHER_LOG)

    def test_an_adopted_collection_stays_as_it_is(self, make_sink: MakeSink) -> None:
        """Its id, records and heads; from then on it is the new log's, without saying so again."""
        first = make_sink().prepare(OWNER)
        with closing(make_sink().open(TOKEN)) as writer:
            writer.apply([make_set("a.md", ["one"], offset=5)])
        assert make_sink().prepare(OTHER_LOG, adopt=True) == first
        assert make_sink().prepare(OTHER_LOG) == first
        with pytest.raises(Refused):
            make_sink().prepare(OWNER)
        with closing(make_sink().open(TOKEN)) as writer:
            assert writer.head(LANE, "a.md") == version(5)
            assert writer.apply([make_set("a.md", ["one"], offset=6)]) == [Outcome(unchanged=1)]
        assert texts(make_sink()) == {"one"}

    def test_adopting_ends_the_former_logs_writers(self, make_sink: MakeSink) -> None:
        """Tokens are counted by a log: a low one of the new log may write, a high one of the former may not."""
        make_sink().prepare(OWNER)
        with closing(make_sink().open(TOKEN)) as former:
            former.apply([make_set("a.md", ["one"])])
            make_sink().prepare(OTHER_LOG, adopt=True)
            with closing(make_sink().open(1)) as writer:
                for call in (
                    lambda: former.apply([make_set("b.md", ["b"])]),
                    lambda: former.sweep(LANE, version(9)),
                ):
                    with pytest.raises(Refused):
                        call()
                writer.apply([make_set("c.md", ["three"])])
                assert texts(make_sink()) == {"one", "three"}
                assert writer.sweep(LANE, version(9)) == 2

    def test_adopting_what_is_ours_changes_nothing(self, make_sink: MakeSink) -> None:
        """A new collection is made, and one of the same log goes on, its fence included."""
        first = make_sink().prepare(OWNER, adopt=True)
        make_sink().open(TOKEN).close()
        assert make_sink().prepare(OWNER, adopt=True) == first
        with pytest.raises(Refused):
            make_sink().open(TOKEN - 1)

    @pytest.mark.parametrize(
        "other", [{"graph": "other-graph"}, {"model": "other/model@2"}, {"dimensions": 384}]
    )
    def test_nobody_adopts_another_graph_or_model(self, make_sink: MakeSink, other: dict[str, Any]) -> None:
        """What cannot be gone on with is refused as ever, and stays with its owner."""
        first = make_sink().prepare(OWNER)
        with pytest.raises((Refused, Fatal)):
            make_sink().prepare(replace(OTHER_LOG, **other), adopt=True)
        assert make_sink().prepare(OWNER) == first

    def test_wrong_dimensions_are_fatal(self, make_sink: MakeSink) -> None:
        """Vectors of two lengths cannot share a collection; the message names both."""
        make_sink().prepare(OWNER)
        with pytest.raises(Fatal, match=rf"{DIMENSIONS} dimensions.*384"):
            make_sink().prepare(replace(OWNER, dimensions=384))

    def test_another_model_is_fatal(self, make_sink: MakeSink) -> None:
        """Vectors of two models cannot be compared, although they have the same length."""
        make_sink().prepare(OWNER)
        with pytest.raises(Fatal, match="other/model"):
            make_sink().prepare(replace(OWNER, model="other/model@2"))

    def test_check_writes_nothing(self, make_sink: MakeSink) -> None:
        """A check before the first run leaves the target as it was, and a later one does too."""
        make_sink().check()
        with pytest.raises(Refused):
            make_sink().index()
        make_sink().prepare(OWNER)
        make_sink().check()
        assert read(make_sink()) == []

    def test_reading_before_the_first_run_is_refused(self, make_sink: MakeSink) -> None:
        """There is nothing to search, and the message says what to do."""
        with pytest.raises(Refused, match="run"):
            make_sink().index()

    def test_close_twice(self, sink: Sink) -> None:
        """Closing what is closed is fine."""
        for closeable in (sink.open(TOKEN), sink.index()):
            closeable.close()
            closeable.close()

    def test_settle_at_any_time(self, sink: Sink, writer: Writer) -> None:
        """Settling an empty, a filled and an already settled collection loses nothing."""
        writer.settle()
        writer.apply([make_set("a.md", SEVEN)])
        writer.settle()
        writer.settle()
        assert texts(sink) == set(SEVEN)
        assert search(sink, SEVEN[2], 1)[0].text == SEVEN[2]

    # Reading.

    def test_the_index_knows_its_model(self, sink: Sink) -> None:
        """A question has to be embedded by the model that made the vectors."""
        with closing(sink.index()) as index:
            assert (index.model, index.dimensions) == (MODEL, DIMENSIONS)

    def test_search_gives_the_nearest_first(self, sink: Sink, writer: Writer) -> None:
        """Scores fall, and agree with the vectors."""
        writer.apply([make_set(f"{n}.md", [f"text {n}"]) for n in range(40)])
        hits = search(sink, "text 7", 10)
        truth = sorted(
            (f"text {n}" for n in range(40)), key=lambda t: -float(vector_of(t) @ vector_of("text 7"))
        )
        assert [hit.text for hit in hits] == truth[:10]
        scores = [hit.score or 0.0 for hit in hits]
        assert scores == sorted(scores, reverse=True)

    def test_search_takes_a_k_beyond_the_count(self, sink: Sink, writer: Writer) -> None:
        """All there are."""
        writer.apply([make_set("a.md", SEVEN)])
        assert len(search(sink, "anything", 100)) == 7

    def test_search_takes_a_big_k(self, sink: Sink, writer: Writer) -> None:
        """Beyond a store's own limit, too: the result is exact."""
        write_many(writer, self.many)
        writer.settle()
        hits = search(sink, "needle", self.many * 4)
        assert len({hit.id for hit in hits}) == self.many * 4
        truth = sorted(
            (f"{n} {i}" for n in range(self.many) for i in range(5)),
            key=lambda text: -_likeness(text, "needle"),
        )
        assert {hit.text for hit in hits} == set(truth[: self.many * 4])

    def test_filters_mean_what_they_say(self, sink: Sink, writer: Writer) -> None:
        """A search finds exactly the records that match: see `nvisy.testing.filter_cases`."""
        writer.apply([_filterable(record, number) for number, record in enumerate(RECORDS, 1)])
        writer.settle()
        wrong: dict[str, set[str]] = {}
        with closing(sink.index()) as index:
            for text, expected in FOUND.items():
                hits = index.search(vector_of("anything"), 100, parse_filter(text))
                if len(hits) != len(expected) or {hit.key for hit in hits} != expected:
                    wrong[text] = {hit.key for hit in hits} ^ expected
        assert wrong == {}

    def test_a_filter_leaves_the_nearest(self, sink: Sink, writer: Writer) -> None:
        """With a filter, `k` counts the records that match, nearest first, however few of all they are."""
        write_many(writer, self.many)
        sets = [make_set(f"rare-{n}", [f"rare {n}"], metadata={"rare": True}) for n in range(9)]
        writer.apply(sets)
        writer.settle()
        with closing(sink.index()) as index:
            hits = index.search(vector_of("rare 3"), 5, parse_filter("metadata.rare == true"))
        truth = sorted((f"rare {n}" for n in range(9)), key=lambda text: -_likeness(text, "rare 3"))
        assert [hit.text for hit in hits] == truth[:5]

    def test_records_stream_in_order(self, sink: Sink, writer: Writer) -> None:
        """Everything once, by key and then by place, one after the other."""
        write_many(writer, self.many)
        with closing(sink.index()) as index:
            listing = index.records(None)
            assert iter(listing) is listing
            places = [(hit.key, hit.span.start if hit.span else 0) for hit in listing]
        assert len(places) == self.many * 5
        assert places == sorted(places)

    def test_records_of_one_document(self, sink: Sink, writer: Writer) -> None:
        """Only those of the key, in the order of the text."""
        writer.apply([make_set("a.md", SEVEN), make_set("b.md", ["other"])])
        assert [hit.text for hit in read(sink, "a.md")] == SEVEN
        assert read(sink, "missing.md") == []

    def test_reading_while_writing(self, sink: Sink, writer: Writer) -> None:
        """An index that is open sees what is written later."""
        with closing(sink.index()) as index:
            writer.apply([make_set("a.md", ["later"])])
            assert [hit.text for hit in index.records(None)] == ["later"]

    # Looking at what is held, and mending it.

    def test_held_records_come_with_their_vectors(self, sink: Sink, writer: Writer) -> None:
        """Everything once, in more than a page, with vectors that are the ones that were written."""
        write_many(writer, self.many)
        with closing(sink.index()) as index:
            held = list(index.held())
            listed = {hit.id: hit for hit in index.records(None)}
            keeps = index.keeps_vectors
        assert {one.hit.id: one.hit for one in held} == listed
        assert len(held) == len(listed)
        for one in held:
            written = vector_of(one.hit.text)
            assert one.vector is not None
            assert (
                np.array_equal(one.vector, written) if keeps else np.allclose(one.vector, written, atol=1e-6)
            )

    def test_held_records_of_some_documents(self, sink: Sink, writer: Writer) -> None:
        """Only theirs, of whatever lane; of one that there is not, none."""
        writer.apply([make_set(key, [f"{key} {lane}"], lane=lane) for key in "abc" for lane in ("l", "r")])
        with closing(sink.index()) as index:
            texts = sorted(one.hit.text for one in index.held(["a", "c", "no such"]))
            assert texts == ["a l", "a r", "c l", "c r"]
            assert list(index.held([])) == []

    def test_heads_say_what_was_applied(self, sink: Sink, writer: Writer) -> None:
        """Version, digest and hashes of every key, also of a deleted one; all, or those of some keys."""
        sets = [make_set(f"{n}.md", [f"{n} one", f"{n} two"], offset=n) for n in range(1, 4)]
        writer.apply(sets)
        writer.apply([make_set("3.md", offset=9), make_set("1.md", lane="other")])
        with closing(sink.index()) as index:
            heads = {(head.lane, head.key): head for head in index.heads()}
            some = {(head.lane, head.key) for head in index.heads(["1.md", "no such"])}
        assert {place: head.version for place, head in heads.items()} == {
            (LANE, "1.md"): version(1),
            (LANE, "2.md"): version(2),
            (LANE, "3.md"): version(9),
            ("other", "1.md"): version(1),
        }
        assert some == {(LANE, "1.md"), ("other", "1.md")}
        found = heads[LANE, "2.md"]
        assert (found.source, found.digest) == ("files", sets[1].digest)
        assert found.ids == {r.id: (r.vector_hash, r.payload_hash) for r in sets[1].records}
        assert heads[LANE, "3.md"].ids == {}

    def test_heads_come_in_pages(self, sink: Sink, writer: Writer) -> None:
        """More than a page of them, each once."""
        count = self.many * 3
        for start in range(0, count, 500):
            writer.apply([make_set(f"{n}.md") for n in range(start, min(start + 500, count))])
        with closing(sink.index()) as index:
            assert sorted(head.key for head in index.heads()) == sorted(f"{n}.md" for n in range(count))

    def test_a_record_by_its_id(self, sink: Sink, writer: Writer) -> None:
        """The one, or none; what is no id finds nothing."""
        document = make_set("a.md", SEVEN)
        writer.apply([document])
        with closing(sink.index()) as index:
            found = index.record(document.records[3].id)
            assert found is not None
            assert (found.text, found.key) == (SEVEN[3], "a.md")
            assert index.record("00000000-0000-8000-8000-000000000000") is None
            assert index.record("no id at all") is None

    def test_the_index_knows_its_collection(self, make_sink: MakeSink) -> None:
        """By the id that it was prepared with, and the log that it is written from, also after it was adopted."""
        sink = make_sink()
        with_id = sink.prepare(OWNER)
        with closing(sink.index()) as index:
            assert (index.collection, index.log) == (with_id, OWNER.log)
        sink.prepare(OTHER_LOG, adopt=True)
        with closing(sink.index()) as index:
            assert (index.collection, index.log) == (with_id, OTHER_LOG.log)

    def test_a_rewrite_goes_over_everything(self, sink: Sink, writer: Writer) -> None:
        """Also over a newer version and over what is the same; what else the key had goes, another's does not."""
        writer.apply([make_set("a.md", ["one", "two"], offset=9), make_set("b.md", ["b"], offset=9)])
        assert writer.rewrite([make_set("a.md", ["one"], offset=3)])[0].written == 1
        assert texts(sink) == {"one", "b"}
        assert writer.head(LANE, "a.md") == version(3)
        assert writer.rewrite([make_set("a.md", ["one"], offset=3)])[0].written == 1
        assert writer.apply([make_set("a.md", ["new"], offset=4)])[0].written == 1
        assert texts(sink) == {"new", "b"}

    def test_a_rewrite_brings_back_what_was_taken_out(self, sink: Sink, writer: Writer) -> None:
        """Records that went without their head's knowing are written, where `apply` would see nothing to do."""
        document = make_set("a.md", SEVEN)
        writer.apply([document])
        assert writer.remove([document.records[2].id, document.records[5].id, document.records[5].id]) == 2
        assert len(read(sink)) == 5
        assert writer.head(LANE, "a.md") == document.version
        assert writer.rewrite([document])[0].written == 7
        assert texts(sink) == set(SEVEN)

    def test_a_rewrite_without_records_empties_a_key(self, sink: Sink, writer: Writer) -> None:
        """Whatever version comes next is newer than version 0."""
        writer.apply([make_set("a.md", ["one"], offset=9)])
        writer.rewrite([replace(make_set("a.md"), version=0)])
        assert read(sink) == []
        assert writer.apply([make_set("a.md", ["two"], offset=1)])[0].written == 1

    def test_mending_is_fenced_and_screened(self, make_sink: MakeSink) -> None:
        """A writer that was taken over mends nothing, and a set that cannot be stored is a fault of its own."""
        sink = make_sink()
        sink.prepare(OWNER)
        with closing(sink.open(TOKEN)) as old, closing(make_sink().open(TOKEN + 1)) as new:
            document = make_set("a.md", ["one"])
            first, second = new.rewrite([bad_set("nan"), document])
            assert first.fault is not None
            assert second.fault is None
            with pytest.raises(Refused):
                old.rewrite([make_set("a.md")])
            with pytest.raises(Refused):
                old.remove([document.records[0].id])
            assert texts(sink) == {"one"}

    def test_generations_are_proved_or_refused(self, make_sink: MakeSink) -> None:
        """Who says that there are generations is judged by `GenerationConformance`, or has none in this collection."""
        if self.descriptor.capabilities.generations and not isinstance(self, GenerationConformance):
            sink = make_sink()
            sink.prepare(OWNER)
            with pytest.raises(Refused):
                sink.serve(TOKEN)


class GenerationConformance(SinkConformance):
    """The same for a sink whose collections have generations: an index made anew beside the one that readers see."""

    @pytest.fixture
    def make_generation(self) -> MakeGeneration:
        """A factory for a generation, by its number, of what `make_sink` makes the first one of."""
        raise NotImplementedError("the subclass gives it: only a connector knows how its sink is made")

    def test_readers_see_a_generation_when_it_serves(
        self, make_sink: MakeSink, make_generation: MakeGeneration
    ) -> None:
        """Not before, however much it holds; and the former one is kept, and may serve again."""
        assert make_sink().current() is None
        first, second = make_sink(), make_generation(2)
        _fill(first, {"a.md": ["old"]})
        assert first.current() == 1
        _fill(second, {"a.md": ["new"], "b.md": ["more"]}, NEXT_MODEL)
        assert texts(make_sink()) == texts(make_generation(2)) == {"old"}
        assert {hit.text for hit in _own(make_generation(2))} == {"new", "more"}
        for generation, seen in ((second, {"new", "more"}), (first, {"old"}), (second, {"new", "more"})):
            generation.serve(TOKEN + 1)
            assert texts(make_sink()) == texts(make_generation(2)) == seen
        assert (make_sink().current(), make_generation(2).current()) == (2, 2)

    def test_a_generation_has_vectors_and_a_marker_of_its_own(
        self, make_sink: MakeSink, make_generation: MakeGeneration
    ) -> None:
        """Other dimensions, another model, heads that the other one does not share; a reader is told which it sees."""
        first, second = make_sink(), make_generation(2)
        _fill(first, {"a.md": ["one"]}, offset=9)
        _fill(second, {"a.md": ["one"]}, NEXT_MODEL, offset=3)
        with closing(second.open(TOKEN)) as writer:
            assert writer.head(LANE, "a.md") == version(3)
        for generation, owner in ((first, OWNER), (second, NEXT_MODEL)):
            generation.serve(TOKEN)
            with closing(make_sink().index()) as index:
                assert (index.model, index.dimensions) == (owner.model, owner.dimensions)
                assert len(index.search(vector_of("one", owner.dimensions), 3, None)) == 1

    def test_an_open_reader_stays_with_its_generation(
        self, make_sink: MakeSink, make_generation: MakeGeneration
    ) -> None:
        """What it finds is of one generation, whichever serves meanwhile."""
        first, second = make_sink(), make_generation(2)
        _fill(first, {"a.md": ["old"]})
        _fill(second, {"a.md": ["new"]}, NEXT_MODEL)
        with closing(make_sink().index()) as index:
            second.serve(TOKEN)
            assert [hit.text for hit in index.search(vector_of("old"), 5, None)] == ["old"]
            assert [hit.text for hit in index.records(None)] == ["old"]

    def test_a_generation_that_is_prepared_again_serves_no_one_else(
        self, make_sink: MakeSink, make_generation: MakeGeneration
    ) -> None:
        """Each run prepares what it writes: that changes nothing for readers, nor the id of the collection."""
        first, second = make_sink(), make_generation(2)
        _fill(first, {"a.md": ["old"]})
        _fill(second, {"a.md": ["new"]}, NEXT_MODEL)
        assert second.prepare(NEXT_MODEL) == second.prepare(NEXT_MODEL)
        assert texts(make_sink()) == {"old"}
        second.serve(TOKEN)
        make_sink().prepare(OWNER)
        second.prepare(NEXT_MODEL)
        assert texts(make_sink()) == {"new"}

    def test_a_newer_token_fences_who_would_serve_or_drop(
        self, make_sink: MakeSink, make_generation: MakeGeneration
    ) -> None:
        """An owner that was replaced changes nothing for readers, whichever generation its successor opened."""
        first, second = make_sink(), make_generation(2)
        _fill(first, {"a.md": ["old"]})
        _fill(second, {"a.md": ["new"]}, NEXT_MODEL)
        first.open(TOKEN + 1).close()
        for change in (second.serve, second.drop):
            with pytest.raises(Refused):
                change(TOKEN)
        assert texts(make_sink()) == {"old"}
        with closing(second.open(TOKEN + 1)) as writer:
            second.serve(TOKEN + 2)
            with pytest.raises(Refused):
                writer.apply([_document("b.md", ["late"], NEXT_MODEL, 2)])
        with pytest.raises(Refused):
            first.serve(TOKEN + 1)
        assert texts(make_sink()) == {"new"}

    def test_what_was_never_made_cannot_serve(
        self, make_sink: MakeSink, make_generation: MakeGeneration
    ) -> None:
        """Readers go on with what they see."""
        _fill(make_sink(), {"a.md": ["old"]})
        with pytest.raises(Refused):
            make_generation(2).serve(TOKEN)
        assert texts(make_sink()) == {"old"}

    def test_a_generation_that_readers_do_not_see_is_dropped(
        self, make_sink: MakeSink, make_generation: MakeGeneration
    ) -> None:
        """Its writers stop, the one that readers see stays; dropped twice is once; and it may be made anew."""
        first, second = make_sink(), make_generation(2)
        _fill(first, {"a.md": ["old"]})
        _fill(second, {"a.md": ["new"]}, NEXT_MODEL)
        with pytest.raises(Refused):
            first.drop(TOKEN)
        second.serve(TOKEN)
        with closing(first.open(TOKEN)) as writer:
            first.drop(TOKEN)
            first.drop(TOKEN)
            with pytest.raises((Refused, Fatal)):
                writer.apply([make_set("b.md", ["late"])])
        assert texts(make_sink()) == {"new"}
        with pytest.raises(Refused):
            make_sink().index(own=True)
        _fill(first, {"a.md": ["again"]})
        assert texts(make_sink()) == {"new"}
        assert [hit.text for hit in _own(first)] == ["again"]

    # The package.

    def test_secrets_are_not_in_repr(self, make_sink: MakeSink) -> None:
        """Neither a sink nor its parameters print a password."""
        sink = make_sink()
        shown = repr(sink) + str(sink) + "".join(f"{value!r}{value}" for value in vars(sink).values())
        for secret in self.secrets:
            assert secret not in shown

    def test_importing_the_module_loads_no_driver(self) -> None:
        """The catalogue lists a connector without paying for its driver, or needing it."""
        module = self.descriptor.open.__module__
        code = (
            f"import sys, {module}; print([name for name in {list(self.drivers)!r} if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
        assert done.stdout.strip() == "[]", done.stdout + done.stderr

    def test_the_example_is_valid(self) -> None:
        """What `nvisy nodes` shows can be pasted into a graph."""
        self.descriptor.params.model_validate(dict(self.descriptor.example))


NEXT_MODEL = replace(OWNER, model="tests/next@2", dimensions=DIMENSIONS * 2)


def _document(key: str, passages: Sequence[str], owner: Owner, offset: int) -> RecordSet:
    document = make_set(key, passages, offset=offset)
    records = tuple(
        replace(one, vector=vector_of(one.text, owner.dimensions), model=owner.model)
        for one in document.records
    )
    return replace(document, records=records)


def _fill(
    sink: Sink, documents: Mapping[str, Sequence[str]], owner: Owner = OWNER, *, offset: int = 1
) -> None:
    """Make a generation of these documents."""
    sink.prepare(owner)
    with closing(sink.open(TOKEN)) as writer:
        writer.apply([_document(key, passages, owner, offset) for key, passages in documents.items()])


def _own(sink: Sink) -> list[Hit]:
    with closing(sink.index(own=True)) as index:
        return list(index.records(None))


def bad_set(kind: str) -> RecordSet:
    """A set of the key `bad.md` that no store can hold."""
    good = make_set("bad.md", ["first", "second"], offset=99)
    if kind in {"nan", "infinite"}:
        vector = vector_of("second")
        vector[3] = np.nan if kind == "nan" else np.inf
        return with_vector(good, 1, vector)
    if kind in {"long", "short"}:
        return with_vector(good, 1, vector_of("second", DIMENSIONS + (1 if kind == "long" else -1)))
    if kind == "surrogate":
        return set_of("bad.md", [replace(good.records[0], text="half \ud800")], offset=99)
    if kind == "metadata":
        return set_of("bad.md", [make_record("x", key="bad.md", metadata={"score": float("nan")})], offset=99)
    return set_of("bad.md", [good.records[0], good.records[0]], offset=99)


def write_many(writer: Writer, documents: int) -> None:
    """Write so many documents of five records, some hundred at a time."""
    sets = [make_set(f"{n:05}.md", [f"{n} {i}" for i in range(5)]) for n in range(documents)]
    for start in range(0, documents, 150):
        writer.apply(sets[start : start + 150])


def read(sink: Sink, key: str | None = None) -> list[Hit]:
    """Everything a fresh reader sees, or what it sees of one document."""
    with closing(sink.index()) as index:
        return list(index.records(key))


def texts(sink: Sink) -> set[str]:
    """The passages that the collection holds."""
    return {hit.text for hit in read(sink)}


def search(sink: Sink, needle: str | np.ndarray[Any, Any], k: int) -> list[Hit]:
    """The `k` nearest to a text or a vector."""
    vector = vector_of(needle) if isinstance(needle, str) else needle
    with closing(sink.index()) as index:
        return list(index.search(vector, k, None))


def _likeness(one: str, other: str) -> float:
    return float(vector_of(one) @ vector_of(other))


def _filterable(fields: Mapping[str, Any], offset: int) -> RecordSet:
    key = fields["key"]
    record = make_record(f"text {offset}", key=key, metadata=fields["metadata"])
    return set_of(key, [replace(record, source_uri=fields["source_uri"])], offset=offset)


def _is_excused(test: Any) -> bool:
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in getattr(test, "pytestmark", ()))
