"""The tools that a model called, which called which, and what that took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from typing import Annotated, Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nvisy.primitives.primitive import Primitive, built
from nvisy.primitives.values import (
    MAX_DEPTH,
    USD_END,
    Count,
    Json,
    Milliseconds,
    Usd,
    is_sound,
)


class ToolCall(BaseModel):
    """One call of a tool.

    Attributes:
        name: Name of the tool.
        parent: Index, in the trace, of the call that made this one; None for a call of the model itself.
        arguments: What it was called with.
        result: What it gave back.
        error: Why it failed, or empty.
        latency_ms: Milliseconds that the call itself took, the calls below it apart.
        cost_usd: What the call itself cost in US dollars, the calls below it apart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1)
    parent: Count | None = None
    arguments: Json = None
    result: Json = None
    error: str = ""
    latency_ms: Milliseconds = 0.0
    cost_usd: Usd = Decimal(0)

    @classmethod
    def decoded(cls, fields: dict[str, Any]) -> Self:
        """Checks the name and the numbers; JSON was checked where it was read, the rest is for the schema's types."""
        parent = fields["parent"]
        sound = (
            fields["name"]
            and (parent is None or parent >= 0)
            and 0 <= fields["latency_ms"] < inf
            and 0 <= fields["cost_usd"] < USD_END
        )
        return built(cls, fields) if sound else cls.model_validate(fields)


@dataclass(frozen=True, slots=True)
class ToolCallNode:
    """One call with the calls below it: the trace as a tree.

    Attributes:
        call: The call. Its `parent` counts only inside a trace.
        children: The calls it made, in order.
    """

    call: ToolCall
    children: tuple[ToolCallNode, ...] = ()

    @property
    def latency_ms(self) -> float:
        """Milliseconds of this call and of everything below it."""
        return self.call.latency_ms + sum(child.latency_ms for child in self.children)

    @property
    def cost_usd(self) -> Decimal:
        """US dollars for this call and for everything below it."""
        return sum((child.cost_usd for child in self.children), self.call.cost_usd)


class ToolCallTrace(Primitive):
    """The tool calls behind one answer: a flat list on the wire, a tree in memory.

    A call stands behind the call that made it, so a cycle cannot be written down.

    Attributes:
        calls: All calls, in the order they began; at most 64 levels of calls that make calls.
        model: Model and revision that made them, or empty.
    """

    calls: Annotated[tuple[ToolCall, ...], Field(min_length=1)]
    model: str = ""

    @classmethod
    def from_tree(cls, roots: Iterable[ToolCallNode], *, model: str = "") -> Self:
        """A trace of these calls and everything below them."""
        calls: list[ToolCall] = []
        waiting = [(root, None, 1) for root in reversed(tuple(roots))]
        stack: list[tuple[ToolCallNode, int | None, int]] = list(waiting)
        while stack:
            node, parent, depth = stack.pop()
            if depth > MAX_DEPTH:
                raise ValueError(f"calls may nest {MAX_DEPTH} levels deep, and {node.call.name!r} is deeper")
            stack.extend((child, len(calls), depth + 1) for child in reversed(node.children))
            calls.append(node.call.model_copy(update={"parent": parent}))
        return cls(calls=tuple(calls), model=model)

    @property
    def roots(self) -> tuple[ToolCallNode, ...]:
        """The calls that the model made itself, each with what lies below it."""
        below: list[list[ToolCallNode]] = [[] for _ in self.calls]
        roots: list[ToolCallNode] = []
        for index in range(len(self.calls) - 1, -1, -1):
            call = self.calls[index]
            node = ToolCallNode(call, tuple(reversed(below[index])))
            (roots if call.parent is None else below[call.parent]).append(node)
        return tuple(reversed(roots))

    @property
    def latency_ms(self) -> float:
        """Milliseconds of all calls."""
        return sum(call.latency_ms for call in self.calls)

    @property
    def cost_usd(self) -> Decimal:
        """US dollars for all calls."""
        return sum((call.cost_usd for call in self.calls), Decimal(0))

    def content_parts(self) -> tuple[bytes | str, ...]:
        """What was called with what, and what came of it; neither times nor costs."""
        said = [[call.name, call.parent, call.arguments, call.result, call.error] for call in self.calls]
        return (orjson.dumps(said, option=orjson.OPT_SORT_KEYS),)

    @classmethod
    def decoded(cls, fields: dict[str, Any]) -> Self:
        """Checks that the calls are a tree, and the metadata; the rest is for the schema's types."""
        if not fields["content_hash"] or not fields["calls"] or not is_sound(fields["metadata"]):
            return cls.model_validate(fields)
        _check_tree(fields["calls"])
        return cls.trusted(fields)

    @model_validator(mode="after")
    def _tree(self) -> Self:
        _check_tree(self.calls)
        return self


def _check_tree(calls: Sequence[ToolCall]) -> None:
    depths: list[int] = []
    for index, call in enumerate(calls):
        if call.parent is not None and call.parent >= index:
            raise ValueError(
                f"calls[{index}] ({call.name!r}) names calls[{call.parent}] as its parent, "
                "which does not stand before it; a trace is a tree in the order its calls began"
            )
        depths.append(1 if call.parent is None else depths[call.parent] + 1)
        if depths[-1] > MAX_DEPTH:
            raise ValueError(
                f"calls may nest {MAX_DEPTH} levels deep, and calls[{index}] ({call.name!r}) is deeper"
            )
