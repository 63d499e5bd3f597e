"""The process of one stage: reads its spec and its orders from stdin, writes what happens to stdout.

It ends within a moment when its parent is gone, however that died: the operating system closes the pipe.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import BinaryIO

from nvisy.errors import NvisyError
from nvisy.runtime.messages import StageSpec, line, parse
from nvisy.runtime.stage import StageRunner


class Channel:
    """The pipe to the supervisor."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def send(self, message: bytes) -> None:
        """Write one message; the supervisor's end takes the process with it."""
        with self._lock:
            try:
                self._out.write(message)
                self._out.flush()
            except BrokenPipeError:
                os._exit(1)


def main() -> int:
    """Run the stage that the first line of stdin describes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides what Ctrl-C means
    orders = os.fdopen(os.dup(0), "rb")
    # A user's function may print: stdout belongs to the supervisor, so what is printed goes to stderr.
    channel = Channel(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    runner = StageRunner(StageSpec.from_json(orders.readline()), channel.send)
    threading.Thread(target=_obey, args=(orders, runner), name="orders", daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: runner.stop())
    try:
        runner.run()
    except NvisyError as error:
        channel.send(line("failed", error=runner.clean(str(error)), exit_code=error.exit_code))
        return error.exit_code
    except Exception as error:
        place = _place(error)
        channel.send(
            line("failed", error=runner.clean(f"{type(error).__name__}: {error}{place}"), exit_code=1)
        )
        return 1
    channel.send(line("done"))
    return 0


def _obey(orders: BinaryIO, runner: StageRunner) -> None:
    for raw in orders:
        runner.obey(parse(raw))
    os._exit(1)


def _place(error: BaseException) -> str:
    """Where a defect of ours was raised, for the report of it."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return ""
    code = traceback.tb_frame.f_code
    return f" (in {os.path.basename(code.co_filename)}:{traceback.tb_lineno})"  # noqa: PTH119


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # no waiting for threads of drivers: everything that matters is committed
