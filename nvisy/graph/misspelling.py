"""Names that are one slip away from a known one, as a regular expression that editors understand."""

from __future__ import annotations

from collections.abc import Collection, Iterable

_SHORTEST = 4
"""Of shorter names too many real ones are one slip away: `map` and `tap`."""
_SPECIAL = frozenset("\\^$.|?*+()[]{}")


def other_than(names: Iterable[str], also: Collection[str] = ()) -> str:
    """A pattern (ECMA-262) of texts that are not empty, none of `also`, and no misspelling of `names`.

    A misspelling has one character too many, too few, or wrong, or two that changed places.
    """
    slips = [slip for name in names if len(name) >= _SHORTEST for slip in _slips(name)]
    refused = "|".join([*slips, *map(_literal, sorted(also))])
    return f"^(?!(?:{refused})$)." if refused else "."


def _slips(name: str) -> Iterable[str]:
    for place in range(len(name)):
        before, here, after = name[:place], name[place : place + 1], name[place + 1 :]
        yield f"{_literal(before)}.?{_literal(after)}"
        yield f"{_literal(before)}.{_literal(here + after)}"
        if after:
            yield _literal(before + after[0] + here + after[1:])
    yield f"{_literal(name)}."


def _literal(text: str) -> str:
    return "".join(f"\\{char}" if char in _SPECIAL else char for char in text)
