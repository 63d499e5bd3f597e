"""What `make follow` shows is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "dataflows" / "code" / "follow_a_table.py"


@pytest.mark.timeout(600)
def test_the_best_hit_changes_with_the_rows():
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    best = re.findall(r"\?\n +\S+  (\S+)", done.stdout)
    assert best == [f"public.articles/{row}" for row in (1, 4, 1, 2)], done.stdout
