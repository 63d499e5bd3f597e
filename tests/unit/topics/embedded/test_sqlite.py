from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from nvisy.topics.embedded.sqlite import close, connect, immediate


def test_a_connection_that_another_thread_waits_in_is_left_to_it(tmp_path: Path):
    path = tmp_path / "topic.db"
    with closing(connect(path, create=True)) as other:
        waiting = connect(path)
        entered = threading.Event()
        found: list[str] = []
        waiting.set_busy_handler(lambda _times: entered.set() or not freed.wait(0.01))
        freed = threading.Event()

        def write() -> None:
            try:
                with immediate(waiting):
                    found.append("written")
            except apsw.BusyError:
                found.append("gave up")

        with immediate(other):
            thread = threading.Thread(target=write)
            thread.start()
            assert entered.wait(30)
            close(waiting)
            assert thread.is_alive()
            freed.set()
            thread.join(30)
    assert found == ["gave up"]
    close(waiting)


def test_a_connection_that_nobody_uses_is_closed(tmp_path: Path):
    db = connect(tmp_path / "topic.db", create=True)
    close(db)
    with pytest.raises(apsw.ConnectionClosedError):
        db.execute("SELECT 1")
