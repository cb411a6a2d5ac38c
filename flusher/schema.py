"""What the flusher needs in MongoDB before it starts: made by an explicit, idempotent command, and ensured at start."""

import datetime as dt
from collections.abc import Sequence

import pymongo
from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from shared.serving.program import CannotRun
from shared.stores.mongo import COURSE_ANALYTICS, Document

FLUSH_EPOCH = "flushepoch"
EPOCH_ID = "flush"
SCHEMA_SECONDS = 4
EPOCH_SECONDS = 2


async def ensure(database: AsyncDatabase[Document]) -> None:
    """Makes the unique index on `courseId` where it is missing: without it a course could have two documents.

    Raises PyMongoError when MongoDB is away, CannotRun when it refuses.
    """
    try:
        with pymongo.timeout(SCHEMA_SECONDS):
            await database[COURSE_ANALYTICS].create_index("courseId", unique=True)
    except OperationFailure as error:
        if error.timeout or error.has_error_label("RetryableWriteError"):
            raise
        raise CannotRun(f"cannot make the unique index on {COURSE_ANALYTICS}.courseId: {error}") from error


async def next_epoch(epochs: AsyncCollection[Document]) -> int:
    """The fence: a number higher than any flusher had before. Raises PyMongoError."""
    with pymongo.timeout(EPOCH_SECONDS):
        document = await epochs.find_one_and_update(
            {"_id": EPOCH_ID}, {"$inc": {"epoch": 1}}, upsert=True, return_document=ReturnDocument.AFTER
        )
    assert document is not None, "an upsert that returns the document after"  # noqa: S101 - for the type checker
    return int(document["epoch"])


async def note_success(epochs: AsyncCollection[Document], partitions: Sequence[int], now: dt.datetime) -> None:
    """Remembers when these partitions were last flushed, for `status`. Raises PyMongoError."""
    with pymongo.timeout(EPOCH_SECONDS):
        await epochs.update_one({"_id": EPOCH_ID}, {"$max": {f"flushed.{number}": now for number in partitions}})
