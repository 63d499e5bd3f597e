"""What the hosts that run a graph together say of themselves."""

from dataclasses import replace

import pytest

from nvisy.plan.model import Plan
from nvisy.runtime.counters import StageCounters
from nvisy.runtime.owning import OwningThread
from nvisy.runtime.run_history import Ending, RunHistory
from nvisy.runtime.settings import Settings
from nvisy.runtime.view import RunSaid, joined_views, last_view
from tests.topics.drive import until

pytestmark = pytest.mark.kafka

CANCELLED = Ending("cancelled", 0, "", StageCounters())
OWNER = RunSaid("r1", "host:1", "h", True, 1, 2, token=7)


def test_views_of_joined_hosts_stand_beside_that_of_their_owner(kafka_url, tmp_path, unique_name):
    settings, plan = Settings(tmp_path, kafka_url, {}), Plan(unique_name, "h", 2, (), ())
    log = settings.open_log()
    hosts = [replace(OWNER, owner=f"other:{n}", host=n, token=token) for n, token in ((1, 7), (2, 7), (3, 6))]
    history = RunHistory(unique_name, OWNER.run_id)
    threads = [
        OwningThread(settings, plan, one, (), history=history, is_owner=one.host == 0)
        for one in (OWNER, *hosts)
    ]
    log.create(f"{unique_name}.dlq", 2)
    for thread in threads:
        thread.start()
    until(lambda: [one.owner for one in joined_views(log, unique_name, OWNER)] == ["other:1", "other:2"])
    until(lambda: last_view(log, unique_name) is not None)
    threads[2].finish(CANCELLED)
    assert [one.owner for one in joined_views(log, unique_name, OWNER)] == ["other:1"]
    for thread in threads:
        thread.finish(CANCELLED)
    said = last_view(log, unique_name)
    assert (said.owner, said.host) == ("host:1", 0)
