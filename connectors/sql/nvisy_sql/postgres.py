"""`sql/postgres`: the rows of tables, and every change to them, by logical replication.

Unit: a row, keyed `schema.table/key`. Guarantee: each committed change arrives in commit order, after a first reading
that fits to it without a seam; the server keeps what is not durable in the log. What cannot be read any more is a gap:
the run stops and says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)

from nvisy.connector.descriptor import Context, Fact, Params, SourceDescriptor
from nvisy.connector.shape import Shape
from nvisy.connector.source import SourceCapabilities, StreamReader
from nvisy.primitives.primitive import content_hash
from nvisy_sql._fields import shape_of
from nvisy_sql._publication import Wanted
from nvisy_sql._query import QueryReader, QuerySettings
from nvisy_sql._reader import Settings, open_reader
from nvisy_sql._tables import TableName

_LONGEST_NAME = 63

SlotName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,63}$")]


class TableParams(BaseModel):
    """A table, and what of it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str = Field(description="Its name, `schema.table`.")
    columns: tuple[str, ...] = Field((), description="Only these columns; those of the key among them.")
    where: str = Field("", description="Only rows for which this holds: a condition in SQL.")


def _by_name(table: Any) -> Any:
    return {"table": table} if isinstance(table, str) else table


NamedTable = Annotated[TableParams, BeforeValidator(_by_name, json_schema_input_type=str | TableParams)]
"""A table, for which its name is enough."""


class PostgresParams(Params):
    """Which tables of which database."""

    dsn: SecretStr = Field(description="Where the database is: postgresql://user:password@host:5432/database")
    mode: Literal["cdc", "query"] = Field(
        "cdc",
        description="`cdc`: every change, by logical replication. `query`: rows whose `cursor` rose, by looking again.",
    )
    tables: tuple[NamedTable, ...] = Field(
        min_length=1, description='Tables by name, or `{"table": …, "columns": […], "where": …}`.'
    )
    slot: SlotName | None = Field(
        None,
        description="The replication slot; by default named after graph and node. Made if it is not there.",
    )
    publication: str | None = Field(
        None, description="The publication; by default named like the slot. Made if it is not there."
    )
    toast: Literal["fetch", "full"] = Field(
        "fetch",
        description="Large values that an update left alone: `fetch` reads the row, `full` wants them in the stream.",
    )
    on_truncate: Literal["empty", "refuse"] = Field(
        "empty",
        alias="onTruncate",
        description="TRUNCATE: `empty` takes the table's documents out, `refuse` stops.",
    )
    cursor: str | None = Field(
        None, description="With `query`: a column that rises with every change, such as `updated_at`."
    )
    settle_s: float = Field(
        5.0,
        alias="settleSeconds",
        ge=0,
        description="With `query`: how old a time has to be, so that no open transaction wrote an earlier one.",
    )
    poll_s: float = Field(
        1.0, alias="pollSeconds", gt=0, description="With `query`: how often to look when followed."
    )
    workers: int = Field(2, ge=1, le=16, description="Connections that the first reading uses side by side.")

    @field_validator("tables")
    @classmethod
    def _names_are_names(cls, tables: tuple[TableParams, ...]) -> tuple[TableParams, ...]:
        names = [TableName.parse(table.table) for table in tables]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"table {twice[0]} is named twice")
        return tables

    @model_validator(mode="after")
    def _the_mode_has_what_it_needs(self) -> Self:
        if self.mode == "query" and self.cursor is None:
            raise ValueError('"mode": "query" needs a "cursor": a column that rises with every change')
        for name in ("cursor", "settle_s", "poll_s") if self.mode == "cdc" else ("slot", "publication"):
            if name in self.model_fields_set:
                written = type(self).model_fields[name].alias or name
                raise ValueError(f'"{written}" has no meaning with "mode": "{self.mode}"; leave it out')
        return self

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """The tables as the publication takes them."""
        return tuple(Wanted(TableName.parse(each.table), each.columns, each.where) for each in self.tables)


class PostgresSource:
    """Streams the changes of tables."""

    def __init__(self, params: PostgresParams, context: Context) -> None:
        self.capabilities = CAPABILITIES
        slot = params.slot or default_name(context.graph, context.node)
        self._params = params
        self._slot = slot
        self._follow = context.follow

    def check(self) -> None:
        """Connect, look at the tables and at the slot. Writes nothing."""
        from nvisy_sql._check import check_ready  # noqa: PLC0415

        if self._params.mode == "query":
            self._by_query(None).close()
        else:
            check_ready(self._settings())

    def open(self, position: Any | None) -> StreamReader:
        """Go on behind a position, or begin with a first reading."""
        if self._params.mode == "query":
            return self._by_query(position)
        return open_reader(self._settings(), position)

    def health(self) -> Mapping[str, Fact]:
        """How the slot is, and what it makes the server keep; nothing with `query`, which leaves nothing there."""
        from nvisy_sql._connect import connect  # noqa: PLC0415
        from nvisy_sql._slot import health  # noqa: PLC0415

        if self._params.mode == "query":
            return {}
        with connect(self._params.dsn.get_secret_value(), "nvisy status") as connection:
            return health(connection, self._slot)

    def _by_query(self, position: Any | None) -> QueryReader:
        params = self._params
        assert params.cursor is not None
        settings = QuerySettings(
            dsn=params.dsn.get_secret_value(),
            tables=params.wanted,
            cursor=params.cursor,
            settle_s=params.settle_s,
            poll_s=params.poll_s,
            ends=not self._follow,
        )
        return QueryReader(settings, position)

    def _settings(self) -> Settings:
        params = self._params
        return Settings(
            dsn=params.dsn.get_secret_value(),
            slot=self._slot,
            publication=params.publication or self._slot,
            tables=params.wanted,
            fetches=params.toast == "fetch",
            refuse_truncate=params.on_truncate == "refuse",
            n_workers=params.workers,
            ends=not self._follow,
        )


CAPABILITIES = SourceCapabilities(
    emits=frozenset({"Row"}), raw=False, deletes=True, bounded=False, resume="position"
)


def default_name(graph: str, node: str) -> str:
    """What slot and publication of a node are called: made of letters, digits and underscores."""
    plain = re.sub(r"[^a-z0-9]+", "_", f"nvisy_{graph}_{node}".lower())
    mark = content_hash(graph, node)[:6]  # names that differ in a dash only, or at the end, stay apart
    return f"{plain[: _LONGEST_NAME - len(mark) - 1].strip('_')}_{mark}"


def _shape(params: PostgresParams) -> Shape:
    return shape_of(params.dsn.get_secret_value(), params.wanted)


def _notices_deletes(params: PostgresParams) -> bool:
    return params.mode == "cdc"


def _health(params: PostgresParams, context: Context) -> Mapping[str, Fact]:
    return PostgresSource(params, context).health()


def _open(params: PostgresParams, context: Context) -> PostgresSource:
    return PostgresSource(params, context)


DESCRIPTOR = SourceDescriptor(
    name="sql/postgres",
    summary="Rows of Postgres tables, and every change to them as it is committed.",
    params=PostgresParams,
    capabilities=CAPABILITIES,
    open=_open,
    shape=_shape,
    deletes=_notices_deletes,
    health=_health,
    example={"dsn": "postgresql://localhost/shop", "tables": ["public.articles"]},
)
