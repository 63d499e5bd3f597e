import json
import subprocess
from pathlib import Path

import psutil

from tests.servers.guard import start_guard
from tests.servers.runner import LocalProcess


def start_sleeper(folder: Path) -> psutil.Process:
    folder.mkdir(parents=True)
    LocalProcess(folder, ["sleep", "600"]).start()
    return psutil.Process(json.loads((folder / "pid.json").read_text())["pid"])


def end_of_session(session: Path) -> None:
    start_guard(session).communicate(timeout=30)


def test_no_server_outlives_the_session_that_started_it(tmp_path: Path):
    sleeper = start_sleeper(tmp_path / "session" / "server")
    end_of_session(tmp_path / "session")
    assert sleeper.status() == psutil.STATUS_ZOMBIE or not sleeper.is_running()
    assert not (tmp_path / "session").exists()


def test_a_pid_that_now_belongs_to_another_process_is_left_alone(tmp_path: Path):
    server = tmp_path / "session" / "server"
    server.mkdir(parents=True)
    with subprocess.Popen(["sleep", "600"]) as stranger:
        identity = {"pid": stranger.pid, "created": 1.0, "stop_signal": 15}
        (server / "pid.json").write_text(json.dumps(identity))
        end_of_session(tmp_path / "session")
        assert stranger.poll() is None
        stranger.kill()
