"""What decoding leaves to no validator: bytes that fit the schema and contradict a primitive's contract."""

from decimal import Decimal
from math import inf, nan

import pytest

from nvisy.errors import CodecError
from nvisy.primitives import (
    AudioPayload,
    Completion,
    FineTuneSample,
    ImagePayload,
    StructuredOutput,
    ToolCallTrace,
)
from nvisy.primitives.fine_tune_sample import Message
from nvisy.primitives.tool_call_trace import ToolCall

COMPLETION = Completion(text="yes", model="m@1", cost_usd="0.5")
SAMPLE = FineTuneSample(messages=[Message(role="user", content="a"), Message(role="assistant", content="b")])
OUTPUT = StructuredOutput(value=1, schema_name="s")
IMAGE = ImagePayload(data=b"png", width=3)
SOUND = AudioPayload(data=b"wav", channels=1)
CALL = ToolCall(name="a")
TRACE = ToolCallTrace(calls=[CALL])


def deep(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "item",
    [
        COMPLETION.replaced(model=""),
        COMPLETION.replaced(temperature=-1.0),
        COMPLETION.replaced(temperature=nan),
        COMPLETION.replaced(input_tokens=-1),
        COMPLETION.replaced(latency_ms=inf),
        COMPLETION.replaced(cost_usd=Decimal(-1)),
        COMPLETION.replaced(metadata={"": 1}),
        COMPLETION.replaced(metadata={"x": nan}),
        SAMPLE.replaced(messages=SAMPLE.messages[:1]),
        SAMPLE.replaced(messages=SAMPLE.messages[::-1]),
        OUTPUT.replaced(schema_name=""),
        OUTPUT.replaced(violations=("no",)),
        OUTPUT.replaced(value=deep(65)),
        OUTPUT.replaced(value=2**63),
        IMAGE.replaced(data=b"gif"),
        IMAGE.replaced(width=0),
        SOUND.replaced(channels=1025),
        SOUND.replaced(duration_s=nan),
        SOUND.replaced(data=None),
        TRACE.replaced(calls=()),
        TRACE.replaced(calls=(CALL.model_copy(update={"name": ""}),)),
        TRACE.replaced(calls=(CALL.model_copy(update={"parent": 0}),)),
        TRACE.replaced(calls=(CALL.model_copy(update={"latency_ms": nan}),)),
        TRACE.replaced(calls=(CALL.model_copy(update={"cost_usd": Decimal(-1)}),)),
        TRACE.replaced(calls=(CALL.model_copy(update={"result": deep(65)}),)),
    ],
)
def test_what_contradicts_a_contract_is_refused(codec, item):
    value = codec.encode_primitive(item, "things")
    with pytest.raises(CodecError):
        codec.decode_primitive(value)


@pytest.mark.parametrize("item", [COMPLETION, SAMPLE, OUTPUT, IMAGE, SOUND, TRACE])
def test_a_hash_that_was_left_out_is_computed(codec, item):
    value = codec.encode_primitive(item.replaced(content_hash=""), "things")
    assert codec.decode_primitive(value) == item


@pytest.mark.parametrize("value", [deep(64), 2**63 - 1, "[" * 100, -(2**63), {"a": "1234567890123456789012"}])
def test_json_at_the_limits_comes_back(codec, value):
    item = OUTPUT.replaced(value=value)
    assert codec.decode_primitive(codec.encode_primitive(item, "things")).value == value
