"""The HyperLogLogs of unique users, kept where Redis cannot lose them.

A course's sketch is saved in its document when its estimate has grown by 1 %, or an hour has passed. What was saved is
always merged into the live one first, so nothing smaller ever overwrites it, and a Redis that lost it has it back. None
of this can touch a count: when it fails, it is reported and tried again by a later flush.
"""

import datetime as dt
from collections.abc import Mapping, Sequence

import pymongo
import structlog
from bson import Binary, ObjectId
from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError
from redis.exceptions import ResponseError

from flusher.steps import scripts
from flusher.steps.lease import REDIS_SECONDS
from flusher.steps.take import Batch
from shared.data import keys
from shared.metrics import MONGODB_ERRORS
from shared.stores.mongo import Document
from shared.stores.redis_connection import Command, RedisConnection, Reply
from shared.stores.topology import is_elsewhere

GROWTH = 1.01
SAVE_AGAIN = dt.timedelta(hours=1)
SKETCHES = 200  # so many at a time, up to 12 KB each
MONGO_SECONDS = 2

log = structlog.get_logger()


def is_due(live: int, saved: Document, now: dt.datetime) -> bool:
    """Whether a sketch with the estimate `live` should be saved, by what the document says of the saved one.

    Also when it is smaller: then Redis has lost users that the saved one still knows.
    """
    if "usersSketchEstimate" not in saved:
        return live > 0
    estimate: int = saved["usersSketchEstimate"]
    if live > GROWTH * estimate or live < estimate:
        return True
    return live != estimate and bool(now - saved["usersSketchSavedAt"] >= SAVE_AGAIN)


async def save(
    connection: RedisConnection,
    collection: AsyncCollection[Document],
    batches: Sequence[Batch],
    epoch: int,
    now: dt.datetime,
) -> None:
    """Saves the sketches of the batches' courses that are due. Raises RedisUnreachable; reports everything else."""
    try:
        known = await _documents(collection, batches, {"usersSketchEstimate": 1, "usersSketchSavedAt": 1})
        due = [batch for batch in batches if is_due(batch.unique_users, known.get(batch.course_id, {}), now)]
        for start in range(0, len(due), SKETCHES):
            await _save(connection, collection, due[start : start + SKETCHES], epoch, now)
    except PyMongoError as error:
        MONGODB_ERRORS.inc()
        log.warning("sketches not saved", reason=str(error))


async def _save(
    connection: RedisConnection,
    collection: AsyncCollection[Document],
    due: Sequence[Batch],
    epoch: int,
    now: dt.datetime,
) -> None:
    saved = await _documents(collection, due, {"usersSketch": 1})
    merges = [_merge(batch, saved.get(batch.course_id, {}).get("usersSketch", b"")) for batch in due]
    replies = await connection.call_each(*merges, timeout=REDIS_SECONDS)
    updates = []
    for batch, reply in zip(due, replies, strict=True):
        if is_elsewhere(reply):
            continue  # saved by a later flush, from there
        if isinstance(reply, ResponseError):
            log.error("sketch not saved: Redis cannot merge the saved one", course=batch.course_id, reason=str(reply))
        elif reply[1] is not None:  # Redis may have lost all since the take
            updates.append(_update(batch, reply, epoch, now))
    if updates:
        with pymongo.timeout(MONGO_SECONDS):
            await collection.bulk_write(updates, ordered=False)


async def _documents(
    collection: AsyncCollection[Document], batches: Sequence[Batch], fields: Mapping[str, int]
) -> dict[str, Document]:
    with pymongo.timeout(MONGO_SECONDS):
        found = await collection.find(
            {"courseId": {"$in": [ObjectId(batch.course_id) for batch in batches]}}, {"courseId": 1, **fields}
        ).to_list()
    return {str(document["courseId"]): document for document in found}


def _merge(batch: Batch, sketch: bytes) -> Command:
    live = keys.course_users(batch.partition, batch.course_id)
    return scripts.call(scripts.MERGE_USERS, [live, keys.saved_users(batch.partition, batch.course_id)], sketch)


def _update(batch: Batch, merged: Reply, epoch: int, now: dt.datetime) -> UpdateOne:
    """Only while no newer flusher has written the document: an older sketch must not replace a newer."""
    estimate, sketch = merged
    return UpdateOne(
        {"courseId": ObjectId(batch.course_id), "epoch": {"$not": {"$gt": epoch}}},
        {
            "$set": {
                "usersSketch": Binary(sketch),
                "usersSketchEstimate": estimate,
                "usersSketchSavedAt": now,
            },
            "$max": {"uniqueActiveUsers": estimate},
        },
    )
