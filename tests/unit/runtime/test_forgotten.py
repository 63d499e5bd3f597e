"""Marks that keep documents away, and whose keys they mean."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from nvisy.runtime.forgotten import Mark, forgotten_keys, lift_mark, marks_of, put_mark
from nvisy.topics.embedded import EmbeddedLog


def test_a_mark_means_its_source_and_every_source_once_that_has_another_name(tmp_path: Path) -> None:
    with closing(EmbeddedLog(tmp_path)) as log:
        assert forgotten_keys(log, "g", ("files", "rows")) == {}
        mark = Mark("files", "a/b.md", 1)
        put_mark(log, "g", mark)
        assert marks_of(log, "g") == [mark]
        assert forgotten_keys(log, "g", ("files", "rows")) == {"files": {"a/b.md"}, "rows": frozenset()}
        assert forgotten_keys(log, "g", ("documents", "rows")) == {
            "documents": {"a/b.md"},
            "rows": {"a/b.md"},
        }
        assert forgotten_keys(log, "other", ("files",)) == {}
        lift_mark(log, "g", mark)
        assert marks_of(log, "g") == []
