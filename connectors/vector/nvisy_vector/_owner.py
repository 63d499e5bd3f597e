"""A collection's marker, and whether a writer may go on with what it finds there."""

from __future__ import annotations

from dataclasses import dataclass

from nvisy.connector.sink import Owner
from nvisy.errors import Fatal, Refused
from nvisy_vector._layout import FORMAT

_ANEW = "`nvisy rebuild` builds the index anew beside this one, and shows it to readers when it is whole"


@dataclass(frozen=True, slots=True)
class Marker:
    """What a collection says of itself.

    Attributes:
        collection_id: Made when the collection was created.
        physical: Name under which its records are stored.
        owner: Who writes into it.
        distance: `cosine`, `l2` or `dot`.
        token: The highest fence token that a writer has opened it with.
        layout: Version of the layout.
        current: Whether readers see it under the collection's name.
    """

    collection_id: str
    physical: str
    owner: Owner
    distance: str
    token: int = 0
    layout: int = FORMAT
    current: bool = True


def verify(marker: Marker, owner: Owner, distance: str, where: str, *, adopt: bool = False) -> None:
    """Go on only if the collection is this owner's, and of the shape that it writes.

    Args:
        marker: What the collection says of itself.
        owner: Who wants to write.
        distance: The distance that the graph asks for.
        where: The collection as a person knows it, `collection "docs" in index.db`.
        adopt: Whether it may have been written from another log; the marker has to be rewritten then.

    Raises:
        Refused: It belongs to another graph, or to another log that is not adopted.
        Fatal: Its vectors are of another shape.
    """
    verify_layout(marker.layout, where)
    theirs = marker.owner
    if theirs.graph != owner.graph:
        raise Refused(
            f'{where} belongs to the graph "{theirs.graph}", and this is the graph "{owner.graph}": '
            f'give this sink another "collection", or drop that one if nobody needs it'
        )
    if theirs.log != owner.log and not adopt:
        raise Refused(
            f'{where} was written from the log "{theirs.log}", '
            f'and this run reads the log "{owner.log}", '
            f"whose versions cannot be compared with it: run with the former log (the embedded one lies in .nvisy "
            f"of the folder that nvisy is run in, unless NVISY_STATE names another); if that is gone, run with "
            f"--adopt, which reads everything again and keeps what has not changed; "
            f'or give this sink another "collection"'
        )
    if theirs.dimensions != owner.dimensions:
        raise Fatal(
            f"{where} holds vectors of {theirs.dimensions} dimensions ({theirs.model}), and {owner.model} "
            f"makes {owner.dimensions}: {_ANEW}, or use the former model"
        )
    if theirs.model != owner.model:
        raise Fatal(
            f"{where} holds vectors of the model {theirs.model}, "
            f"and the graph uses {owner.model}; "
            f"vectors of two models cannot be compared: {_ANEW}, or use the former model"
        )
    if marker.distance != distance:
        raise Fatal(
            f'{where} was made for the distance "{marker.distance}", and the graph says "{distance}": '
            f"{_ANEW}, or use the former distance"
        )


def verify_layout(layout: int, where: str) -> None:
    """Refuse a collection that another version of Nvisy laid out in its own way."""
    if layout != FORMAT:
        raise Refused(
            f"{where} has layout {layout}, and this version of Nvisy reads layout {FORMAT}: "
            f"use the version that wrote it, or build the collection again under another name"
        )


def fenced(where: str, token: int, current: int) -> Refused:
    """The error of a writer that another one has replaced."""
    return Refused(
        f"{where} is being written by a newer run (token {current}, ours is {token}): this one stops"
    )


def adopted(where: str, log: str) -> Refused:
    """The error of a writer whose collection now belongs to another log."""
    return Refused(f'{where} was adopted by a run that reads the log "{log}": this one stops')


def without_generations(where: str) -> Refused:
    """The error of whoever wants to build a user's own collection anew."""
    return Refused(
        f'{where} is your own ("create": false): applications ask it by its own name, so nothing stands between them'
        f' and it that could be pointed at a new one. Give the sink another "collection" without "create": false,'
        f" run the graph, and let applications ask that"
    )


def serving(where: str) -> Refused:
    """The error of whoever wants to drop what readers see."""
    return Refused(f"{where} is what readers see under its name: let another generation serve first")


def never_made(where: str) -> Refused:
    """The error of whoever wants readers to see what there is not."""
    return Refused(f"{where} was never made, so readers cannot see it")


def gone(where: str) -> Fatal:
    """The error of a writer whose collection was dropped or made anew while it was writing."""
    return Fatal(
        f"{where} was dropped or made anew while this run was writing: start the run again to fill it"
    )
