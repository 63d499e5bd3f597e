"""One run at a time holds a graph."""

import subprocess
import sys
import time

import pytest

from nvisy.errors import Refused
from nvisy.topics.kafka.lease import LEASE_S, Leases
from nvisy.topics.log import Seat

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


def test_the_claim_of_a_process_that_died_is_free_at_once(opened, place, graph, monkeypatch):
    arguments = [sys.executable, "-c", _HOLD, place.url or "", place.root, graph]
    holder = subprocess.Popen(arguments, stdout=subprocess.PIPE)
    token = int(holder.stdout.readline())
    with pytest.raises(Refused, match="host:4711"):
        opened().claim(graph, "beta:2")
    holder.kill()
    holder.wait()
    holder.stdout.close()
    monkeypatch.setattr(Leases, "wait_until_over", lambda *_: pytest.fail("it waited for the lease to end"))
    claim = opened().claim(graph, "beta:2")
    assert claim.token > token
    claim.release()


def test_a_claim_is_held_for_longer_than_its_lease(opened, place, graph):
    claim = opened().claim(graph, "alpha:1")
    if place.url:  # a locked file has no lease
        time.sleep(LEASE_S + 0.1)
    assert claim.remaining_s() > 0
    with pytest.raises(Refused, match="alpha:1"):
        opened().claim(graph, "beta:2")
    claim.release()


def test_who_holds_a_graph_can_be_asked_without_taking_it_from_anybody(opened, graph):
    asking = opened()
    assert asking.holder(graph) is None
    claim = opened().claim(graph, "alpha:1")
    holder = asking.holder(graph)
    assert holder.owner == "alpha:1"
    assert 0 <= time.time() * 1000 - holder.since_ms < 60_000
    assert claim.remaining_s() > 0
    claim.release()
    assert asking.holder(graph) is None
    opened().claim(graph, "beta:2").release()


def test_what_a_stage_remembers_can_be_read_without_taking_its_seat(opened, graph):
    seat = Seat(graph, "/owner", "", (), ())
    asking = opened()
    assert asking.state(seat) == {}
    session = opened().session(seat)
    session.commit({}, {"view": b"1"})
    assert asking.state(seat) == {"view": b"1"}
    session.commit({}, {"view": b"2"})
    assert asking.state(seat) == {"view": b"2"}
    session.close()
