"""`nvisy run`: a graph to its end, or until it is told to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from nvisy.cli.failure import INTERRUPTED, cleaned, code_of, message_of, report
from nvisy.cli.graphs import AsJson, GraphFile, checked_graph
from nvisy.cli.logs import log_to_stderr
from nvisy.cli.output import say, say_json
from nvisy.cli.progress import Progress, progress
from nvisy.graph.model import Graph
from nvisy.rebuilding.live import LiveRebuild
from nvisy.runtime.counters import Report
from nvisy.runtime.run import MAX_WORKERS, Run

DEGRADED = 4


def command(
    graph: GraphFile,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Go on and wait for changes.")] = False,
    allow_dead_letters: Annotated[
        bool, typer.Option("--allow-dead-letters", help="Exit with 0 although dead letters remain.")
    ] = False,
    allow_mass_delete: Annotated[
        bool, typer.Option("--allow-mass-delete", help="Believe a source in which many documents are gone.")
    ] = False,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt", help="Take over an index, or go on after a topic was lost: send everything again."
        ),
    ] = False,
    workers: Annotated[
        int,
        typer.Option(
            "--workers", min=1, max=MAX_WORKERS, help="Processes of each stage; they share the partitions."
        ),
    ] = 1,
    join: Annotated[
        bool,
        typer.Option("--join", help="Run the graph together with other hosts, on Kafka, with --follow."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a graph: everything its sources hold reaches its sinks.

    Exits with 0 when done, 4 while dead letters remain, 3 when something cannot be reached, 6 when going on would do
    harm. SIGTERM and Ctrl-C finish what is in flight first; a second Ctrl-C does not.

    With --join, the hosts that run the same graph share the partitions of its stages. One of them owns it: it alone
    reads the sources. When it ends or dies, another takes over.
    """
    log_to_stderr()
    task = Task(
        graph, follow=follow, allow_mass_delete=allow_mass_delete, adopt=adopt, workers=workers, join=join
    )
    ended = task.completed(as_json=as_json)
    say_json(ended.as_json()) if as_json else say(summary(ended, graph))
    raise typer.Exit(task.exit_code(ended, allow_dead_letters=allow_dead_letters))


class Task:
    """One run, with what is known of it whenever it ends."""

    def __init__(self, path: Path, **options: Any) -> None:
        """`options`: those of `Run`."""
        self._path = path
        self._options = options
        self._started = time.monotonic()
        self._graph: Graph | None = None
        self._run: Run | None = None
        self._seen = Progress()
        self._signal = 0

    def completed(self, *, as_json: bool) -> Report:
        """How it ended, or else what went wrong is said, and the command is over."""
        try:
            return self.run()
        except (Exception, KeyboardInterrupt) as error:
            code = report(error)
            if as_json:
                say_json(self.failed(error))
            raise typer.Exit(code) from None

    def run(self) -> Report:
        """To the end, or until a signal."""
        with self._signals():
            checked = checked_graph(self._path)
            self._graph = checked.graph
            with progress() as self._seen:
                self._run = Run(checked, watch=self._seen.watch, rebuilder=LiveRebuild, **self._options)
                if self._signal:
                    self._run.stop()
                return self._run.start()

    def exit_code(self, ended: Report, *, allow_dead_letters: bool) -> int:
        """What the shell is told about a run that ended in order."""
        if self._signal == signal.SIGINT:
            return INTERRUPTED
        if self._signal or ended.state != "degraded" or allow_dead_letters:
            return 0
        return DEGRADED

    def failed(self, error: BaseException) -> dict[str, Any]:
        """The report of a run that failed, as far as it is known."""
        counters = self._seen.counters()
        nodes = self._graph.nodes if self._graph else ()
        known = Report(
            run_id=self._run.id if self._run else "",
            graph=self._graph.id if self._graph else "",
            state="failed",
            nodes={node.id: counters.node(node.id).as_json() for node in nodes},
            dead_letters=0,
            written=counters.written,
            removed=counters.removed,
            unchanged=counters.unchanged,
            model_calls=counters.model_calls,
            duration_s=round(time.monotonic() - self._started, 3),
            first_read_at_us=counters.first_read_at_us or None,
            last_ack_at_us=counters.last_ack_at_us or None,
        )
        said = "interrupted" if isinstance(error, KeyboardInterrupt) else cleaned(message_of(error))
        unknown = {"run_id": known.run_id or None, "graph": known.graph or None, "dead_letters": None}
        return {**known.as_json(), **unknown, "error": said, "exit_code": code_of(error)}

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and the first SIGINT stop the run; the second SIGINT ends it where it is."""

        def stop(number: int, _frame: FrameType | None) -> None:
            if number == self._signal == signal.SIGINT:
                raise KeyboardInterrupt
            self._signal = number
            if self._run is not None:
                self._run.stop()

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def summary(ended: Report, graph: Path) -> str:
    """How a run ended, in two lines at most."""
    said = (
        f"{ended.state} in {ended.duration_s:.1f} s: {_count(ended.written, 'vector')} written, "
        f"{ended.removed:,} removed, {ended.unchanged:,} unchanged, {_count(ended.model_calls, 'text')} embedded"
    )
    if not ended.dead_letters:
        return said
    return f"{said}\n{_count(ended.dead_letters, 'dead letter')}: nvisy dlq list {graph}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
