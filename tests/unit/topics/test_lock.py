import os

import pytest

from nvisy.errors import Unreachable
from nvisy.topics.lock import lock


def test_a_file_is_locked_once_at_a_time(tmp_path):
    held = lock(tmp_path / "new" / "a.lock")
    assert lock(tmp_path / "new" / "a.lock") is None
    os.close(held)
    again = lock(tmp_path / "new" / "a.lock")
    assert again is not None
    os.close(again)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Unreachable, match="file"):
        lock(tmp_path / "file" / "a.lock")
