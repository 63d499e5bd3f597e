"""A fine-tuning sample: roles in legal order."""

import pytest
from pydantic import ValidationError

from nvisy.primitives import FineTuneSample, Message


def sample(*roles):
    return FineTuneSample(messages=[Message(role=role, content="x") for role in roles])


@pytest.mark.parametrize(
    "roles",
    [
        ("user", "assistant"),
        ("system", "user", "assistant"),
        ("user", "assistant", "tool", "tool", "assistant"),
        ("system", "user", "assistant", "user", "assistant"),
    ],
)
def test_a_conversation_that_ends_with_the_assistant_is_legal(roles):
    assert [message.role for message in sample(*roles).messages] == list(roles)


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        (("assistant", "user"), "at the start comes system or user"),
        (("user", "user", "assistant"), "after 'user' comes assistant"),
        (("user", "system", "assistant"), "after 'user' comes assistant"),
        (("system", "assistant"), "after 'system' comes user"),
        (("user", "tool", "assistant"), "after 'user' comes assistant"),
        (("user", "assistant", "user"), "the last message is the assistant's"),
        (("user", "assistant", "tool"), "the last message is the assistant's"),
        (("user",), "at least 2"),
        (("user", "robot"), "Input should be 'system', 'user', 'assistant' or 'tool'"),
    ],
)
def test_any_other_order_is_refused(roles, said):
    with pytest.raises(ValidationError, match=said):
        FineTuneSample(messages=[{"role": role, "content": "x"} for role in roles])
