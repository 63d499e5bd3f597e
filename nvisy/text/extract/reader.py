"""Keeps one reader process alive between documents, and replaces it when one of them breaks it."""

import atexit
import os
import subprocess
import sys
import threading
from typing import IO

from nvisy.errors import Rejected, Transient
from nvisy.text.extract.extracted import Extracted
from nvisy.text.extract.frames import receive, send

MEMORY_BYTES = 2**30  # address space of the process
DEADLINE_S = 30  # for one document


class Reader:
    """A process of its own that reads one document at a time, from any thread.

    Args:
        memory_bytes: The address space it may use.
        deadline_s: Seconds it may spend on one document.
    """

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES, deadline_s: float = DEADLINE_S) -> None:
        self._memory_bytes = memory_bytes
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner_pid = 0

    def read(self, file_format: str, content: bytes, **options: str) -> Extracted:
        """The text of a document in one of `child.FORMATS`, read with the options its reader takes.

        What earlier documents left behind may break a process, so a crash or exhausted memory counts only
        when a fresh one meets it too.

        Raises:
            Rejected: what the format's reader raises; `crash`, `timeout` or `too_large` if it did not survive.
            Transient: The process cannot be started.
        """
        with self._lock:
            used = self._alive()
            try:
                return self._ask(file_format, content, options)
            except Rejected as error:
                if not used or error.kind not in {"crash", "memory"}:
                    raise
            return self._ask(file_format, content, options)

    def close(self) -> None:
        """End the process, if there is one; the next document starts another."""
        with self._lock:
            self._stop()

    def _ask(self, file_format: str, content: bytes, options: dict[str, str]) -> Extracted:
        process = self._started()
        assert process.stdin
        assert process.stdout
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(self._deadline_s, expire)
        timer.start()
        try:
            send(process.stdin, {"format": file_format, "options": options}, content)
            reply = receive(process.stdout)
        except OSError:
            reply = None
        finally:
            timer.cancel()
        if reply is None:
            self._stop()
            raise self._lost(file_format, timed_out=expired.is_set())
        header, payload = reply
        if "kind" in header:
            raise self._refused(header["kind"], header["message"])
        return Extracted(payload.decode(), header["metadata"])

    def _refused(self, kind: str, message: str) -> Rejected:
        if kind != "memory":
            return Rejected(message, kind=kind)
        self._stop()
        return Rejected(
            f"reading the document takes more than {self._memory_bytes // 2**20} MiB of memory; split it",
            kind="too_large",
        )

    def _lost(self, file_format: str, *, timed_out: bool) -> Rejected:
        if timed_out:
            return Rejected(
                f"the {file_format} document was not read within {self._deadline_s:g} s; split it",
                kind="timeout",
                retryable=True,
            )
        return Rejected(
            f"the {file_format} document crashes its parser or exhausts its memory; repair or split it",
            kind="crash",
        )

    def _alive(self) -> bool:
        return self._process is not None and self._owner_pid == os.getpid() and self._process.poll() is None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._alive() and self._process:
            return self._process
        self._stop()
        limits = [str(self._memory_bytes), str(int(self._deadline_s) + 2)]
        command = [sys.executable, "-P", "-m", "nvisy.text.extract.child", *limits]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            raise Transient(f"cannot start the process that reads documents: {error.strerror}") from error
        self._owner_pid = os.getpid()
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner_pid != os.getpid():
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                _close(stream)


def _close(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except BrokenPipeError:  # what was still buffered has nowhere to go
        return


SHARED = Reader()
atexit.register(SHARED.close)
