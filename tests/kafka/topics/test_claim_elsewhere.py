"""Claims by runs that share no lock file, as on two machines."""

import time

import pytest

from nvisy.errors import Refused
from nvisy.topics.kafka.lease import KafkaClaim, Leases
from nvisy.topics.open import open_log
from tests.topics.drive import until

pytestmark = pytest.mark.kafka


@pytest.fixture
def machines(kafka_url, tmp_path):
    return [open_log(kafka_url, root=tmp_path / name, environ={}) for name in ("one", "two")]


def test_a_live_lease_is_refused_as_soon_as_it_is_seen_renewed(machines, unique_name, monkeypatch):
    monkeypatch.setattr("nvisy.topics.kafka.lease.LEASE_S", 60.0)
    claim = machines[0].claim(unique_name, "alpha:1")
    began = time.monotonic()
    with pytest.raises(Refused, match="alpha:1"):
        machines[1].claim(unique_name, "beta:2")
    assert time.monotonic() - began < 60
    claim.release()


def test_a_lease_that_is_not_renewed_is_over_after_its_time(machines, unique_name, monkeypatch):
    with monkeypatch.context() as shorter:
        shorter.setattr("nvisy.topics.kafka.lease.LEASE_S", 3.0)
        with monkeypatch.context() as hanging:
            hanging.setattr(KafkaClaim, "_keep", lambda claim: claim._stop.wait())
            claim = machines[0].claim(unique_name, "alpha:1")
        began = time.monotonic()
        later = machines[1].claim(unique_name, "beta:2")
        assert time.monotonic() - began >= 3
    assert claim.remaining_s() == 0
    assert later.token > claim.token
    claim.release()
    with pytest.raises(Refused, match="beta:2"):
        machines[0].claim(unique_name, "alpha:1")
    later.release()


def test_a_released_lease_is_free_at_once(machines, unique_name, monkeypatch):
    machines[0].claim(unique_name, "alpha:1").release()
    monkeypatch.setattr(Leases, "wait_until_over", lambda *_: pytest.fail("it waited for the lease to end"))
    machines[1].claim(unique_name, "beta:2").release()


def test_a_lost_claim_is_known_to_be_lost(machines, unique_name, monkeypatch):
    monkeypatch.setattr("nvisy.topics.kafka.lease.LEASE_S", 0.0)
    first = machines[0].claim(unique_name, "alpha:1")
    second = machines[1].claim(unique_name, "beta:2")
    monkeypatch.undo()
    until(lambda: time.sleep(0.1) or second.remaining_s() > 0)
    until(lambda: time.sleep(0.1) or first.remaining_s() == 0)
    time.sleep(1.5)
    assert first.remaining_s() == 0
    until(lambda: time.sleep(0.1) or second.remaining_s() > 0)
    first.release()
    second.release()
