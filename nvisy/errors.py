"""Every error Nvisy raises, as one tree.

```
NvisyError
├── GraphError        the graph is wrong: a list of faults, each with its place        exit 1
├── ExpressionError   an expression does not compile                                   exit 1
├── UsageError        the command or call was used wrongly                             exit 2
├── Unreachable       a broker, store or server does not answer                        exit 3
│   └── DealtAnew     partitions are dealt out anew: the stage has only to begin again
├── Refused           going on would do harm: held elsewhere, a gap, a foreign index   exit 6
│   └── SeatTaken     another process writes as this stage, or the log thinks so
├── CodecError        bytes that are not what they claim to be
│   └── UnknownSchema the registry does not know the schema of a record
└── ConnectorError    what connectors, actions and models raise while data flows
    ├── Transient     try again later, the data is fine                                exit 3
    ├── Rejected      this one document cannot be processed: it goes to the dead letters
    └── Fatal         no document can be processed: the run stops                      exit 1
```

`StageFailed`, which only the supervisor raises, has the exit code of what its stage failed of. The module imports
nothing of ours, so every layer may raise these.
"""

from __future__ import annotations

from dataclasses import dataclass


class NvisyError(Exception):
    """The root: `exit_code` is what a command that ends with it returns to the shell."""

    exit_code: int = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a graph: where (1-based line and column, 0 when there is no file), what, and how to fix it.

    Attributes:
        code: A stable name such as `NV1203`, explained by `nvisy help CODE`.
        message: What is wrong, in one sentence.
        pointer: JSON pointer to the value, `/nodes/1/type`.
        hint: What to do about it, or empty.
    """

    code: str
    message: str
    pointer: str = ""
    line: int = 0
    column: int = 0
    hint: str = ""
    file: str = ""

    def __str__(self) -> str:
        where = (
            f"{self.file or 'graph'}:{self.line}:{self.column}" if self.line else (self.pointer or "graph")
        )
        hint = f"; {self.hint}" if self.hint else ""
        return f"{where}  {self.code}  {self.message}{hint}"


class GraphError(NvisyError):
    """The graph cannot be compiled; `faults` holds everything that is wrong with it, not only the first."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("\n".join(str(fault) for fault in faults))


class ExpressionError(NvisyError):
    """An expression that does not compile; `column` is 1-based within the expression."""

    def __init__(self, message: str, *, column: int | None = None, hint: str | None = None) -> None:
        self.message = message
        self.column = column
        self.hint = hint
        place = f"column {column}: " if column is not None else ""
        super().__init__(f"{place}{message}" + (f"; {hint}" if hint else ""))


class UsageError(NvisyError):
    """A command or a call that makes no sense as it was given."""

    exit_code = 2


class Unreachable(NvisyError):  # noqa: N818 - a state of the world, and reads as one where it is caught
    """A system outside does not answer: which, at what address (without its password), and what it said."""

    exit_code = 3


class DealtAnew(Unreachable):
    """The log deals the partitions of a stage out anew among its copies: open the session again, at once."""


class Refused(NvisyError):  # noqa: N818
    """Going on would corrupt or destroy something: another run holds the graph, or a source has a gap."""

    exit_code = 6


class SeatTaken(Refused):
    """Another process writes as this stage by now; or the log only thinks so, since the stage was still for too long.

    Whoever holds the claim on the graph may take the seat again.
    """


class CodecError(NvisyError):
    """Bytes that cannot be decoded, or a value that its schema does not allow."""


class UnknownSchema(CodecError):  # noqa: N818
    """The registry does not know the schema that a record names: it can be read once the registry does."""


class ConnectorError(NvisyError):
    """What connectors, actions and models raise while data flows."""


class Transient(ConnectorError):  # noqa: N818
    """The same call may succeed later; nothing is wrong with the data.

    Attributes:
        retry_after_s: Seconds the other side asked us to wait, or None.
    """

    exit_code = 3

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class Rejected(ConnectorError):  # noqa: N818
    """One document cannot be processed, and trying again as it is would not help: it goes to the dead letters.

    Attributes:
        kind: The class of the fault in one word: `decode`, `encrypted`, `too_large`, `expression`, `sink`, …
        retryable: Whether replaying the same bytes later may succeed.
        attempts: How often it was tried; whoever repeats calls counts.
    """

    def __init__(self, message: str, *, kind: str = "rejected", retryable: bool = False) -> None:
        self.kind = kind
        self.retryable = retryable
        self.attempts = 1
        super().__init__(message)


class Fatal(ConnectorError):  # noqa: N818
    """No document can be processed: bad credentials, a collection of other dimensions, a full disk."""
