"""The tests that every source has to pass: what `nvisy.connector.source` promises, one named test per promise.

A connector's test is a subclass with one fixture, the target: what the source reads, and the means to change it::

    class TestFiles(ListingConformance):
        descriptor = DESCRIPTOR

        @pytest.fixture
        def target(self, tmp_path):
            return Folder(tmp_path)  # put, remove, spoil, ...: see `ListedTarget`

The suite keeps what the runtime keeps, fingerprints by key or a position, and compares the documents that result with
what it put into the target. Tests are not overridden: a connector that cannot keep a promise says so with `xfail` and
a reason.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import orjson
import pytest

from nvisy.connector.descriptor import SourceDescriptor
from nvisy.connector.source import (
    Event,
    Group,
    Item,
    ListingSource,
    StreamReader,
    StreamSource,
    Unreadable,
)
from nvisy.errors import Fatal, NvisyError, Rejected, Unreachable
from nvisy.primitives.document import Document
from nvisy.primitives.primitive import Primitive

PATIENCE_S = 20.0
NAMES = ["plain", "it's", 'a "b"', "100%_", "über", "日本🚀", "with space", "a+b&c=d?e", "x" * 150]
TEXTS = [
    "",
    "ä ö ü",
    "日本語 🚀",
    "one\ntwo\n",
    "tab\tquote\"apostrophe'",
    "{not json",
    "a,b;c",
    "  spaced  ",
]


class ListedTarget(Protocol):
    """What a listed source reads, in the hands of a test. Names are plain words, or `part/word`."""

    def open(self) -> ListingSource:
        """A new source over it, as another process would open it."""

    def put(self, name: str, text: str) -> None:
        """Create or replace the document; it can be read again if it was spoiled."""

    def remove(self, name: str) -> None:
        """Delete the document."""

    def spoil(self, name: str) -> None:
        """Make this one document impossible to read, in whatever way the source may meet."""

    def spoil_part(self, part: str) -> None:
        """Make the listing of all documents named `part/…` fail."""

    def vanish(self) -> None:
        """Take all of it away: unmounted, stopped, dropped."""

    def contents(self) -> Any:
        """Everything it holds, so that two moments can be compared."""


class StreamedTarget(Protocol):
    """What a streaming source reads, in the hands of a test.

    Attributes:
        quiet_s: After so many seconds without an event there is none to come.
    """

    quiet_s: float

    def open(self) -> StreamSource:
        """A new source over it, as another process would open it."""

    def put(self, name: str, text: str) -> None:
        """Create or replace the document."""

    def remove(self, name: str) -> None:
        """Delete the document."""

    def interrupt(self) -> None:
        """Make reading what was last put fail, once."""

    def vanish(self) -> None:
        """Take all of it away: stopped, dropped."""

    def contents(self) -> Any:
        """Everything it holds, so that two moments can be compared."""


@dataclass
class Pass:
    """What one listing came to: keys read and deleted, and what failed, by key or prefix."""

    read: list[str] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    failed: dict[str, Rejected] = field(default_factory=dict)


class Listed:
    """What the runtime keeps of a listed source and does with it, in memory."""

    def __init__(self) -> None:
        self.documents: dict[str, Primitive] = {}
        self._fingerprints: dict[str, bytes] = {}
        self._groups: dict[str, bytes] = {}

    @property
    def texts(self) -> list[str]:
        """What the documents say, sorted."""
        return sorted(text_of(document) for document in self.documents.values())

    def follow(self, source: ListingSource) -> Pass:
        """List once: read what is new or changed, delete what is gone."""
        done, seen, spared = Pass(), set[str](), list[str]()
        for entry in source.scan():
            if isinstance(entry, Group):
                self._group(entry, done, seen, spared)
            else:
                self._entry(entry, done, seen, spared)
        gone = {key for key in self._fingerprints if key not in seen and not key.startswith(tuple(spared))}
        for key in gone:
            del self._fingerprints[key]
            del self.documents[key]
        self._groups = {key: mark for key, mark in self._groups.items() if f"{key}#" in spared or key in seen}
        done.deleted = gone
        return done

    def _group(self, group: Group, done: Pass, seen: set[str], spared: list[str]) -> None:
        seen.add(group.key)
        if self._groups.get(group.key) == group.fingerprint:
            spared.append(f"{group.key}#")
            return
        whole = True
        for member in group.members():
            assert member.key.startswith(f"{group.key}#"), f"{member.key!r} is a member of {group.key!r}"
            whole = whole and isinstance(member, Item)
            self._entry(member, done, seen, spared)
        if whole:
            self._groups[group.key] = group.fingerprint
        else:
            spared.append(f"{group.key}#")

    def _entry(self, entry: Item | Unreadable, done: Pass, seen: set[str], spared: list[str]) -> None:
        if isinstance(entry, Unreadable):
            done.failed[entry.key] = entry.error
            (spared.append if entry.key.endswith(("/", "#")) or not entry.key else seen.add)(entry.key)
            return
        assert entry.key not in seen, f"the key {entry.key!r} is listed twice"
        seen.add(entry.key)
        if self._fingerprints.get(entry.key) == entry.fingerprint:
            return
        try:
            document = entry.load()
        except Rejected as error:
            done.failed[entry.key] = error
            return
        self.documents[entry.key] = document
        self._fingerprints[entry.key] = entry.fingerprint
        done.read.append(entry.key)


class _Conformance:
    """What a source of either kind has to do."""

    descriptor: ClassVar[SourceDescriptor]
    drivers: ClassVar[Sequence[str]] = ()
    secrets: ClassVar[Sequence[str]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a subclass that weakens a test."""
        super().__init_subclass__(**kwargs)
        suites = [suite for suite in cls.__mro__[1:] if suite.__module__ == __name__]
        for name, value in vars(cls).items():
            if cls.__module__ == __name__ or not name.startswith("test_"):
                continue
            if any(hasattr(suite, name) for suite in suites) and not _is_excused(value):
                message = f"{cls.__name__}.{name} overrides a conformance test: mark it xfail, with a reason"
                raise TypeError(message)

    @pytest.fixture
    def target(self) -> Any:
        """What the source reads; empty when the test starts."""
        raise NotImplementedError("the subclass gives it: only a connector knows what its source reads")

    def test_check_accepts_a_good_target(self, target: Any) -> None:
        """A target that is there passes."""
        target.put("one", "first")
        target.open().check()

    def test_check_refuses_a_target_that_is_gone(self, target: Any) -> None:
        """What cannot be reached is said before anything runs, in words."""
        target.put("one", "first")
        target.vanish()
        with pytest.raises((Unreachable, Fatal)) as caught:
            target.open().check()
        assert len(str(caught.value)) > 10

    def test_check_writes_nothing(self, target: Any) -> None:
        """Looking leaves no trace."""
        target.put("one", "first")
        before = target.contents()
        target.open().check()
        assert target.contents() == before

    def test_secrets_are_not_in_repr(self, target: Any) -> None:
        """Neither a source nor what it holds prints a password."""
        source = target.open()
        held = vars(source).values() if hasattr(source, "__dict__") else ()
        shown = repr(source) + str(source) + "".join(f"{value!r}{value}" for value in held)
        for secret in self.secrets:
            assert secret not in shown

    def test_the_source_has_the_capabilities_of_its_descriptor(self, target: Any) -> None:
        """What the catalogue says is what runs."""
        assert target.open().capabilities == self.descriptor.capabilities

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


