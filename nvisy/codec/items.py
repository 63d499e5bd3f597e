"""Primitives inside a change: each to a branch of the union and back, the change's provenance apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from nvisy.codec.derive import Record
from nvisy.codec.faults import not_installed, unwritable
from nvisy.errors import CodecError
from nvisy.primitives.primitive import Primitive
from nvisy.primitives.provenance import Provenance

_Pack = Callable[[Primitive], tuple[str, dict[str, Any]]]
_Unpack = Callable[[dict[str, Any], Provenance | None], Primitive]


class Items:
    """The primitives of one union of records."""

    def __init__(self, records: Iterable[tuple[Record, type[Primitive]]]) -> None:
        """Items of these classes, each with its record."""
        self._packs: dict[type, _Pack] = {}
        self._unpacks: dict[str, _Unpack] = {}
        for record, cls in records:
            self._packs[cls] = _packer(record)
            self._unpacks[record.name] = _unpacker(record, cls)

    def pack(self, item: Primitive) -> tuple[str, dict[str, Any]]:
        """`item` as a branch of the union, without its provenance.

        Raises:
            CodecError: Its type is not among these, or a value of it cannot travel.
        """
        pack = self._packs.get(type(item))
        if pack is None:
            raise not_installed(item)
        try:
            return pack(item)
        except Exception as error:  # a conversion of a value that was never validated may raise anything
            raise unwritable(error, (item,)) from error

    def unpack(self, name: str, fields: dict[str, Any], origin: Provenance | None) -> Primitive:
        """The primitive whose record `name` was read as `fields`, with this provenance.

        Raises:
            CodecError: No primitive has that name.
            Exception: Whatever its validation raises; `faults.unreadable` makes it a `CodecError`.
        """
        unpack = self._unpacks.get(name)
        if unpack is None:
            raise CodecError(f"a record of {name} is no primitive that is installed here")
        return unpack(fields, origin)


def _packer(record: Record) -> _Pack:
    name = record.name
    packs = [(each, convert) for each, convert in record.packs if each != "provenance"]

    def pack(item: Primitive) -> tuple[str, dict[str, Any]]:
        fields = item.__dict__.copy()
        fields["provenance"] = None
        for each, convert in packs:
            fields[each] = convert(fields[each])
        return name, fields

    return pack


def _unpacker(record: Record, cls: type[Primitive]) -> _Unpack:
    unpacks = [(each, convert) for each, convert in record.unpacks if each != "provenance"]

    def unpack(fields: dict[str, Any], origin: Provenance | None) -> Primitive:
        del fields["type"]
        fields["provenance"] = origin
        for each, convert in unpacks:
            fields[each] = convert(fields[each])
        return cls.decoded(fields)

    return unpack
