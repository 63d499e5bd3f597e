"""The process of one stage: reads its spec and its orders from stdin, writes what happens to stdout.

`fork_server.py` makes it. It ends within a moment when its supervisor is gone, however that died: the operating system
closes the pipe.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

from nvisy.errors import DealtAnew, NvisyError, SeatTaken
from nvisy.fault_points import Point, enter, reach
from nvisy.runtime.messages import StageSpec, line, parse
from nvisy.runtime.stage import StageRunner

GC_OBJECTS = 20_000
"""New objects before the collector looks for cycles among them."""


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
    # Thousands of changes are in flight, and none of them is in a cycle: they need not be looked through so often.
    gc.set_threshold(GC_OBJECTS, 20, 20)
    orders: SimpleQueue[bytes] = SimpleQueue()
    pipe = os.fdopen(os.dup(0), "rb")
    threading.Thread(target=_listen, args=(pipe, orders), name="orders", daemon=True).start()
    # A user's function may print: stdout belongs to the supervisor, so what is printed goes to stderr.
    channel = Channel(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return _work(orders, channel)


def _listen(pipe: BinaryIO, orders: SimpleQueue[bytes]) -> None:
    for raw in pipe:
        orders.put(raw)
    os._exit(1)


def _work(orders: SimpleQueue[bytes], channel: Channel) -> int:
    spec = StageSpec.from_json(orders.get())
    enter(spec.stage)
    runner = StageRunner(spec, channel.send)
    reach(Point.STAGE_STARTED)

    class ToSupervisor(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = runner.clean(record.getMessage())
            channel.send(line("log", level=record.levelno, name=record.name, text=text))

    logging.basicConfig(handlers=[ToSupervisor()], level=logging.INFO, force=True)

    def obey() -> None:
        while True:
            runner.obey(parse(orders.get()))

    threading.Thread(target=obey, name="obeying", daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: runner.stop())
    try:
        runner.run()
    except NvisyError as error:
        again = isinstance(error, DealtAnew | SeatTaken)
        said = runner.clean(str(error))
        channel.send(line("failed", error=said, exit_code=error.exit_code, again=again))
        return error.exit_code
    except Exception as error:  # the last place to turn a defect into a message
        message = f"{type(error).__name__}: {error}{_place(error)}"
        channel.send(line("failed", error=runner.clean(message), exit_code=1, again=False))
        return 1
    channel.send(line("done", read=runner.read))
    return 0


def _place(error: BaseException) -> str:
    """Where a defect of ours was raised, for the report of it."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return ""
    return f" (in {Path(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno})"
