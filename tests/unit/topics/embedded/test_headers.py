from hypothesis import given
from hypothesis import strategies as st

from nvisy.topics.embedded.headers import pack, unpack

_NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.tuples(_NAMES, st.binary(max_size=30)), max_size=5))
def test_headers_come_back_as_they_went_in(headers):
    assert unpack(pack(tuple(headers))) == tuple(headers)


def test_no_headers_take_no_room():
    assert pack(()) is None
