"""The embedded log: a folder of SQLite files, for any number of processes on one machine.

```
<root>/control.db           id of the log, claims, homes of stages, positions of stages that append nothing
<root>/topics/<topic>.db    one topic: records, and positions and state of the stage that writes it
<root>/claims/<graph>.lock  locked while a run holds the graph
```
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from nvisy.errors import Refused, UsageError
from nvisy.topics.embedded import seat_rows
from nvisy.topics.embedded.claim import FileClaim
from nvisy.topics.embedded.compaction import compact, pays
from nvisy.topics.embedded.control_file import ControlFile
from nvisy.topics.embedded.erasing import erase, scrub_control
from nvisy.topics.embedded.folder import private_folder
from nvisy.topics.embedded.session import EmbeddedSession
from nvisy.topics.embedded.sqlite import immediate, said_plainly
from nvisy.topics.embedded.topic_file import TopicFile
from nvisy.topics.limits import check_topic_name
from nvisy.topics.lock import is_locked, lock
from nvisy.topics.log import Erased, Holder, LogRecord, Membership, Seat, TopicInfo, TopicPartition


class EmbeddedLog:
    """A log in the folder `root`, which is made, private to its user, when it is first used."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._opened_control: ControlFile | None = None
        self._opened: dict[str, TopicFile] = {}

    @property
    def id(self) -> str:
        """See `nvisy.topics.log.Log`."""
        return self._control.log_id

    @property
    def url(self) -> str:
        """See `nvisy.topics.log.Log`."""
        return f"embedded:{self._root}"

    def create(
        self, topic: str, partitions: int, *, compacted: bool = True, kept_days: int | None = None
    ) -> TopicInfo:
        """See `nvisy.topics.log.Log`. Whoever runs the graph compacts it and expires what is old: `tidy`, `expire`."""
        if partitions < 1:
            raise UsageError(f"topic {topic!r} needs at least one partition, not {partitions}")
        path = self._path(topic)
        private_folder(self._root)
        private_folder(path.parent)
        TopicFile.create(path, partitions)
        info = self._existing(topic).info()
        if info.partitions != partitions:
            raise Refused(
                f"topic {topic!r} has {info.partitions} partitions, the graph asks for {partitions}: set "
                f'"log": {{"partitions": {info.partitions}}}, or give the graph another id'
            )
        return info

    def describe(self, topic: str, *, settled: bool = False) -> TopicInfo | None:
        """See `nvisy.topics.log.Log`."""
        file = self._cached(topic)
        if file is None:
            return None
        with said_plainly(file.path):
            return file.info()

    def topics(self) -> Sequence[str]:
        """See `nvisy.topics.log.Log`."""
        return sorted(path.stem for path in self._folder.glob("*.db"))

    def delete(self, topic: str) -> None:
        """See `nvisy.topics.log.Log`."""
        path = self._path(topic)
        if topic in self._opened:
            self._opened.pop(topic).close()
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)

    def session(self, seat: Seat, *, adopt: bool = False) -> EmbeddedSession:
        """See `nvisy.topics.log.Log`."""
        inputs = [self._open(topic) for topic in seat.inputs]
        return EmbeddedSession(seat, self._home(seat), inputs, self._open, adopt=adopt)

    def scan(self, topic: str, start: Mapping[int, int] | None = None) -> Iterator[LogRecord]:
        """See `nvisy.topics.log.Log`."""
        with closing(self._open(topic)) as file:
            yield from file.scan(start or {})

    def read(self, topic: str, partition: int, offset: int) -> LogRecord | None:
        """See `nvisy.topics.log.Log`."""
        file = self._existing(topic)
        file.check_partition(partition)
        with said_plainly(file.path):
            records = file.page(partition, offset, 1, offset + 1).records
        return records[0] if records else None

    def claim(self, graph: str, owner: str, config: str = "") -> FileClaim:
        """See `nvisy.topics.log.Log`."""
        control = self._control
        descriptor = lock(self._lock_path(graph))
        if descriptor is None:
            raise Refused(
                f"graph {graph!r} is being run by {control.owner(graph)} on {self.url}: end that run first"
            )
        return FileClaim(descriptor, control.next_token(graph, owner))

    def join(self, graph: str, owner: str, config: str) -> Membership:
        """See `nvisy.topics.log.Log`."""
        raise UsageError(
            f"graph {graph!r} cannot be joined on {self.url}, a log of this machine alone: --join needs a log that all"
            " hosts reach, NVISY_LOG=kafka://host:port"
        )

    def lag(self, seat: Seat) -> Mapping[TopicPartition, tuple[int, int]]:
        """See `nvisy.topics.log.Log`."""
        topic = self._control.home(seat)
        home = self._home_file(topic) if topic is not None else None
        stored: Mapping[TopicPartition, seat_rows.Position] = {}
        if home is not None:
            with said_plainly(home.path):
                stored = seat_rows.positions(home.db, seat)
        places = [
            (TopicPartition(name, partition), end)
            for name in seat.inputs
            for partition, end in self._existing(name).ends().items()
        ]
        return {place: (stored[place].next if place in stored else 0, end) for place, end in places}

    def state(self, seat: Seat) -> Mapping[str, bytes]:
        """See `nvisy.topics.log.Log`."""
        if not (self._root / "control.db").exists():
            return {}
        topic = self._control.home(seat)
        home = self._home_file(topic) if topic is not None else None
        if home is None:
            return {}
        with said_plainly(home.path):
            return seat_rows.state(home.db, seat)

    def recall(self, graph: str, name: str) -> Sequence[bytes]:
        """See `nvisy.topics.log.Log`."""
        if not (self._root / "control.db").exists():
            return []
        found: list[bytes] = []
        for topic in self._control.homes(graph):
            if (home := self._home_file(topic)) is not None:
                with said_plainly(home.path):
                    found += seat_rows.values_named(home.db, graph, name)
        return found

    def holder(self, graph: str) -> Holder | None:
        """See `nvisy.topics.log.Log`."""
        path = self._lock_path(graph)
        if not is_locked(path):
            return None
        return Holder(self._control.owner(graph), int(path.stat().st_mtime * 1000))

    def tidy(self, topic: str, is_wanted: Callable[[], bool]) -> int:
        """See `nvisy.topics.log.Log`."""
        file = TopicFile.open(self._path(topic))
        if file is None:
            return 0
        with closing(file):
            return compact(file, is_wanted) if pays(file) else 0

    def expire(self, topic: str, before_ms: int, most: int) -> int:
        """See `nvisy.topics.log.Log`."""
        file = TopicFile.open(self._path(topic))
        if file is None:
            return 0
        with closing(file), said_plainly(file.path):
            return file.expire(before_ms, most)

    def erase(self, topic: str, keys: Collection[bytes]) -> Erased:
        """See `nvisy.topics.log.Log`. What the log remembers beside its topics is written anew, too."""
        if topic in self._opened:
            self._opened.pop(topic).close()
        with closing(self._open(topic)) as file:
            erased = erase(file, keys)
        until = erased.until or scrub_control(self._control)
        return Erased(erased.gone, erased.left, until)

    def compact(self, topic: str) -> int:
        """Remove every record of a topic that a later one of its key has replaced; how many went."""
        with closing(self._open(topic)) as file:
            return compact(file)

    def close(self) -> None:
        """See `nvisy.topics.log.Log`."""
        for file in self._opened.values():
            file.close()
        self._opened = {}
        if self._opened_control is not None:
            self._opened_control.close()
            self._opened_control = None

    @property
    def _control(self) -> ControlFile:
        if self._opened_control is None:
            self._opened_control = ControlFile(private_folder(self._root) / "control.db")
        return self._opened_control

    @property
    def _folder(self) -> Path:
        return self._root / "topics"

    def _lock_path(self, graph: str) -> Path:
        return self._root / "claims" / f"{check_topic_name(graph)}.lock"

    def _path(self, topic: str) -> Path:
        return self._folder / f"{check_topic_name(topic)}.db"

    def _open(self, topic: str) -> TopicFile:
        """The topic over a connection of its own."""
        file = TopicFile.open(self._path(topic))
        if file is None:
            raise Refused(f"there is no topic {topic!r} on {self.url}")
        return file

    def _cached(self, topic: str) -> TopicFile | None:
        """The topic over the log's own connection to it."""
        cached = self._opened.get(topic)
        if cached is not None and cached.replaced():
            self._opened.pop(topic).close()
            cached = None
        if cached is None:
            cached = TopicFile.open(self._path(topic))
            if cached is not None:
                self._opened[topic] = cached
        return cached

    def _existing(self, topic: str) -> TopicFile:
        file = self._cached(topic)
        if file is None:
            raise Refused(f"there is no topic {topic!r} on {self.url}")
        return file

    def _home(self, seat: Seat) -> TopicFile | ControlFile:
        """The stage's home, opened for a session; moved there when the stage's first output has changed."""
        control = self._control
        topic = seat.outputs[0] if seat.outputs else ""
        home = self._open(topic) if topic else ControlFile(control.path)
        with said_plainly(control.path):
            if control.home(seat) != topic:
                with immediate(control.db):
                    self._move_home(seat, control.home(seat), topic)
                    control.set_home(seat, topic)
        return home

    def _move_home(self, seat: Seat, before: str | None, topic: str) -> None:
        """Carry positions and state over from the home the stage had, and refuse whoever still commits there.

        The new home is committed first and `control.db` last: cut short, it is done again.
        """
        old = self._home_file(before) if before is not None else None
        new = self._home_file(topic)
        if old is None or new is None:
            return
        with ExitStack() as transactions:
            for file in (old, new):
                if isinstance(file, TopicFile):
                    transactions.enter_context(immediate(file.db))
            seat_rows.fence_stage(old.db, seat)
            seat_rows.move(old.db, new.db, seat)

    def _home_file(self, topic: str) -> TopicFile | ControlFile | None:
        return self._cached(topic) if topic else self._control
