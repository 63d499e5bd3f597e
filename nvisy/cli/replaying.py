"""Trying dead letters again, by the run that is live or by this command, and saying what became of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import typer

from nvisy.cli.graphs import checked_graph
from nvisy.cli.letters import refuse_unknown
from nvisy.cli.logs import log_to_stderr
from nvisy.cli.output import one_line, say, say_json
from nvisy.cli.run import DEGRADED, Task, summary
from nvisy.runtime.asking import Asking, not_readable_again
from nvisy.runtime.counters import Report
from nvisy.runtime.dead_letters import DeadLetter
from nvisy.runtime.generations import open_letters, plan_of
from nvisy.runtime.requests import CLOSED, Answer
from nvisy.runtime.selection import Selection
from nvisy.runtime.settings import Settings

_SAID = {
    "resolved": "resolved",
    "superseded": "superseded: a newer version of the document has passed",
    "dropped": "dropped",
    "gone": "gone: the graph no longer has this way",
    "closed": "closed",
    "open": "still open",
}


def replay_letters(path: Path, chosen: Selection, *, as_json: bool) -> None:
    """Have the letters tried again, say what became of them, and exit."""
    log_to_stderr()
    checked = checked_graph(path)
    ended: Report | None = None
    with closing(Settings.from_environ().open_log()) as log:
        refuse_unknown(chosen, checked.graph, open_letters(log, checked.graph.id))
        asking = Asking(log, checked.graph.id, "replay", chosen)
        refused = not_readable_again(checked, plan_of(log, checked), asking.letters)
        for letter, why in refused:
            typer.echo(f"nvisy: {letter.id}: {why}", err=True)
        asking.leave_out(letter for letter, _ in refused)
        with standing_if_interrupted():
            by_owner = asking.by_owner()
        if not by_owner:
            ended = Task(path, replay=asking.named).completed(as_json=as_json)
        say_outcomes(asking, as_json=as_json)
        code = DEGRADED if refused else code_of_outcomes(asking)
    if ended is not None:
        say_json(ended.as_json()) if as_json else say(summary(ended, path))
    raise typer.Exit(code)


def say_outcomes(asking: Asking, *, as_json: bool) -> None:
    """A line for each letter."""
    answers = asking.answers()
    if not asking.letters and not as_json:
        say("no such dead letters")
    for letter in asking.letters:
        answer = answers[letter.record_key]
        if as_json:
            say_json(_as_json(letter, answer))
        else:
            said = _SAID.get(answer.outcome, answer.outcome)
            if answer.again is not None:
                said = f"failed again, as {answer.again.id}: {one_line(answer.again.message, 120)}"
            say(f"{letter.id}  {one_line(letter.key, 50)}  {said}")


def code_of_outcomes(asking: Asking) -> int:
    """0 if all of them are closed, else the code of a run that leaves dead letters."""
    answers = asking.answers()
    return 0 if all(answers[one.record_key].outcome in CLOSED for one in asking.letters) else DEGRADED


@contextmanager
def standing_if_interrupted() -> Iterator[None]:
    """Whoever does not want to wait is told that the request stands."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(
            "nvisy: no longer waiting; a request that was left to a live run is carried out by it", err=True
        )
        raise


def _as_json(letter: DeadLetter, answer: Answer) -> dict[str, Any]:
    again = answer.again
    failed_again = {"id": again.id, "kind": again.kind, "message": again.message} if again else None
    return {
        "id": letter.id,
        "key": letter.key,
        "node": letter.node,
        "outcome": answer.outcome,
        "failed_again": failed_again,
    }
