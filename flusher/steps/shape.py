"""Documents to which counts cannot be added, because a platform or a person has written something else there.

MongoDB itself refuses to add to a value that is not a number. But it adds to NaN, to infinity, and to a double so large
that the sum does not change; and counts added to a negative number are not shown. A check before the write finds such
documents. If a document becomes one after that check, somebody has just overwritten its counts anyway. The filter of
the update itself excludes an `epoch` of another type, which would let an older update in.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from bson import Decimal128
from bson.errors import InvalidBSON
from pymongo.asynchronous.collection import AsyncCollection

from shared.data.tallies import KINDS, Counter, Kind, Tally
from shared.stores.mongo import Document

MOST = 2**53
"""Above it, adding one to a double may change nothing."""

_COUNT: Document = {"minimum": 0, "maximum": MOST}  # does not constrain values that are not numbers


def _schema(kind: Kind) -> Document:
    """A JSON schema of the documents to which the counts of the kind can be added."""
    properties: dict[str, Document] = {
        "recentBatches": {"bsonType": "array"},
        "epoch": {"bsonType": ["number", "null"], "minimum": 0},
    }
    for counter in kind.counters.values():
        if counter.total:
            properties[counter.total] = _COUNT
        if counter.item is None:
            properties[counter.parent] = _COUNT
        elif not counter.leaf:
            properties[counter.parent] = {"additionalProperties": _COUNT}
        else:
            items = properties.setdefault(counter.parent, {"additionalProperties": {"properties": {}}})
            items["additionalProperties"]["properties"][counter.leaf] = _COUNT
    return {"properties": properties}


_SCHEMAS = {kind: _schema(kind) for kind in KINDS}


async def misshapen(collection: AsyncCollection[Document], tallies: Sequence[Tally]) -> dict[str, str]:
    """The tallies, all of one kind, whose documents cannot be added to, and why. Raises PyMongoError."""
    kind = tallies[0].kind
    asked = [tally.identity()[kind.key] for tally in tallies]
    others = {kind.key: {"$in": asked}, "$nor": [{"$jsonSchema": _SCHEMAS[kind]}]}
    keys = [document[kind.key] async for document in collection.find(others, {kind.key: 1})]
    found = {}
    for key in keys:  # one at a time: they may be large
        try:
            document = await collection.find_one({kind.key: key}, {"usersSketch": 0}) or {}
        except InvalidBSON as error:
            found[str(key)] = f"its document cannot be decoded: {error}"
        else:
            found[str(key)] = next(complaints(kind, document), "its document is not as it was written")
    return found


def complaints(kind: Kind, document: Mapping[str, Any]) -> Iterator[str]:
    """What keeps counts from being added to a document, or from being shown. Pure."""
    if not isinstance(document.get("recentBatches", []), list):
        yield "recentBatches is not an array"
    epoch = document.get("epoch")
    if epoch is not None and not _is_count(epoch):
        yield f"epoch is {_shown(epoch)}, not a number"
    values = {path: value for counter in kind.counters.values() for path, value in _values(counter, document)}
    for path, value in values.items():
        if not _is_count(value):
            yield f"{path} is {_shown(value)}, not a count"


def _values(counter: Counter, document: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    if counter.total in document:
        yield counter.total, document[counter.total]
    if counter.parent not in document:
        return
    held = document[counter.parent]
    if counter.item is None or not isinstance(held, dict):
        yield counter.parent, held
        return
    for item, leaves in held.items():
        if not counter.leaf:
            yield counter.path(item), leaves
        elif isinstance(leaves, dict) and counter.leaf in leaves:
            yield counter.path(item), leaves[counter.leaf]


def _is_count(value: object) -> bool:
    number = number_of(value)
    return number is not None and 0 <= number <= MOST


def number_of(value: object) -> int | float | Decimal | None:
    """A finite number of any of BSON's types; None for anything else."""
    number = value.to_decimal() if isinstance(value, Decimal128) else value
    if isinstance(number, bool) or not isinstance(number, int | float | Decimal) or not math.isfinite(number):
        return None
    return number


def _shown(value: object) -> str:
    return repr(value)[:60]
