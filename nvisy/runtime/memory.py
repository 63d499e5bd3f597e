"""What a stage remembers from one life to the next: values in its state at the log, committed with its positions."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from nvisy.errors import Refused
from nvisy.primitives.provenance import Version
from nvisy.runtime.numbering import Certain, Numbering
from nvisy.topics.log import Log, Session, TopicPartition

FORMAT = 1
_FORMAT = "format"
_CONFIG = "config"
_INC = "inc/"
_UNLOGGED = "life"
_NUMBERING = "numbering/"
_CERTAIN = "certain/"
_EPOCH = "epoch"
_EPOCH_CONFIG = "epoch_config"
_COMPLETE = "complete"
_STAMP = "stamp/"
_SWEPT = "swept/"
_LANES = "lanes"

Values = Mapping[str, bytes | None]


class Memory:
    """The state of a stage, read by meaning. What a function here returns as `Values` is for the caller to commit.

    Attributes:
        values: Everything committed so far, by name.
    """

    def __init__(self, session: Session | _Seen) -> None:
        """Read the state.

        Raises:
            Refused: A later version of Nvisy wrote it, in a form of its own.
        """
        self._session = session
        self.values = dict(session.state())
        found = int(self.values.get(_FORMAT, b"%d" % FORMAT))
        if found != FORMAT:
            raise Refused(
                f"the state of a stage has format {found}, this version of nvisy reads format {FORMAT}: upgrade nvisy"
            )

    @classmethod
    def seen(cls, values: Mapping[str, bytes]) -> Memory:
        """The memory of a stage as somebody else sees it, who remembers nothing for it."""
        return cls(_Seen(values))

    def remember(self, values: Values) -> None:
        """Commit values by themselves."""
        self._session.commit({}, {_FORMAT: b"%d" % FORMAT, **values})
        for name, value in values.items():
            if value is None:
                self.values.pop(name, None)
            else:
                self.values[name] = value

    def is_configured(self, config: str, partition: int | None = None) -> bool:
        """Whether the stage had this configuration when it read a partition last, or ran last if it reads none."""
        found = self.values.get(_CONFIG)
        if partition is not None:
            found = self.values.get(f"{_CONFIG}/{partition}", found)
        return found == config.encode()

    def configured(self, config: str, partitions: Collection[int]) -> Values:
        """From now on it has. It starts over: what lower incarnations hold comes back, and has to be swept again."""
        tidied = {name: None for name in self.values if name.startswith(_SWEPT) or name == _LANES}
        names = [f"{_CONFIG}/{partition}" for partition in partitions] or [_CONFIG]
        return {**tidied, **dict.fromkeys(names, config.encode())}

    # --- the numbers of versions ---

    def incarnation(self, topics: Mapping[str, str], at_least: int = 0) -> int:
        """The incarnation of the output topics, given by name and id; committed.

        It rises when one of them was made anew, when the stage wrote past them for a while, or as `at_least` asks.
        """
        known = {name: self.values.get(_INC + name, b"/0").decode().rpartition("/") for name in topics}
        highest = max((int(inc) for _, _, inc in known.values()), default=0)
        is_new = (
            any(known[name][0] != topic_id for name, topic_id in topics.items())
            or highest <= self.unlogged_incarnation
        )
        inc = self._highest + 1 if is_new else highest
        inc = max(inc, at_least)
        noted = {_INC + name: f"{topic_id}/{inc}".encode() for name, topic_id in topics.items()}
        if noted.items() - self.values.items():
            self.remember(noted)
        return inc

    @property
    def unlogged_incarnation(self) -> int:
        """The incarnation of the last life of the stage whose changes no topic numbered; 0 where there was none."""
        return int(self.values.get(_UNLOGGED, b"0"))

    def next_unlogged_incarnation(self, at_least: int = 0) -> int:
        """That of one more such life, committed; counted on from the incarnations its topics had before."""
        inc = max(self._highest, at_least - 1) + 1
        self.remember({_UNLOGGED: b"%d" % inc})
        return inc

    @property
    def _highest(self) -> int:
        """The highest incarnation that the stage has used, in whatever topic."""
        incs = [
            int(value.rpartition(b"/")[2]) for name, value in self.values.items() if name.startswith(_INC)
        ]
        return max([self.unlogged_incarnation, *incs])

    def numbering(self, topic: str) -> Numbering | None:
        """How a topic of other programs was numbered last."""
        found = self.values.get(_NUMBERING + topic)
        return Numbering.from_json(found) if found is not None else None

    def is_numbered(self, numbering: Numbering) -> None:
        """From here on it is numbered like this."""
        if numbering != self.numbering(numbering.topic):
            self.remember({_NUMBERING + numbering.topic: numbering.to_json()})

    def certain(self, topic: str) -> Certain | None:
        """What of a topic of other programs is surely older than any growth that its numbering does not know of."""
        found = self.values.get(_CERTAIN + topic)
        return Certain.from_json(found) if found is not None else None

    # --- full passes over a source ---

    @property
    def epoch(self) -> int:
        """The version from which on a full pass over the source counts; what is lower and not confirmed by it goes."""
        return int(self.values.get(_EPOCH, b"0"))

    def began_epoch_as(self, config: str) -> bool:
        """Whether the pass of this epoch went through a stage of this configuration."""
        return self.values.get(_EPOCH_CONFIG) == config.encode()

    def begin_epoch(self, epoch: int, config: str | None = None) -> None:
        """From here on a full pass is owed, through a stage of this configuration where that counts."""
        values = {_EPOCH: b"%d" % epoch}
        if config is not None:
            values[_EPOCH_CONFIG] = config.encode()
        if values.items() - self.values.items():
            self.remember(values)

    @property
    def complete(self) -> int:
        """The last epoch whose full pass is over."""
        return int(self.values.get(_COMPLETE, b"0"))

    def has_completed(self, epoch: int) -> None:
        """The full pass of this epoch is over."""
        self.remember({_COMPLETE: b"%d" % epoch})

    def swept(self, source: str) -> int:
        """The last epoch of a source after which the stage removed what it did not confirm."""
        return int(self.values.get(_SWEPT + source, b"0"))

    def has_swept(self, source: str, epoch: int) -> None:
        """It is done for this epoch."""
        self.remember({_SWEPT + source: b"%d" % epoch})

    def knows_lanes(self, mark: str) -> bool:
        """Whether the sinks hold nothing but the lanes that this mark stands for."""
        return self.values.get(_LANES) == mark.encode()

    def has_lanes(self, mark: str) -> None:
        """From now on they do."""
        self.remember({_LANES: mark.encode()})

    # --- stamps in collections ---

    def stamp(self, sink: str) -> Version:
        """The last stamp known to be in the collection of a sink node."""
        return Version.of(int(self.values.get(_STAMP + sink, b"0")))

    def stamps(self, sink: str) -> list[str]:
        """Names of the stamps that copies of the stage have put into the collection of a sink node."""
        prefix = f"{_STAMP}{sink}/"
        return [name.removeprefix(_STAMP) for name in self.values if name.startswith(prefix)]


class _Seen:
    """Stands for the session of a stage whose state is only looked at."""

    def __init__(self, values: Mapping[str, bytes]) -> None:
        self._values = values

    def state(self) -> Mapping[str, bytes]:
        """The state that was seen."""
        return self._values

    def commit(self, _positions: Mapping[TopicPartition, int], _state: Values) -> None:
        """Refuse."""
        raise TypeError("this state is looked at only: the session of its stage changes it")


def recalled(log: Log, graph: str, topic: str) -> tuple[Numbering | None, Certain | None]:
    """How any stage of a graph numbered a topic last, for one that never did: a node may have got another name."""
    known = [Numbering.from_json(value) for value in log.recall(graph, _NUMBERING + topic)]
    latest = max(known, key=lambda one: one.inc, default=None)
    certain = [Certain.from_json(value) for value in log.recall(graph, _CERTAIN + topic)]
    fitting = [one for one in certain if latest is not None and one.partitions == latest.partitions]
    return latest, max(fitting, key=lambda one: one.at_ms, default=None)


def is_certain(topic: str, certain: Certain) -> Values:
    """This much of a topic of other programs is older than any growth that comes."""
    return {_CERTAIN + topic: certain.to_json()}


def stamped(sink: str, stamp: Version) -> Values:
    """The collection of a sink node bears this stamp."""
    return {_STAMP + sink: b"%d" % stamp.number}
