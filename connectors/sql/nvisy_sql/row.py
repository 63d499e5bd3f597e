"""A row of a table, as it flows from a database to the step that makes a document of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import orjson
from pydantic import Field

from nvisy.primitives import Primitive
from nvisy.primitives.values import Json


class Row(Primitive):
    """One row of a table, whole.

    To an expression it is a mapping: `key`, `table`, `row` (all columns, `row['a b']`), and each column by its name. A
    column that the table has not got is null, so that one expression serves several tables.

    Attributes:
        table: Its table, `public.articles`.
        values: Column to value, as JSON. What JSON cannot hold exactly is text: numeric, times, uuid, base64 of bytes.
    """

    table: str = Field(min_length=1)
    values: Json

    def __getitem__(self, name: str) -> Any:
        """What an expression sees as `name`."""
        match name:
            case "key":
                return self.key
            case "table":
                return self.table
            case "row":
                return self.values
        return self._columns.get(name)

    @property
    def _columns(self) -> dict[str, Any]:
        return self.values  # type: ignore[return-value] # a JSON object, as the source makes it

    def content_parts(self) -> tuple[bytes | str, ...]:
        """The table and the values, whatever the order of the columns."""
        return (self.table, orjson.dumps(self.values, option=orjson.OPT_SORT_KEYS))

    @classmethod
    def decoded(cls, fields: dict[str, Any]) -> Self:
        """As it is: it was checked when it was made."""
        if not isinstance(fields["values"], dict):
            return cls.model_validate(fields)
        return cls.trusted(fields)


Mapping.register(Row)
