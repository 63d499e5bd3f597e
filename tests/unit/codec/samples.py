"""One of every primitive, Hypothesis strategies for all of them, and a user's own with every kind of field."""

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Literal
from uuid import UUID

import numpy as np
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from nvisy.primitives import (
    AudioPayload,
    Chunk,
    Completion,
    Document,
    Embedding,
    FineTuneSample,
    ImagePayload,
    Json,
    Message,
    Primitive,
    Provenance,
    StructuredOutput,
    ToolCall,
    ToolCallTrace,
    Vector,
    Version,
)

ORIGIN = Provenance(
    source="files",
    key="guides/a b.md",
    uri="file:///docs/guides/a%20b.md",
    version=Version(1, 42),
    partition=3,
    observed_at_us=1_764_000_000_000_000,
    run="0198c8a2",
    topic="docs.files",
)
META = {"lang": "de", "pages": 3, "score": 0.5, "draft": False, "note": None, "tags": ["a", "ü"]}


class Currency(Enum):
    EUR = "EUR"
    USD = "USD"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Unit(Enum):
    PER_HOUR = "per hour"
    PIECE = "piece"


class Line(BaseModel):
    """A line of an invoice."""

    what: str
    price: Annotated[Decimal, Field(max_digits=12, decimal_places=2)]
    unit: Unit = Unit.PIECE


class Invoice(Primitive):
    """A bill.

    Attributes:
        number: As printed.
        total: With tax,
            in the invoice's currency.
    """

    number: str
    total: Decimal
    currency: Currency = Currency.EUR
    level: Level = Level.LOW
    state: Literal["open", "paid"] = "open"
    issued: datetime
    due: date | None = None
    lines: list[Line] = []  # noqa: RUF012 - pydantic copies a default
    first: Line | None = None
    by_name: dict[str, Line] = {}  # noqa: RUF012
    names: tuple[str, ...] = ()
    scan: bytes = b"\xff"
    opaque: bytes | None = None
    reference: UUID | None = None
    raw: Json = None
    vector: Vector | None = None
    either: int | str | None = None


INVOICE = Invoice(
    number="7",
    total=Decimal("-12.340"),
    currency=Currency.USD,
    level=Level.HIGH,
    state="paid",
    issued=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    due=date(2026, 2, 1),
    lines=[Line(what="a", price="1.5", unit=Unit.PER_HOUR), Line(what="b", price="-0.05")],
    first=Line(what="c", price=3),
    by_name={"d": Line(what="d", price=4)},
    names=("x", "y"),
    scan=b"\x00\x80",
    opaque=b"",
    reference=UUID(int=5),
    raw={"a": [1, None]},
    vector=[1, 2.5],
    either="five",
)

EVERY = (
    AudioPayload(uri="s3://b/a.wav", sha256="0" * 64, duration_s=2.5, channels=2, sample_rate_hz=44100),
    Chunk(text="Grüße", span=(10, 15), ordinal=2, metadata=META),
    Completion(text="yes", model="m@1", prompt="?", temperature=0.5, input_tokens=3, cost_usd="0.000012"),
    Document(text="text", content=b"\x00raw", title="T", language="de", metadata=META),
    Embedding(vector=[0.5, -1.25], model="m@1", text="Grüße", span=(10, 15), metadata=META),
    FineTuneSample(
        messages=[Message(role="user", content="a"), Message(role="assistant", content="b", name="n")]
    ),
    ImagePayload(data=b"\x89PNG", width=3, height=2, caption="a dot"),
    StructuredOutput(
        value={"a": [1, 2.5, None, True, "x"]}, schema_name="s", conforms=False, violations=("no",)
    ),
    ToolCallTrace(
        calls=[
            ToolCall(name="a", arguments={"q": 1}, cost_usd="0.5"),
            ToolCall(name="b", parent=0, result=[1]),
        ]
    ),
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = texts.filter(bool)
counts = st.integers(0, 2**63 - 1)
spans = st.none() | st.tuples(counts, counts).map(sorted).map(tuple)
finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(0, allow_nan=False, allow_infinity=False)
prices = st.decimals(0, 10**12, places=12)
longs = st.integers(-(2**63), 2**63 - 1)
scalars = st.none() | st.booleans() | longs | finite | texts
metadata = st.dictionaries(names, scalars | st.lists(texts, max_size=3), max_size=4)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
vectors = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8).map(
    lambda numbers: np.array(numbers, np.float32)
)
tool_calls = st.lists(
    st.builds(
        ToolCall,
        name=names,
        arguments=json_values,
        result=json_values,
        error=texts,
        latency_ms=positive,
        cost_usd=prices,
        parent=st.none(),
    ),
    min_size=1,
    max_size=5,
)


@st.composite
def traces(draw):
    calls = draw(tool_calls)
    parents = [None, *(draw(st.none() | st.integers(0, index)) for index in range(len(calls) - 1))]
    placed = [call.model_copy(update={"parent": parent}) for call, parent in zip(calls, parents, strict=True)]
    return ToolCallTrace(calls=placed, model=draw(texts), metadata=draw(metadata))


def _messages(contents):
    roles = ("user", "assistant")
    return [Message(role=roles[index % 2], content=content) for index, content in enumerate(contents)]


base = {"id": texts, "parent": texts, "steps": texts, "metadata": metadata}
primitives = st.one_of(
    st.builds(
        AudioPayload, data=st.binary(max_size=20), duration_s=st.none() | positive, transcript=texts, **base
    ),
    st.builds(Chunk, text=names, span=spans, ordinal=counts, **base),
    st.builds(
        Completion,
        text=texts,
        model=names,
        temperature=st.none() | positive,
        input_tokens=counts,
        latency_ms=positive,
        cost_usd=st.none() | prices,
        **base,
    ),
    st.builds(Document, text=texts, content=st.none() | st.binary(max_size=20), title=texts, **base),
    st.builds(Embedding, vector=vectors, model=names, text=texts, span=spans, **base),
    st.builds(
        FineTuneSample,
        messages=st.lists(texts, min_size=2, max_size=6)
        .filter(lambda each: len(each) % 2 == 0)
        .map(_messages),
        **base,
    ),
    st.builds(
        ImagePayload, data=st.binary(max_size=20), width=st.none() | st.integers(1, 9), caption=texts, **base
    ),
    st.builds(StructuredOutput, value=json_values, schema_name=names, **base),
    traces(),
)
origins = st.builds(
    Provenance,
    source=texts,
    key=texts,
    uri=texts,
    version=st.builds(Version, st.integers(0, 2**17), st.integers(0, 2**36)),
    partition=st.integers(0, 2**31 - 1),
    observed_at_us=longs,
    run=texts,
    topic=texts,
)
