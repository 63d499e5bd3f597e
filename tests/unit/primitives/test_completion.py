"""A completion: the answer and what it took."""

from decimal import Decimal

import pytest
from pydantic import ValidationError

from nvisy.primitives import Completion


def test_tokens_add_up():
    assert Completion(text="x", model="m", input_tokens=3, output_tokens=4).total_tokens == 7


def test_a_price_computed_in_floats_is_kept_exactly_as_far_as_it_means_anything():
    assert Completion(text="x", model="m", cost_usd=0.1 + 0.2).cost_usd == Decimal("0.3")
    assert Completion(text="x", model="m", cost_usd="0.000000000001").cost_usd == Decimal("1E-12")


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"input_tokens": -1},
        {"latency_ms": -0.1},
        {"latency_ms": float("inf")},
        {"cost_usd": -1},
        {"cost_usd": float("nan")},
        {"cost_usd": "1E-13"},
        {"model": ""},
    ],
)
def test_impossible_figures_are_refused(wrong):
    with pytest.raises(ValidationError):
        Completion(**{"text": "x", "model": "m", **wrong})
