import pytest

from nvisy.errors import Rejected
from nvisy.topics.limits import check_sizes, record_bytes
from nvisy.topics.log import MAX_RECORD_BYTES, Append


def test_key_value_and_headers_count():
    assert record_bytes(Append("t", 0, b"key", b"value", (("name", b"12"),))) == 3 + 5 + 4 + 2
    assert record_bytes(Append("t", 0, b"key", None)) == 3


def test_the_largest_record_passes_and_one_byte_more_is_rejected():
    check_sizes([Append("t", 0, b"", bytes(MAX_RECORD_BYTES))])
    with pytest.raises(Rejected) as caught:
        check_sizes([Append("t", 0, b"k", bytes(MAX_RECORD_BYTES))])
    assert caught.value.kind == "too_large"
