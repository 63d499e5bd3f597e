"""Values of every type come through exactly, the same by a first reading and by the stream."""

from __future__ import annotations

import pytest
from nvisy_sql._values import SqlType

from nvisy.expressions import FieldType

from .database import Database, Follower

VALUES = [
    ("text", "'it''s \\ \"x\" €'", 'it\'s \\ "x" €'),
    ("varchar(9)", "'abc'", "abc"),
    ("char(4)", "'ab'", "ab  "),
    ("int2", "-5", -5),
    ("int8", "9223372036854775807", 2**63 - 1),
    ("numeric", "12345678901234567890.123456789000", "12345678901234567890.123456789000"),
    ("numeric(6,2)", "'NaN'", "NaN"),
    ("float8", "0.1", 0.1),
    ("float8", "'Infinity'", "Infinity"),
    ("float4", "1.5", 1.5),
    ("bool", "true", True),
    ("bool", "false", False),
    ("json", '\'{"b": [1, 2.5, null], "a": "x"}\'', {"b": [1, 2.5, None], "a": "x"}),
    ("jsonb", "'\"text\"'", "text"),
    ("jsonb", "'123456789012345678901234567890'", "123456789012345678901234567890"),
    ("timestamptz", "'2026-01-31 12:00:00.5+02'", "2026-01-31T10:00:00.5Z"),
    ("timestamptz", "'infinity'", "infinity"),
    ("timestamp", "'2026-01-31 12:00'", "2026-01-31T12:00:00"),
    ("date", "'2026-01-31'", "2026-01-31"),
    ("time", "'12:00:01.5'", "12:00:01.5"),
    ("interval", "'1 day 2 hours'", "P1DT2H"),
    ("uuid", "'6b3c7f1e-0000-4000-8000-000000000001'", "6b3c7f1e-0000-4000-8000-000000000001"),
    ("bytea", "'\\x00ff'", "AP8="),
    ("text[]", "ARRAY['a', 'b,\"c\"', NULL, 'NULL', '']", ["a", 'b,"c"', None, "NULL", ""]),
    ("int[]", "'{{1,2},{3,NULL}}'", [[1, 2], [3, None]]),
    ("int[]", "'{}'", []),
    ("int[]", "'[2:3]={7,8}'", [7, 8]),
    ("bool[]", "'{t,f}'", [True, False]),
    ("jsonb[]", "ARRAY['{\"a\": 1}'::jsonb]", [{"a": 1}]),
    ("mood", "'so-so'", "so-so"),
    ("positive", "3", 3),
    ("vector(3)", "'[1,2.5,-3]'", [1.0, 2.5, -3.0]),
    ("inet", "'10.0.0.1/8'", "10.0.0.1/8"),
    ("int4range", "'[1,5)'", "[1,5)"),
    ("text", "NULL", None),
]


@pytest.fixture
def typed(database: Database) -> Database:
    """A table with a column of each type."""
    database.execute("CREATE TYPE mood AS ENUM ('sad', 'so-so')")
    database.execute("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
    columns = ", ".join(f"c{n} {kind}" for n, (kind, _, _) in enumerate(VALUES))
    database.execute(f"CREATE TABLE typed (id int PRIMARY KEY, {columns})")
    database.execute("SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SET bytea_output = 'escape'")
    return database


def test_every_type_comes_through_by_a_reading_and_by_the_stream(typed):
    literals = ", ".join(literal for _, literal, _ in VALUES)
    typed.execute(f"INSERT INTO typed VALUES (1, {literals})")
    follower = Follower(typed.source("typed"))
    with follower.reading() as reader:
        follower.follow(reader, to=typed.lsn())
        typed.execute(f"INSERT INTO typed VALUES (2, {literals})")
        follower.follow(reader, to=typed.lsn())
    wanted = {f"c{n}": value for n, (_, _, value) in enumerate(VALUES)}
    assert follower.rows["public.typed/1"] == {"id": 1, **wanted}
    assert follower.rows["public.typed/2"] == {"id": 2, **wanted}


@pytest.mark.parametrize(
    ("kind", "nullable", "field"),
    [
        (SqlType("text", "text"), False, FieldType.STRING),
        (SqlType("text", "text"), True, FieldType.NULLABLE_STRING),
        (SqlType("bigint", "int8"), False, FieldType.INT),
        (SqlType("numeric", "numeric"), True, FieldType.NULLABLE_STRING),
        (SqlType("jsonb", "jsonb"), False, FieldType.DYN),
        (SqlType("text[]", "_text", "text"), False, FieldType.LIST),
        (SqlType("text[]", "_text", "text"), True, FieldType.DYN),
        (SqlType("positive", "int4"), True, FieldType.NULLABLE_INT),
    ],
)
def test_an_expression_sees_the_type_of_a_column(kind, nullable, field):
    assert kind.field(nullable=nullable) is field
