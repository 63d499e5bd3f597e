"""Hosts that run a graph together: folders of their own, as on machines of their own."""

import threading
import time
from pathlib import Path

import pytest

from nvisy.errors import Refused
from nvisy.topics.kafka.lease import KafkaClaim
from nvisy.topics.open import open_log
from tests.topics.drive import until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]


class Hosts:
    """Hosts by name, each with a log and a folder of its own."""

    def __init__(self, url: str, folder: Path, graph: str) -> None:
        self._url, self._folder, self._graph = url, folder, graph

    def log(self, name):
        return open_log(self._url, root=self._folder / name, environ={})

    def member(self, name, config="c"):
        return self.log(name).join(self._graph, f"{name}:1", config)

    def claim(self, name, config=""):
        return self.log(name).claim(self._graph, f"{name}:1", config)


@pytest.fixture
def hosts(kafka_url, tmp_path, unique_name):
    return Hosts(kafka_url, tmp_path, unique_name)


def entered(member):
    share = member.enter(lambda: True)
    assert share is not None
    return share


def silenced(monkeypatch, take):
    """A claim that is never renewed, as of a host that died."""
    with monkeypatch.context() as hanging:
        hanging.setattr(KafkaClaim, "_keep", lambda claim: claim._stop.wait())
        return take()


def test_a_member_has_a_share_in_the_claim_that_is_live_and_a_number_of_its_own(hosts):
    owner = hosts.claim("alpha", "c")
    members = [hosts.member(name) for name in ("beta", "gamma")]
    shares = [entered(member) for member in members]
    assert [share.token for share in shares] == [owner.token] * 2
    assert [share.is_owner for share in shares] == [False, False]
    assert (owner.host, *(share.host for share in shares)) == (0, 1, 2)
    members[0].leave()
    assert entered(hosts.member("delta")).host == 1
    with pytest.raises(Refused, match="alpha:1"):
        hosts.claim("epsilon")
    for share in shares:
        share.release()
    owner.release()


def test_a_member_owns_what_nobody_runs(hosts):
    member = hosts.member("alpha")
    share = entered(member)
    assert share.is_owner
    assert share.host == 0
    assert entered(hosts.member("beta")).token == share.token
    share.release()
    member.leave()


def test_when_the_owner_gives_up_one_member_takes_the_next_claim_and_the_rest_join_that(hosts):
    owner = hosts.claim("alpha", "c")
    members = [hosts.member(name) for name in ("beta", "gamma")]
    before = [entered(member) for member in members]
    owner.release()
    until(lambda: time.sleep(0.1) or all(share.is_over for share in before))
    after = []

    def enter_again(member, share):
        share.release()
        after.append(entered(member))

    threads = [threading.Thread(target=enter_again, args=pair) for pair in zip(members, before, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(share.is_owner for share in after) == [False, True]
    assert len({share.token for share in after}) == 1
    assert {share.host for share in after} == {1, 2}
    assert after[0].token > owner.token
    for share in after:
        share.release()


def test_a_claim_that_is_not_renewed_is_taken(hosts, monkeypatch):
    owner = silenced(monkeypatch, lambda: hosts.claim("alpha", "c"))
    member = hosts.member("beta")
    began = time.monotonic()
    taken = entered(member)
    assert taken.is_owner
    assert time.monotonic() - began < 9
    assert taken.token > owner.token
    with pytest.raises(Refused, match="beta:1"):
        hosts.claim("delta")
    taken.release()


def test_a_member_notices_that_the_claim_is_not_renewed_any_more(hosts, monkeypatch):
    monkeypatch.setattr(KafkaClaim, "_keep", renewed_for(3.0))
    owner = hosts.claim("alpha", "c")
    monkeypatch.undo()
    member = hosts.member("beta")
    share = entered(member)
    assert not share.is_owner
    began = time.monotonic()
    until(lambda: time.sleep(0.1) or share.is_over)
    share.release()
    after = entered(member)
    assert time.monotonic() - began < 11
    assert after.is_owner
    assert after.host == share.host == 1
    assert after.token > owner.token
    after.release()


def renewed_for(seconds):
    keep = KafkaClaim._keep

    def keep_for(claim):
        threading.Timer(seconds, claim._stop.set).start()
        keep(claim)

    return keep_for


def test_an_owner_that_was_replaced_joins_and_may_own_again(hosts, monkeypatch):
    first, second = hosts.member("alpha"), hosts.member("beta")
    wakes, keep = threading.Event(), KafkaClaim._keep
    with monkeypatch.context() as paused:
        paused.setattr(KafkaClaim, "_keep", lambda claim: wakes.wait() and keep(claim))
        lost = entered(first)
    taken = entered(second)
    assert taken.is_owner
    wakes.set()
    until(lambda: time.sleep(0.1) or lost.is_over)
    assert lost.lost_to == "beta:1"
    lost.release()
    joined = entered(first)
    assert (joined.is_owner, joined.token) == (False, taken.token)
    taken.release()
    until(lambda: time.sleep(0.1) or joined.is_over)
    joined.release()
    assert entered(first).is_owner


def test_a_number_is_free_again_when_its_host_died(hosts, monkeypatch):
    owner = hosts.claim("alpha", "c")
    silenced(monkeypatch, lambda: entered(hosts.member("beta")))
    assert entered(hosts.member("gamma")).host == 1
    owner.release()


def test_another_graph_is_refused_and_so_is_a_run_that_nobody_can_join(hosts):
    owner = hosts.claim("alpha", "c")
    with pytest.raises(Refused, match=r"alpha:1.*another version of the graph"):
        entered(hosts.member("beta", "d"))
    owner.release()
    owner = hosts.claim("alpha")
    with pytest.raises(Refused, match=r"alpha:1.*--follow"):
        entered(hosts.member("beta"))
    owner.release()


def test_a_member_that_is_not_wanted_any_more_gets_nothing(hosts):
    assert hosts.member("alpha").enter(lambda: False) is None