class ListingConformance(_Conformance):
    """Subclass it, set the attributes, and give `target`, a `ListedTarget`.

    Attributes:
        descriptor: What the catalogue gets; its module is imported alone to see that it loads no driver.
        drivers: Modules that importing the descriptor must not load.
        secrets: Strings that must not show in the repr of a source.
        names: Names that documents of this source may have.
        many: How many documents the tests need that a page does not hold.
    """

    names: ClassVar[Sequence[str]] = NAMES
    many: ClassVar[int] = 1100

    # Reading.

    def test_an_empty_target_has_nothing(self, target: ListedTarget) -> None:
        """No documents is no error."""
        target.put("one", "first")
        target.remove("one")
        assert Listed().follow(target.open()) == Pass()

    def test_reads_everything(self, target: ListedTarget) -> None:
        """Every document, in every part, once."""
        wanted = fill(target)
        listed = Listed()
        done = listed.follow(target.open())
        assert listed.texts == wanted
        assert done.failed == {}

    def test_reads_more_than_a_page(self, target: ListedTarget) -> None:
        """Many documents are no fewer; a few changes and deletes among them are all that is seen of the next pass."""
        texts = {f"part{number % 7}/{number:05}": f"text {number}" for number in range(self.many)}
        for name, text in texts.items():
            target.put(name, text)
        listed, source = Listed(), target.open()
        listed.follow(source)
        assert listed.texts == sorted(texts.values())
        for name in list(texts)[:: self.many // 10]:
            texts[name] += " changed"
            target.put(name, texts[name])
        for name in list(texts)[1 :: self.many // 10]:
            del texts[name]
            target.remove(name)
        done = listed.follow(source)
        assert listed.texts == sorted(texts.values())
        assert (len(done.read), len(done.deleted)) == (10 + (self.many % 10 > 0), 10)

    def test_any_name(self, target: ListedTarget) -> None:
        """Quotes, wildcards, spaces and characters beyond the first plane are nothing special in a name."""
        for name in self.names:
            target.put(name, f"text of {name}")
        listed = Listed()
        listed.follow(target.open())
        assert listed.texts == sorted(f"text of {name}" for name in self.names)

    def test_any_text(self, target: ListedTarget) -> None:
        """A document's text comes back as it was put, the empty one too."""
        for number, text in enumerate(TEXTS):
            target.put(f"text{number}", text)
        listed = Listed()
        listed.follow(target.open())
        assert listed.texts == sorted(TEXTS)

    def test_emits_what_it_declares(self, target: ListedTarget) -> None:
        """Types of primitives, and raw bytes only where they are declared."""
        fill(target)
        source = target.open()
        for item in items(source):
            loaded = item.load()
            assert loaded.type in source.capabilities.emits
            if isinstance(loaded, Document) and not source.capabilities.raw:
                assert loaded.content is None

    def test_every_document_says_where_it_is(self, target: ListedTarget) -> None:
        """A person can find what a record came from."""
        fill(target)
        assert all(":" in item.uri for item in items(target.open()))

    # Keys and fingerprints.

    def test_keys_are_unique(self, target: ListedTarget) -> None:
        """No two documents have one key, and none is empty."""
        fill(target)
        keys = [item.key for item in items(target.open())]
        assert len(set(keys)) == len(keys) > 0
        assert all(keys)

    def test_keys_and_fingerprints_are_stable(self, target: ListedTarget) -> None:
        """The same documents have the same keys and fingerprints in every pass and every process."""
        fill(target)
        source = target.open()
        first, second, other = marks(source), marks(source), marks(target.open())
        assert first == second == other

    def test_a_fingerprint_is_equal_if_and_only_if_the_content_is(self, target: ListedTarget) -> None:
        """One character is a difference, and the way back is the way back."""
        source = target.open()
        seen = []
        for text in ("abc", "abd", "abc"):
            target.put("one", text)
            seen.append(marks(source))
        assert seen[0] == seen[2] != seen[1]

    def test_load_gives_the_same_every_time(self, target: ListedTarget) -> None:
        """Twice from one item, and again in another pass."""
        fill(target)
        source = target.open()
        first = {item.key: (item.load().content_hash, item.load().content_hash) for item in items(source)}
        again = {item.key: (item.load().content_hash,) * 2 for item in items(source)}
        assert first == again
        assert all(one == two for one, two in first.values())

    # From pass to pass.

    def test_a_second_pass_yields_nothing_new(self, target: ListedTarget) -> None:
        """Nothing changed, nothing is read: in the same process and in the next."""
        wanted = fill(target)
        listed, source = Listed(), target.open()
        listed.follow(source)
        assert listed.follow(source) == Pass()
        assert listed.follow(target.open()) == Pass()
        assert listed.texts == wanted

    def test_a_change_is_seen(self, target: ListedTarget) -> None:
        """A document that says something else is read again, and only that one."""
        fill(target)
        listed, source = Listed(), target.open()
        listed.follow(source)
        for text in ("first, changed", "first, Changed"):
            target.put("one", text)
            assert len(listed.follow(source).read) == 1
            assert text in listed.texts
        target.put("part/three", "third, changed")
        assert len(listed.follow(target.open()).read) == 1
        assert listed.texts == sorted(["first, Changed", "second", "third, changed", "fourth", "fifth"])

    def test_a_new_one_is_seen(self, target: ListedTarget) -> None:
        """A document that was added is read, and only that one."""
        wanted = fill(target)
        listed, source = Listed(), target.open()
        listed.follow(source)
        target.put("part/new", "a new one")
        assert len(listed.follow(source).read) == 1
        target.put("newer", "a newer one")
        assert len(listed.follow(target.open()).read) == 1
        assert listed.texts == sorted([*wanted, "a new one", "a newer one"])

    def test_a_delete_is_seen(self, target: ListedTarget) -> None:
        """A document that is gone is gone, and nothing else."""
        fill(target)
        listed, source = Listed(), target.open()
        listed.follow(source)
        target.remove("part/three")
        done = listed.follow(source)
        assert (len(done.deleted), done.read) == (1, [])
        target.remove("one")
        assert len(listed.follow(target.open()).deleted) == 1
        assert listed.texts == sorted(["second", "fourth", "fifth"])

    def test_a_whole_part_that_went_away_is_deleted(self, target: ListedTarget) -> None:
        """The last document of a part leaves nothing behind."""
        fill(target)
        listed, source = Listed(), target.open()
        listed.follow(source)
        target.remove("part/three")
        target.remove("part/four")
        listed.follow(source)
        assert listed.texts == sorted(["first", "second", "fifth"])

    def test_what_comes_back_is_new(self, target: ListedTarget) -> None:
        """Deleted, and put again as it was: it is read again."""
        wanted = fill(target)
        listed, source = Listed(), target.open()
        listed.follow(source)
        for name, text in (("one", "first"), ("other/five", "fifth")):
            target.remove(name)
            listed.follow(source)
            target.put(name, text)
            assert len(listed.follow(source).read) == 1
        assert listed.texts == wanted

    def test_a_pass_that_was_left_changes_nothing(self, target: ListedTarget) -> None:
        """A run that stopped in the middle of a listing is followed by a whole one."""
        wanted = fill(target)
        listed, source = Listed(), target.open()
        next(iter(source.scan()))
        listed.follow(source)
        assert listed.texts == wanted

    # What fails.

    def test_a_failing_document_does_not_hold_back_others(self, target: ListedTarget) -> None:
        """It is named as failed; a change, a new one and everything else come through."""
        fill(target)
        listed, source = Listed(), target.open()
        target.spoil("part/three")
        done = listed.follow(source)
        assert done.failed
        assert listed.texts == sorted(["first", "second", "fourth", "fifth"])
        target.put("one", "first, changed")
        target.put("part/new", "new")
        listed.follow(source)
        assert listed.texts == sorted(["first, changed", "second", "fourth", "fifth", "new"])

    def test_a_failing_document_is_not_taken_for_deleted(self, target: ListedTarget) -> None:
        """What was read of it stays, pass after pass, until it can be read again."""
        wanted = fill(target)
        listed, source = Listed(), target.open()
        listed.follow(source)
        target.spoil("part/three")
        for opened in (source, source, target.open()):
            done = listed.follow(opened)
            assert done.failed
            assert done.deleted == set()
        assert listed.texts == wanted
        target.put("part/three", "third, mended")
        assert listed.follow(source).failed == {}
        assert "third, mended" in listed.texts
        assert len(listed.texts) == len(wanted)

    def test_a_failure_says_what_and_why(self, target: ListedTarget) -> None:
        """The error has a class in one word, and a sentence for a person."""
        fill(target)
        target.spoil("one")
        for error in Listed().follow(target.open()).failed.values():
            assert error.kind
            assert " " not in error.kind
            assert len(str(error)) > 10

    def test_a_failed_listing_of_a_part_deletes_nothing_below_it(self, target: ListedTarget) -> None:
        """What could not be looked at is kept; elsewhere, deletes and changes go on."""
        fill(target)
        listed, source = Listed(), target.open()
        listed.follow(source)
        target.remove("one")
        target.put("two", "second, changed")
        target.spoil_part("part")
        done = listed.follow(source)
        assert done.failed
        assert listed.texts == sorted(["second, changed", "third", "fourth", "fifth"])

    def test_a_failed_listing_raises(self, target: ListedTarget) -> None:
        """A target that went away between two passes is an error, not an empty listing."""
        wanted = fill(target)
        listed, source = Listed(), target.open()
        listed.follow(source)
        target.vanish()
        with pytest.raises(NvisyError):
            listed.follow(source)
        assert listed.texts == wanted

    def test_a_document_that_vanishes_after_it_was_listed_is_rejected(self, target: ListedTarget) -> None:
        """Between listing and loading anything may happen: it costs that document, not the run."""
        fill(target)
        listed = list(items(target.open()))
        target.remove("one")
        loaded = 0
        for item in listed:
            try:
                item.load()
            except Rejected:
                continue
            loaded += 1
        assert loaded >= len(listed) - 1

    # Waiting, and the end.

    def test_wait_respects_its_timeout(self, target: ListedTarget) -> None:
        """It returns in time, and says that nothing changed once nothing has for a while."""
        fill(target)
        source = target.open()
        list(items(source))
        began = time.monotonic()
        while source.wait(0.2):
            list(items(source))
            assert time.monotonic() - began < PATIENCE_S, "it goes on reporting changes where there are none"
        began = time.monotonic()
        assert not source.wait(0.2)
        assert time.monotonic() - began < 1.5

    def test_wait_returns_when_something_changed(self, target: ListedTarget) -> None:
        """A change, a new one and a delete each end the wait."""
        fill(target)
        source = target.open()
        list(items(source))
        changes: Sequence[Callable[[], None]] = (
            lambda: target.put("one", "first, changed"),
            lambda: target.put("part/new", "new"),
            lambda: target.remove("two"),
        )
        for change in changes:
            change()
            began = time.monotonic()
            while not source.wait(0.2):
                assert time.monotonic() - began < PATIENCE_S
            list(items(source))

    def test_reading_writes_nothing(self, target: ListedTarget) -> None:
        """A source leaves what it reads as it was."""
        fill(target)
        before = target.contents()
        source = target.open()
        Listed().follow(source)
        source.wait(0.05)
        source.close()
        assert target.contents() == before

    def test_close_twice(self, target: ListedTarget) -> None:
        """The second time does nothing; closing what was never used neither."""
        fill(target)
        source = target.open()
        Listed().follow(source)
        source.close()
        source.close()
        target.open().close()


class StreamConformance(_Conformance):
    """Subclass it, set the attributes, and give `target`, a `StreamedTarget`.

    Attributes:
        descriptor: What the catalogue gets; its module is imported alone to see that it loads no driver.
        drivers: Modules that importing the descriptor must not load.
        secrets: Strings that must not show in the repr of a source.
    """

    def test_reads_everything_in_order(self, target: StreamedTarget) -> None:
        """Every event once; those of a key in the order in which they happened."""
        wanted = happen(target)
        assert by_key(read_all(target)) == by_key(wanted)

    def test_a_delete_has_no_item_and_an_upsert_has_one(self, target: StreamedTarget) -> None:
        """An event says what it is, and its document is of a type that the source declares."""
        happen(target)
        source = target.open()
        with closing(source.open(None)) as reader:
            for batch, _ in batches(reader, target, limit=100):
                for event in batch:
                    assert (event.item is None) == (event.op == "delete")
                    assert event.item is None or event.item.type in source.capabilities.emits

    def test_never_more_than_the_limit(self, target: StreamedTarget) -> None:
        """`read` gives at most as many events as were asked for, and all of them in the end."""
        wanted = happen(target)
        source = target.open()
        for limit in (1, 2, 5):
            with closing(source.open(None)) as reader:
                sizes = [len(batch) for batch, _ in batches(reader, target, limit=limit)]
            assert max(sizes) <= limit
            assert sum(sizes) == len(wanted)

    def test_resume_at_every_position_loses_none_and_doubles_none(self, target: StreamedTarget) -> None:
        """Whatever batch was the last that was committed, the next process goes on with the event after it."""
        wanted = happen(target)
        source = target.open()
        for limit in (1, 3, 100):
            with closing(source.open(None)) as reader:
                history = list(batches(reader, target, limit=limit))
            before: list[Event] = []
            for events, position in history:
                before += events
                rest = read_all(target, orjson.loads(orjson.dumps(position)))
                assert by_key([*map(brief, before), *rest]) == by_key(wanted), f"resumed at {position}"

    def test_a_position_is_json(self, target: StreamedTarget) -> None:
        """It is stored as JSON, and comes back as itself."""
        happen(target)
        source = target.open()
        with closing(source.open(None)) as reader:
            for _, position in batches(reader, target, limit=2):
                assert orjson.loads(orjson.dumps(position)) == position

    def test_what_happens_later_is_read(self, target: StreamedTarget) -> None:
        """From the position where everything had been read, only what came after it."""
        happen(target)
        source = target.open()
        with closing(source.open(None)) as reader:
            position = list(batches(reader, target, limit=100))[-1][1]
        target.put("later", "came later")
        target.remove("a")
        assert read_all(target, position) == [
            ("later", "upsert", "came later"),
            ("a", "delete", None),
        ]

    def test_an_open_reader_sees_what_happens(self, target: StreamedTarget) -> None:
        """Without being opened again, unless its stream is bounded and ends with what was there."""
        happen(target)
        source = target.open()
        with closing(source.open(None)) as reader:
            list(batches(reader, target, limit=100))
            target.put("later", "came later")
            events = [] if source.capabilities.bounded else next(batches(reader, target, limit=100))[0]
        assert [event.key for event in events] == ([] if source.capabilities.bounded else ["later"])

    def test_read_respects_its_timeout(self, target: StreamedTarget) -> None:
        """With nothing to read it returns in time, empty, at a position that loses nothing."""
        wanted = happen(target)
        source = target.open()
        with closing(source.open(None)) as reader:
            list(batches(reader, target, limit=100))
            began = time.monotonic()
            empty = reader.read(10, 0.2)
            assert time.monotonic() - began < 1.5
        assert list(empty.events) == []
        assert read_all(target, empty.position) == []
        target.put("later", "came later")
        assert len(read_all(target, empty.position)) == 1
        assert len(read_all(target)) == len(wanted) + 1

    def test_confirming_takes_nothing_that_was_not_confirmed(self, target: StreamedTarget) -> None:
        """What lies after a confirmed position can still be read, by this reader and the next."""
        wanted = happen(target)
        source = target.open()
        with closing(source.open(None)) as reader:
            first = reader.read(3, PATIENCE_S)
            reader.confirm(first.position)
            rest = [event for events, _ in batches(reader, target, limit=100) for event in events]
        assert by_key(map(brief, [*first.events, *rest])) == by_key(wanted)
        assert by_key(read_all(target, first.position)) == by_key(map(brief, rest))

    def test_an_error_is_raised_and_loses_nothing(self, target: StreamedTarget) -> None:
        """A reader that cannot go on says so; from the last position on everything is there."""
        wanted = happen(target)
        target.interrupt()
        before: list[Event] = []
        position = None
        source = target.open()
        with closing(source.open(None)) as reader:
            history = batches(reader, target, limit=2)
            with pytest.raises(NvisyError):  # noqa: PT012 - whichever read it is that fails
                for events, position in history:  # noqa: B007 - the last position is what counts
                    before += events
        assert by_key([*map(brief, before), *read_all(target, position)]) == by_key(wanted)

    def test_the_end_is_reported_once(self, target: StreamedTarget) -> None:
        """A bounded stream ends with its last event and stays ended; another never does."""
        wanted = happen(target)
        source = target.open()
        with closing(source.open(None)) as reader:
            read = [event for events, _ in batches(reader, target, limit=3) for event in events]
            assert by_key(map(brief, read)) == by_key(wanted)
            after = [reader.read(3, 0.05) for _ in range(3)]
        assert not any(batch.events or batch.end for batch in after)

    def test_an_empty_stream_is_fine(self, target: StreamedTarget) -> None:
        """Nothing has happened yet."""
        assert read_all(target) == []

    def test_reading_writes_nothing(self, target: StreamedTarget) -> None:
        """A source leaves what it reads as it was."""
        happen(target)
        before = target.contents()
        read_all(target)
        assert target.contents() == before

    def test_close_twice(self, target: StreamedTarget) -> None:
        """The second time does nothing."""
        happen(target)
        reader = target.open().open(None)
        reader.close()
        reader.close()


Brief = tuple[str, str, str | None]


def fill(target: ListedTarget) -> list[str]:
    """Put five documents into two parts and none; returns their texts, sorted."""
    texts = {
        "one": "first",
        "two": "second",
        "part/three": "third",
        "part/four": "fourth",
        "other/five": "fifth",
    }
    for name, text in texts.items():
        target.put(name, text)
    return sorted(texts.values())


def happen(target: StreamedTarget) -> list[Brief]:
    """Let a dozen events happen to three keys; returns them in order."""
    events: list[Brief] = []
    for number in range(4):
        for name in ("a", "b", "c"):
            if (number, name) in {(2, "a"), (3, "b")}:
                target.remove(name)
                events.append((name, "delete", None))
            else:
                target.put(name, f"{name} {number}")
                events.append((name, "upsert", f"{name} {number}"))
    return events


def text_of(document: Primitive | None) -> str:
    """What a document says, extracted or not."""
    assert isinstance(document, Document)
    return document.text if document.content is None else document.content.decode()


def items(source: ListingSource) -> Iterator[Item]:
    """Every document that a pass lists, those in groups too."""
    for entry in source.scan():
        for item in entry.members() if isinstance(entry, Group) else (entry,):
            assert isinstance(item, Item), item
            yield item


def marks(source: ListingSource) -> dict[str, bytes]:
    """Fingerprints by key, of groups too."""
    found: dict[str, bytes] = {}
    for entry in source.scan():
        assert not isinstance(entry, Unreadable), entry
        found[entry.key] = entry.fingerprint
        for member in entry.members() if isinstance(entry, Group) else ():
            assert isinstance(member, Item), member
            found[member.key] = member.fingerprint
    return found


def batches(
    reader: StreamReader, target: StreamedTarget, *, limit: int
) -> Iterator[tuple[Sequence[Event], Any]]:
    """Batches with their positions, to the end of a bounded stream, else until nothing comes for a moment."""
    bounded = target.open().capabilities.bounded
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        batch = reader.read(limit, target.quiet_s)
        assert bounded or not batch.end, "a stream that is not bounded reported its end"
        yield batch.events, batch.position
        if batch.end or not (batch.events or bounded):
            return
    pytest.fail(f"the stream neither ended nor fell silent within {PATIENCE_S:.0f} seconds")


def read_all(target: StreamedTarget, position: Any | None = None) -> list[Brief]:
    """Everything from a position on, as a test compares it."""
    with closing(target.open().open(position)) as reader:
        return [brief(event) for events, _ in batches(reader, target, limit=100) for event in events]


def brief(event: Event) -> Brief:
    """An event as a test compares it."""
    return (event.key, event.op, None if event.op == "delete" else text_of(event.item))


def by_key(events: Any) -> dict[str, list[Brief]]:
    """Events in their order, for each key: between keys a source may choose."""
    found: dict[str, list[Brief]] = {}
    for event in events:
        found.setdefault(event[0], []).append(event)
    return found


def _is_excused(test: Any) -> bool:
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in getattr(test, "pytestmark", ()))
