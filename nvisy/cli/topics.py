"""`nvisy topics`: what is in the log, decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

import typer

from nvisy.catalog import Catalog
from nvisy.cli.graphs import AsJson
from nvisy.cli.output import one_line, printable, say, say_json, say_table
from nvisy.codec.codec import Codec
from nvisy.errors import CodecError, Rejected, UsageError
from nvisy.primitives import Change, Primitive
from nvisy.runtime.codecs import open_codec
from nvisy.runtime.settings import Settings
from nvisy.topics.log import LogRecord, TopicInfo

_SHOWN_CHARS = 200

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_topics(as_json: AsJson = False) -> None:
    """List the topics of the log. On Kafka the offsets count markers and what compaction took out, too."""
    with closing(Settings.from_environ().open_log()) as log:
        found = [info for name in log.topics() if (info := log.describe(name)) is not None]
        url = log.url
    if as_json:
        say_json([_topic_json(info) for info in found])
    elif found:
        rows = ((info.name, info.partitions, f"{_offsets(info):,}") for info in found)
        say_table(("topic", "partitions", "offsets"), rows)
    else:
        say(f"no topics on {url}")


@app.command()
def read(
    topic: Annotated[str, typer.Argument(help="Its name.", show_default=False)],
    limit: Annotated[
        int, typer.Option("--limit", help="How many records, from the first one on.", min=1)
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Read the records of a topic, decoded; with --json one object a line."""
    settings = Settings.from_environ()
    with closing(settings.open_log()) as log:
        if log.describe(topic) is None:
            raise UsageError(
                f"there is no topic {topic!r} on {log.url}; `nvisy topics list` shows those there are"
            )
        codec = open_codec(Catalog.installed(), settings)
        for record in islice(log.scan(topic), limit):
            shown = _record(record, codec)
            say_json(shown) if as_json else say(_line(shown))


def _record(record: LogRecord, codec: Codec) -> dict[str, Any]:
    """A record's place and key, and whatever can be made of its value."""
    return {
        "partition": record.partition,
        "offset": record.offset,
        "time": datetime.fromtimestamp(record.timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "key": (record.key or b"").decode("utf-8", "backslashreplace"),
        **_value(record, codec),
    }


def _value(record: LogRecord, codec: Codec) -> dict[str, Any]:
    value = record.value
    if value is None:
        return {"op": "tombstone"}
    try:
        decoded = codec.decode_change(
            value,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            headers=record.headers,
        )
    except Rejected as error:
        return {"undecodable": str(error), "bytes": len(value)}
    except CodecError as error:
        return _foreign(value, record, codec, error)
    return _change(decoded)


def _change(change: Change) -> dict[str, Any]:
    version = change.origin.version
    items = [{"type": item.type, "id": item.id, "brief": _content(item)} for item in change.items]
    return {"op": change.op, "version": list(version) if version else None, "items": items}


def _content(item: Primitive) -> str:
    """What it says, without what the runtime filled in."""
    return str(item.replaced(id="", content_hash="", parent="", steps="", provenance=None))


def _foreign(value: bytes, record: LogRecord, codec: Codec, first: CodecError) -> dict[str, Any]:
    """A record that is no change: anybody's Avro, or text, or bytes that nothing is known of."""
    try:
        name, fields = codec.decode_record(value, headers=record.headers)
    except CodecError:
        try:
            return {"text": value.decode(), "bytes": len(value)}
        except UnicodeDecodeError:
            return {"undecodable": str(first), "bytes": len(value)}
    return {"record": name, "fields": {field: _brief(content) for field, content in fields.items()}}


def _brief(content: Any) -> Any:
    if content is None or isinstance(content, bool | int | float):
        return content
    return f"<{len(content)} bytes>" if isinstance(content, bytes) else one_line(str(content), _SHOWN_CHARS)


def _line(shown: dict[str, Any]) -> str:
    place = f"{shown['partition']}/{shown['offset']}  {printable(shown['key'])}"
    return "\n".join([f"{place}  {_head(shown)}", *_items(shown)])


def _head(shown: dict[str, Any]) -> str:
    if "undecodable" in shown:
        return f"cannot be decoded: {one_line(shown['undecodable'], _SHOWN_CHARS)} ({shown['bytes']:,} bytes)"
    if "text" in shown:
        return one_line(shown["text"], _SHOWN_CHARS)
    if "record" in shown:
        return f"{shown['record']} {one_line(str(shown['fields']), _SHOWN_CHARS)}"
    if "items" not in shown:
        return str(shown["op"])
    count = len(shown["items"])
    return f"{shown['op']}, {count} item{'' if count == 1 else 's'}"


def _items(shown: dict[str, Any]) -> Iterator[str]:
    return (f"    {one_line(item['brief'], _SHOWN_CHARS)}" for item in shown.get("items", ()))


def _topic_json(info: TopicInfo) -> dict[str, Any]:
    return {
        "topic": info.name,
        "partitions": info.partitions,
        "offsets": _offsets(info),
        "start": {str(partition): offset for partition, offset in info.start.items()},
        "end": {str(partition): offset for partition, offset in info.end.items()},
    }


def _offsets(info: TopicInfo) -> int:
    return sum(end - info.start.get(partition, 0) for partition, end in info.end.items())
