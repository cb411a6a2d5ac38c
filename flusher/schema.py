"""What the flusher needs in MongoDB: made by an explicit, idempotent command, and ensured at each start."""

import datetime as dt
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import pymongo
from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure, PyMongoError

from shared.data.tallies import KINDS, Kind
from shared.serving.program import CannotRun
from shared.stores import day_zone
from shared.stores.mongo import Document

FLUSH_EPOCH = "flushepoch"
EPOCH_ID = "flush"
SCHEMA_SECONDS = 4
EPOCH_SECONDS = 2


async def ensure(database: AsyncDatabase[Document], zone: ZoneInfo, *, change_zone: bool = False) -> None:
    """Makes the unique index of each collection that needs one, and settles the zone of the days.

    Without the index a tally could have two documents. `change_zone` is `change` of `day_zone.settle`. Raises
    PyMongoError when MongoDB is unavailable, CannotRun when it refuses, and when its days have another zone.
    """
    for kind in KINDS:
        if kind.key != "_id":
            await _make_unique(database, kind)
    await day_zone.settle(database, zone, change=change_zone)


async def _make_unique(database: AsyncDatabase[Document], kind: Kind) -> None:
    try:
        with pymongo.timeout(SCHEMA_SECONDS):
            await database[kind.collection].create_index(kind.key, unique=True)
    except OperationFailure as error:
        if error.timeout or error.has_error_label("RetryableWriteError"):
            raise
        raise CannotRun(f"cannot make the unique index on {kind.collection}.{kind.key}: {error}") from error


async def next_epoch(epochs: AsyncCollection[Document]) -> int:
    """A new fence: a number higher than that of any flusher before. Raises PyMongoError."""
    with pymongo.timeout(EPOCH_SECONDS):
        document = await epochs.find_one_and_update(
            {"_id": EPOCH_ID}, {"$inc": {"epoch": 1}}, upsert=True, return_document=ReturnDocument.AFTER
        )
    assert document is not None, "an upsert that returns the document after"  # noqa: S101 - for the type checker
    epoch = document["epoch"]
    if not isinstance(epoch, int):
        raise PyMongoError(
            f"the epoch of {FLUSH_EPOCH} is {epoch!r}, and no whole number: set it above every document's"
        )
    return epoch


async def note_success(epochs: AsyncCollection[Document], partitions: Sequence[int], now: dt.datetime) -> None:
    """Saves when these partitions were last flushed, for `status`. Raises PyMongoError."""
    with pymongo.timeout(EPOCH_SECONDS):
        before = {"$cond": [{"$eq": [{"$type": "$flushed"}, "object"]}, "$flushed", {}]}
        flushed = {"$mergeObjects": [before, {str(number): now for number in partitions}]}
        await epochs.update_one({"_id": EPOCH_ID}, [{"$set": {"flushed": flushed}}])
