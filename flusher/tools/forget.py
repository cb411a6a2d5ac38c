"""`python -m flusher forget <courseId>`: empties all tallies of a course, or with `/<lectureId>` one lecture's.

Under the lock of the partition no flush is in progress, and under a new epoch the documents refuse the updates of a
flusher that was paused past its lock. MongoDB is emptied first, and gets the ids of the batches in flight: if the
command dies in the middle, the counts left in Redis still count, and nothing that was emptied comes back. Events that
arrive meanwhile are new ones. A playback that continues is counted again in its lecture's tally: `keys.forgotten` tells
ingest so.
"""

import secrets
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import pymongo
from pymongo import UpdateOne
from pymongo.asynchronous.database import AsyncDatabase

from flusher.schema import FLUSH_EPOCH, next_epoch
from flusher.steps import scripts
from flusher.steps.due import is_lecture
from flusher.steps.lease import REDIS_SECONDS, Lease, LeaseLost
from shared.data import keys
from shared.data.tallies import COURSE, KINDS, LECTURE, Kind, Tally, tally_of
from shared.stores.mongo import Document
from shared.stores.redis_connection import RedisConnection, text_of

SCANNED_KEYS = 1_000
TALLIES = 200  # documents in one write
LIST_SECONDS = 10

OF_USERS = ("uniqueActiveUsers", "usersSketch", "usersSketchEstimate", "usersSketchSavedAt")


async def forget(node: str, database: AsyncDatabase[Document], name: str, *, lock_ttl: float) -> int:
    """Empties all tallies of a course, or one lecture's, and returns how many these are.

    `node` is the address of the Redis that serves the course. Repeating it finishes an interrupted run. Raises
    LeaseLost when another flusher has the lock, RedisUnreachable, ResponseError, PyMongoError.
    """
    partition = keys.partition_of(name)
    connection = await RedisConnection.open(node, timeout=REDIS_SECONDS)
    lease = Lease(connection, token=f"forget-{secrets.token_hex(8)}", ttl=lock_ttl, now=time.monotonic)
    try:
        names = await _names(connection, database, name)
        if partition not in await lease.acquire([partition]):
            raise LeaseLost("another flusher is at this course")
        epoch = await next_epoch(database[FLUSH_EPOCH])  # after the lock, as in a flush
        halfway = await _halfway(connection, partition, names)
        await _empty(database, names, halfway, epoch, timeout=0.9 * lease.seconds_left())
        removals = [_removal(partition, each, lease.token) for each in names]
        if not all(await connection.call(*removals, timeout=lease.seconds_left())):
            raise LeaseLost("the lock was over before the end")
    finally:
        await lease.release(node)
    return len(names)


async def _names(connection: RedisConnection, database: AsyncDatabase[Document], name: str) -> list[str]:
    """The tallies that either store has."""
    if is_lecture(name):
        return [name]
    found = {name, *[each async for each in _in_redis(connection, name)]}
    with pymongo.timeout(LIST_SECONDS):
        for kind in KINDS:
            if kind.key == "_id":
                of_course = {"_id": {"$gte": f"{name}/", "$lt": f"{name}0"}}  # 0 is the character after the slash
                found |= {document["_id"] async for document in database[kind.collection].find(of_course, {"_id": 1})}
    return sorted(found)


async def _in_redis(connection: RedisConnection, course_id: str) -> AsyncIterator[str]:
    partition = keys.partition_of(course_id)
    for members in (keys.dirty_courses(partition), keys.unsaved_users(partition)):
        (listed,) = await connection.call(("SMEMBERS", members), timeout=LIST_SECONDS)
        for member in map(text_of, listed):
            if member.startswith(course_id):
                yield member
    cursor = b"0"
    while True:
        scan = ("SCAN", cursor, "MATCH", f"*:{{{partition}}}:{course_id}*", "COUNT", SCANNED_KEYS)
        ((cursor, found),) = await connection.call(scan, timeout=REDIS_SECONDS)
        for key in found:
            yield text_of(key).partition("}:")[2]
        if cursor == b"0":
            return


async def _halfway(connection: RedisConnection, partition: int, names: Iterable[str]) -> dict[str, str]:
    """The batches that a flush has taken, by tally: MongoDB may have them, or get them soon."""
    names = list(names)
    commands = [("HGET", keys.flushing_counters(partition, name), keys.BATCH) for name in names]
    replies = await connection.call_each(*commands, timeout=REDIS_SECONDS)
    taken = zip(names, replies, strict=True)
    return {name: text_of(batch) for name, batch in taken if isinstance(batch, bytes)}


async def _empty(
    database: AsyncDatabase[Document], names: Iterable[str], halfway: Mapping[str, str], epoch: int, *, timeout: float
) -> None:
    tallies = [tally for tally in map(tally_of, names) if tally is not None]
    with pymongo.timeout(timeout):
        for kind in KINDS:
            updates = [_emptying(tally, halfway.get(tally.name), epoch) for tally in tallies if tally.kind is kind]
            for start in range(0, len(updates), TALLIES):
                await database[kind.collection].bulk_write(updates[start : start + TALLIES], ordered=False)


def _emptying(tally: Tally, batch: str | None, epoch: int) -> UpdateOne:
    """The update that empties a document but keeps the fields that exclude old batches, and the fields of others.

    Creates a missing document if a batch is in flight: otherwise a late upsert would create it.
    """
    known: Document = {"$cond": [{"$isArray": "$recentBatches"}, "$recentBatches", []]}
    batches = {"$slice": [{"$concatArrays": [known, [{"$literal": batch}] if batch else []]}, -tally.kind.window]}
    newest = {"$cond": [{"$isNumber": "$epoch"}, {"$max": ["$epoch", epoch]}, epoch]}
    kept = {"recentBatches": batches, "epoch": newest, "updatedAt": "$$NOW", **tally.repeated()}
    return UpdateOne(tally.identity(), [{"$set": kept}, {"$unset": fields_of(tally.kind)}], upsert=batch is not None)


def fields_of(kind: Kind) -> list[str]:
    """The fields of a document with counts or users."""
    counts = {path for counter in kind.counters.values() for path in (counter.parent, counter.total) if path}
    return sorted({*counts, *(OF_USERS if kind.users else ())})


def _removal(partition: int, name: str, token: str) -> tuple[Any, ...]:
    return scripts.call(
        scripts.FORGET,
        [
            keys.flush_lock(partition),
            keys.dirty_courses(partition),
            keys.unsaved_users(partition),
            keys.course_counters(partition, name),
            keys.flushing_counters(partition, name),
            keys.quarantined_counters(partition, name),
            keys.course_users(partition, name),
            *([keys.forgotten(partition)] if is_lecture(name) else []),
        ],
        token,
        name,
        keys.PLAYBACK_SECONDS,
    )


def is_forgettable(name: str) -> bool:
    """Whether it is the name of a course, or of a lecture in a course."""
    tally = tally_of(name)
    return tally is not None and tally.kind in (COURSE, LECTURE)
