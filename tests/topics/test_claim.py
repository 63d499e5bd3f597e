"""One run at a time holds a graph."""

import subprocess
import sys
import time

import pytest

from nvisy.errors import Refused
from tests.topics.drive import until

_HOLD = """
import sys, time
from tests.topics.drive import Place
claim = Place(sys.argv[1] or None, sys.argv[2]).open().claim(sys.argv[3], "host:4711")
print(claim.token, flush=True)
time.sleep(60)
"""


def test_a_second_run_is_refused_and_told_who_holds_the_graph(opened, graph):
    claim = opened().claim(graph, "alpha:1")
    assert claim.remaining_s() > 0
    with pytest.raises(Refused, match="alpha:1"):
        opened().claim(graph, "beta:2")
    claim.release()
    claim.release()
    assert claim.remaining_s() == 0
    later = opened().claim(graph, "beta:2")
    assert later.token > claim.token
    later.release()


def test_graphs_are_claimed_apart(opened, graph):
    claims = [opened().claim(f"{graph}{n}", "alpha:1") for n in (1, 2)]
    for claim in claims:
        claim.release()


def test_the_claim_of_a_process_that_died_is_free_at_once(opened, place, graph):
    arguments = [sys.executable, "-c", _HOLD, place.url or "", place.root, graph]
    holder = subprocess.Popen(arguments, stdout=subprocess.PIPE)
    token = int(holder.stdout.readline())
    with pytest.raises(Refused, match="host:4711"):
        opened().claim(graph, "beta:2")
    holder.kill()
    holder.wait()
    holder.stdout.close()
    began = time.monotonic()
    claim = opened().claim(graph, "beta:2")
    assert time.monotonic() - began < 10
    assert claim.token > token
    claim.release()


def test_a_claim_is_held_for_longer_than_its_lease(opened, graph):
    claim = opened().claim(graph, "alpha:1")
    began = time.monotonic()
    until(lambda: time.sleep(0.2) or time.monotonic() - began > 6)
    assert claim.remaining_s() > 2
    with pytest.raises(Refused, match="alpha:1"):
        opened().claim(graph, "beta:2")
    claim.release()
