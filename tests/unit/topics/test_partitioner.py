import pytest

from nvisy.topics.partitioner import murmur2, partition_of


@pytest.mark.parametrize(
    ("data", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_the_one_of_javas_client(data, signed):
    assert murmur2(data) == signed & 0xFFFFFFFF


def test_a_key_always_has_the_same_partition_in_range():
    found = {partition_of(b"key-%d" % n, 7) for n in range(1_000)}
    assert found == set(range(7))
    assert partition_of(b"foobar", 1) == 0
