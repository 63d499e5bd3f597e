"""The frame around every command."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from nvisy.cli import explain, failure, lint
from nvisy.cli.main import COMMANDS
from nvisy.errors import Fatal, Fault, GraphError, Refused, Transient, Unreachable, UsageError
from nvisy.runtime.supervisor import StageFailed
from tests.unit.cli.conftest import Call

HEAVY = ("bytewax", "confluent_kafka", "numpy", "pydantic", "rich", "apsw", "httpx", "structlog")


def test_help_names_every_command(nvisy: Call) -> None:
    ended = nvisy("--help")
    assert ended.code == 0
    assert all(name in ended.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_of_itself_what_the_list_of_commands_says(nvisy: Call, name: str) -> None:
    ended = nvisy(name, "--help")
    assert ended.code == 0
    module = import_module(f"nvisy.cli.{name}")
    if hasattr(module, "command"):
        assert module.command.__doc__.splitlines()[0] == COMMANDS[name]


def test_help_imports_nothing_heavy() -> None:
    look = f"import sys; from nvisy.cli.main import call; call(['--help']); print(set({HEAVY}) & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "set()"


def test_importing_the_package_imports_nothing_heavy() -> None:
    look = (
        f"import sys, nvisy; print(set({HEAVY}) & set(sys.modules), nvisy.__all__ == sorted(nvisy.__all__))"
    )
    ended = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert ended.stdout == "set() True\n"


def test_the_version_is_printed(nvisy: Call) -> None:
    assert nvisy("--version").out.startswith("nvisy 0.")


@pytest.mark.parametrize("arguments", [["lintt"], ["lint"], ["lint", "a", "--no-such-option"], []])
def test_wrong_usage_exits_with_2(nvisy: Call, arguments: list[str]) -> None:
    assert nvisy(*arguments).code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GraphError([Fault("NV1101", "x")]), 1),
        (UsageError("x"), 2),
        (Unreachable("x"), 3),
        (Transient("x"), 3),
        (Refused("x"), 6),
        (Fatal("x"), 1),
        (StageFailed("s", "x", 6), 6),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_every_error_has_its_exit_code_and_no_traceback(
    nvisy: Call, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(explain, "checked_graph", failing)
    ended = nvisy("explain", "graph.json")
    assert ended.code == code
    assert "Traceback" not in ended.err


def test_a_defect_names_its_type_and_place_and_shows_the_rest_on_request(
    nvisy: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lint, "checked_graph", lambda _path: 1 / 0)
    ended = nvisy("lint", "graph.json")
    assert ended.code == 1
    assert "this is a defect of Nvisy: ZeroDivisionError: division by zero (at " in ended.err
    assert "test_main.py:" in ended.err
    assert "Traceback" not in ended.err
    monkeypatch.setenv("NVISY_DEBUG", "1")
    assert "Traceback" in nvisy("lint", "graph.json").err


def test_secrets_stay_out_of_messages(nvisy: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    failure.clean_with(lambda text: text.replace("hunter2", "***"))

    def failing(_path: object) -> None:
        raise Unreachable("postgres://me:hunter2@host does not answer")

    monkeypatch.setattr(lint, "checked_graph", failing)
    assert nvisy("lint", "graph.json").err == "nvisy: postgres://me:***@host does not answer\n"


def test_a_reader_that_has_gone_is_no_fault() -> None:
    command = f"{sys.executable} -c 'from nvisy.cli.main import main; main()' schema | head -c 10"
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert ended.stderr == ""
    assert ended.returncode == 0
