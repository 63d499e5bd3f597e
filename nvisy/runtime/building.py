"""From the nodes of a stage to the steps that run them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from nvisy import expressions
from nvisy.connector.action import Action, AskingAction, BatchAction
from nvisy.connector.descriptor import ActionDescriptor
from nvisy.connector.fields import fields_in
from nvisy.connector.shape import Shape
from nvisy.errors import Fatal
from nvisy.expressions import FieldType
from nvisy.graph.model import ActionNode, BranchNode, Retry, Routes, Timeout
from nvisy.graph.validate import CheckedGraph, CheckedNode
from nvisy.plan.model import Stage
from nvisy.primitives.primitive import Primitive
from nvisy.runtime.counters import StageCounters
from nvisy.runtime.deadline import Deadline, Within, without_limit
from nvisy.runtime.outage import Breaker
from nvisy.runtime.outlets import Patience
from nvisy.runtime.retry import RetryPolicy
from nvisy.runtime.steps import Assembly, BatchStep, EachStep, Identities, RouteStep, Step
from nvisy.runtime.window import Window

T = TypeVar("T")


class Steps:
    """The steps of a stage, by node, and the actions behind them."""

    def __init__(
        self, checked: CheckedGraph, stage: Stage, state: Path, counters: StageCounters, patience: Patience
    ) -> None:
        self._patience = patience
        self._checked = checked
        self._state = state
        self._counters = counters
        self._closing = ExitStack()
        self._models: list[Action] = []
        self.by_node: dict[str, Step | RouteStep | Window] = {}
        for node in stage.nodes:
            step = self._step(node, checked.nodes[node])
            if step is not None:
                self.by_node[node] = step

    def count_models(self) -> None:
        """Bring what model steps count themselves into the stage's counters."""
        for name in ("model_calls", "cache_hits", "tokens", "cost_usd"):
            setattr(self._counters, name, sum(getattr(action, name, 0) or 0 for action in self._models))

    def close(self) -> None:
        """Close every action."""
        self._closing.close()

    def _step(self, name: str, node: CheckedNode) -> Step | RouteStep | Window | None:
        identities = Identities(name, node.config_hash)
        counters = self._counters.node(name)
        if isinstance(node.node, BranchNode):
            return RouteStep(name, _routes(node), node.params.default, identities, counters)
        if not isinstance(node.node, ActionNode):
            return None
        assert isinstance(node.descriptor, ActionDescriptor)
        if node.descriptor.whole_stream:
            return None  # it decides where the stage ends: `DeduplicatingOutlet`
        action = node.descriptor.build(node.params, self._checked.context(name, self._state))
        self._closing.callback(action.close)
        self._models.append(action)
        retry = policy(node.node.retry)
        if isinstance(action, AskingAction):
            assembly = Assembly(name, identities, counters)
            return self._window(name, action, assembly, retry, node.node.concurrency.max_per_node)
        within = self._watched(_deadline(name, node.node.timeout))
        if isinstance(action, BatchAction):
            return BatchStep(name, action, identities, retry, counters, within)
        return EachStep(name, action, identities, retry, counters, within)

    def _watched(self, within: Within) -> Within:
        """Calls that the watchdog knows of."""

        def call(function: Callable[[], T], /) -> T:
            return self._patience.activity.working(partial(within, function))

        return call

    def _window(
        self, name: str, action: AskingAction, assembly: Assembly, retry: RetryPolicy, most: int | None
    ) -> Window:
        """The window of a node with at most so many calls, as the node, its connection and its model allow."""
        patience = self._patience
        breaker = Breaker(retry, patience, action.is_up)
        calls = min(action.max_in_flight, most or action.max_in_flight)
        window = Window(name, action, assembly, breaker, calls=calls, stopped=patience.stopped)
        self._closing.callback(window.close)
        return window


def policy(retry: Retry) -> RetryPolicy:
    """The retry policy that a node of the graph asks for."""
    return RetryPolicy(
        retry.max_retries, retry.backoff, retry.initial_delay_ms / 1000, retry.max_delay_ms / 1000
    )


def _deadline(name: str, timeout: Timeout) -> Within:
    """How the calls of a node are made: within the time that the graph gives it, or without a limit."""
    most_ms = timeout.node_timeout_ms
    return without_limit if most_ms is None else Deadline(name, most_ms / 1000).call


def _routes(node: CheckedNode) -> list[tuple[str, Callable[[Primitive], Any]]]:
    routes: Routes = node.params
    if node.incoming is None:
        raise Fatal("a branch has something coming in")
    return [(route.port, _condition(route.when, node.incoming)) for route in routes.routes]


def _condition(when: str, incoming: Shape) -> Callable[[Primitive], Any]:
    return expressions.compile(when, fields_in(incoming, when), FieldType.BOOL)
