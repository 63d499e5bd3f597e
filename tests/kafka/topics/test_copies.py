"""Copies of a stage share its partitions, and take over from each other."""

import time

import pytest

from nvisy.topics.log import Seat
from nvisy.topics.open import open_log
from tests.topics.drive import until
from tests.topics.stages import PARTITIONS, Copy, Count, counted, numbers_by_partition

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]


def test_a_second_copy_takes_its_share_and_the_first_takes_it_back(kafka_url, tmp_path, unique_name):
    log = open_log(kafka_url, root=tmp_path, environ={})
    source, target = f"{unique_name}.in", f"{unique_name}.out"
    log.create(source, PARTITIONS)
    log.create(target, PARTITIONS)

    def opened():
        return open_log(kafka_url, root=tmp_path, environ={})

    count = Count(opened(), Seat(unique_name, "count", "c", (), (source,)))
    copies = [
        Copy(opened(), Seat(unique_name, "copy", "c", (source,), (target,), slot=slot, slots=2))
        for slot in (0, 1)
    ]
    count.start()
    copies[0].start()
    until(lambda: time.sleep(0.05) or copies[0].done > 300)
    copies[1].start()
    until(lambda: time.sleep(0.05) or copies[1].done > 300)
    copies[1].stop()
    count.stop()
    until(lambda: time.sleep(0.2) or numbers_by_partition(log, target) == numbers_by_partition(log, source))
    copies[0].stop()
    assert numbers_by_partition(log, target) == counted(count.done)
