"""Where a graph came from, which is how its faults find their place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nvisy.errors import Fault
from nvisy.graph.positions import Positions


@dataclass(frozen=True, slots=True)
class Origin:
    """The text that a graph was read from.

    Attributes:
        file: Its name as the user gave it, or empty for a graph built in Python or read from other text.
        folder: Absolute; relative paths in the graph start here.
        positions: Where each value stands in the text, or None where there is no text.
    """

    file: str = ""
    folder: Path = field(default_factory=Path.cwd)
    positions: Positions | None = field(default=None, repr=False)

    def fault(self, code: str, message: str, pointer: str, hint: str = "", *, at_name: bool = False) -> Fault:
        """A fault at the value that `pointer` leads to, or at its name."""
        line, column = self.positions.of(pointer, name=at_name) if self.positions else (0, 0)
        return Fault(code, message, pointer, line, column, hint, self.file)


def in_order(faults: Iterable[Fault]) -> list[Fault]:
    """Each fault once, from the top of the file to its end."""
    return sorted(dict.fromkeys(faults), key=lambda fault: (fault.line, fault.column))
