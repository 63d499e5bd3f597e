"""The command `nvisy`: finds the command's module, runs it, and turns whatever goes wrong into a message and a code.

A command lives in `nvisy.cli.<name>` and is imported only when it is called, so that `nvisy --help` stays quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from types import MappingProxyType
from typing import Annotated

import typer

from nvisy.cli.failure import report
from nvisy.errors import UsageError

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "quickstart": "Show documents becoming an index that follows them: no server, no key, no network.",
        "run": "Run a graph: everything its sources hold reaches its sinks.",
        "lint": "Say everything that is wrong with a graph, each with its place.",
        "explain": "Say how a graph would run: stages, topics, delivery, models.",
        "diff": "Say what a change of a graph makes its next run do over, and why.",
        "search": "Ask a graph's index a question.",
        "records": "List what a graph's index holds, by document.",
        "lineage": "Say where a vector comes from, or what came of a document.",
        "verify": "Compare what a graph's indexes hold with what its log says, record by record.",
        "repair": "Mend what verify finds wrong, and nothing else.",
        "rebuild": "Build an index anew beside the one that readers see, and let it take its place.",
        "forget": "Be rid of a document for good: in every sink, in the log, in caches.",
        "status": "Say how a graph is: who runs it, how far behind each stage is, what failed.",
        "rerun": "Run a node and what is below it again, on what stands in its topic.",
        "runs": "List the runs of a graph, the newest first; or show one of them.",
        "dlq": "Work through dead letters: documents that could not be processed.",
        "topics": "Look into the log.",
        "nodes": "List what a graph can be made of, with its parameters.",
        "schema": "Print the JSON Schema of graph files, for editors.",
        "doctor": "Check this installation and what it can reach.",
        "help": "Explain a code such as NV1203.",
    }
)
"""Every command, in the order of `nvisy --help`, with its first line of help."""


def main() -> None:
    """Run the command line of this process, and exit."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a terminal may know few characters
    sys.exit(call(sys.argv[1:]))


def call(arguments: Sequence[str]) -> int:
    """Run a command. Returns its exit code; raises nothing."""
    code: int | str | None
    try:
        _app(_chosen(arguments))(list(arguments), prog_name="nvisy")
        code = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException as error:
        code = report(error)
    return _flushed(code if isinstance(code, int) else int(bool(code)))


def _chosen(arguments: Sequence[str]) -> str:
    """The command among the arguments, or nothing. A shell that completes passes them in a variable."""
    if "_NVISY_COMPLETE" in os.environ:
        arguments = os.environ.get("_TYPER_COMPLETE_ARGS", os.environ.get("COMP_WORDS", "")).split()[1:]
    return next((word for word in arguments if not word.startswith("-")), "")


def _app(chosen: str) -> typer.Typer:
    """All commands: the chosen one itself, and of the others name and first line."""
    app = typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, callback=_root
    )
    for name, summary in COMMANDS.items():
        if name != chosen:
            app.command(name, help=summary)(_not_chosen)
            continue
        module = import_module(f"nvisy.cli.{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name, help=summary)
        else:
            app.command(name)(module.command)
    return app


def _not_chosen() -> None:
    raise UsageError("write the command before its options")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"nvisy {version('nvisy')}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Streaming dataflows for AI data: documents to vectors, effectively once."""


def _flushed(code: int) -> int:
    """Write out what is buffered; a reader that has gone, as in `| head`, is no fault."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
