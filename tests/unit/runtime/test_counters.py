"""What stages and their lives counted, put together."""

from __future__ import annotations

from nvisy.runtime.counters import StageCounters


def test_the_first_record_read_and_the_last_acknowledged_span_all_stages() -> None:
    total = StageCounters()
    total.add(StageCounters(first_read_at_us=20, last_ack_at_us=30))
    total.add(StageCounters(first_read_at_us=10, last_ack_at_us=25))
    total.add(StageCounters())
    assert (total.first_read_at_us, total.last_ack_at_us) == (10, 30)


def test_a_message_says_what_was_counted() -> None:
    counters = StageCounters(written=3, first_read_at_us=10)
    counters.node("chunk").emitted = 2
    assert StageCounters.from_json(counters.as_json()) == counters
