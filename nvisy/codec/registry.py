"""Where schemas get their numbers: the interface, and which registry a process uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from nvisy.codec.file_registry import FileRegistry
from nvisy.codec.framing import SchemaRef
from nvisy.errors import UsageError

REGISTRY_FOLDER = "schemas"


class Registry(Protocol):
    """Schemas by number. Threads may share one."""

    url: str
    """How a person names it, without secrets."""

    def register(self, subject: str, schema: str) -> int:
        """The number of `schema` (JSON text) under `subject`, which is `<topic>-value`; a new one where it is new.

        Raises:
            CodecError: It cannot read what earlier schemas of the subject wrote.
            Unreachable: The registry does not answer, or refuses us.
        """

    def schema(self, ref: SchemaRef) -> str:
        """The schema that a message names, as JSON text.

        Raises:
            CodecError: There is none, or it is no Avro schema.
            Unreachable: The registry does not answer, or refuses us.
        """


def open_registry(environ: Mapping[str, str], root: Path) -> Registry:
    """The registry at `NVISY_REGISTRY_URL`, or a folder of files below `root` where none is named.

    Args:
        environ: `NVISY_REGISTRY_URL`, and for a registry that asks for it `NVISY_REGISTRY_USER` with
            `NVISY_REGISTRY_PASSWORD` or `NVISY_REGISTRY_PASSWORD_FILE`.
        root: Folder of the project's state, `.nvisy`.

    Raises:
        UsageError: The settings contradict each other, or would send a password in the clear.
    """
    url = environ.get("NVISY_REGISTRY_URL", "")
    if not url:
        return FileRegistry(root / REGISTRY_FOLDER)
    from nvisy.codec.http_registry import HttpRegistry  # noqa: PLC0415 - its HTTP client, only where there is a URL

    user = environ.get("NVISY_REGISTRY_USER", "")
    return HttpRegistry(url, user=user, password=_password(environ))


def _password(environ: Mapping[str, str]) -> str:
    path = environ.get("NVISY_REGISTRY_PASSWORD_FILE", "")
    if not path:
        return environ.get("NVISY_REGISTRY_PASSWORD", "")
    try:
        return Path(path).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"NVISY_REGISTRY_PASSWORD_FILE={path} cannot be read: {reason}") from None
