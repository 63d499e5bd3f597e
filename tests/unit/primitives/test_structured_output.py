"""A structured output: JSON, and a verdict on it."""

import pytest
from pydantic import ValidationError

from nvisy.primitives import StructuredOutput


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def test_the_order_of_keys_does_not_change_what_it_says():
    one, other = ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert (
        StructuredOutput(value=one, schema_name="s").content_hash
        == StructuredOutput(value=other, schema_name="s").content_hash
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "JSON has no nan"),
        ({"a": [float("inf")]}, "JSON has no inf"),
        (2**64, "64 bits"),
        ({1: 2}, "keys of a JSON object are strings"),
        ({"a": b"x"}, "bytes is not a JSON type"),
        (["\ud800"], "not valid Unicode"),
        (nested(100_000), "64 levels deep"),
    ],
)
def test_what_json_cannot_hold_is_refused(value, said):
    with pytest.raises(ValidationError, match=said):
        StructuredOutput(value=value, schema_name="s")


def test_sixty_three_levels_are_fine():
    assert StructuredOutput(value=nested(63), schema_name="s").value


def test_a_value_with_violations_does_not_conform():
    assert not StructuredOutput(value=1, schema_name="s", conforms=False, violations=("no",)).conforms
    with pytest.raises(ValidationError, match="set conforms to false"):
        StructuredOutput(value=1, schema_name="s", violations=("no",))
