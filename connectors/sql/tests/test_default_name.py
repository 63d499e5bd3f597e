"""Every source node has a slot of its own, whatever it is called."""

from __future__ import annotations

import pytest
from nvisy_sql.postgres import default_name


@pytest.mark.parametrize(
    "others",
    [
        [("x_y", "z"), ("x", "y_z"), ("x-y", "z")],
        [("g" * 64, "rows"), ("g" * 64, "lines")],
        [("Docs", "rows"), ("docs", "rows")],
    ],
)
def test_two_nodes_have_two_slots(others):
    names = [default_name(*node) for node in others]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 and name.startswith("nvisy_") for name in names)


def test_a_node_has_the_same_slot_every_time():
    assert default_name("shop", "rows") == default_name("shop", "rows")
