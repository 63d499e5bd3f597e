"""Pydantic's findings as sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, StringConstraints, ValidationError, field_validator

from nvisy.graph.complaints import Codes, complaints


class Everything(BaseModel):
    size: int = Field(1, ge=1, le=9)
    share: float = Field(0.5, gt=0, lt=1)
    flag: bool = False
    text: str = Field("x", min_length=1, max_length=3)
    key: str = Field("abc", min_length=2)
    names: list[str] = Field(["a"], min_length=1, max_length=2)
    places: dict[str, str] = {}
    path: Path = Path()
    kind: Literal["cosine", "l2"] = "l2"
    topic: str | Literal[False] | None = None
    collection: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,39}$")] = "x"
    other: Annotated[str, StringConstraints(pattern=r"^a+$")] = "a"
    even: int = 2

    @field_validator("even")
    @classmethod
    def _even(cls, even: int) -> int:
        if even % 2:
            raise ValueError("has to be even")
        return even


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"size": "many"}, '"size" has to be a whole number'),
        ({"size": 1.5}, '"size" has to be a whole number'),
        ({"size": 0}, '"size" has to be at least 1'),
        ({"size": 10}, '"size" has to be at most 9'),
        ({"share": 0}, '"share" has to be more than 0'),
        ({"share": 1}, '"share" has to be less than 1'),
        ({"share": "x"}, '"share" has to be a number'),
        ({"flag": 7}, '"flag" has to be true or false'),
        ({"text": 7}, '"text" has to be a text'),
        ({"text": ""}, '"text" must not be empty'),
        ({"text": "long"}, '"text" may have at most 3 characters'),
        ({"key": "a"}, '"key" has to have at least 2 characters'),
        ({"names": []}, '"names" must not be empty'),
        ({"names": ["a", "b", "c"]}, '"names" may have at most 2 entries'),
        ({"names": "a"}, '"names" has to be a list'),
        ({"places": []}, '"places" has to be an object'),
        ({"path": 7}, '"path" has to be a path, written as a text'),
        ({"kind": "far"}, '"kind" has to be "cosine" or "l2"'),
        ({"topic": True}, '"topic" has to be a text or false'),
        (
            {"collection": "7"},
            '"collection" has to begin with one of A-Z a-z _ and go on with 0 to 39 of A-Z a-z 0-9 _ -',
        ),
        ({"other": "b"}, '"other" has to match ^a+$'),
        ({"even": 3}, '"even" has to be even'),
    ],
)
def test_a_wrong_value_is_described_in_a_sentence(value: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Everything.model_validate(value)
    codes = Codes("NV1", "NV2", "NV3")
    assert [one.message for one in complaints(caught.value, Everything, value, codes)] == [says]
