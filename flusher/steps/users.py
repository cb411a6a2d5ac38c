"""The HyperLogLogs of unique users, saved in MongoDB, so that Redis cannot lose them.

A course's sketch is saved in its document when its estimate has grown by 1 %, or an hour has passed; a day's whenever
it has changed, because a day that is over is not flushed any more. The saved sketch is always merged into the live one
first, so no smaller sketch overwrites it, and a Redis that lost it gets it back. None of this affects a count: a
failure is reported, and a later flush tries again, because the day is still among the unsaved.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import pymongo
import structlog
from bson import Binary
from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from redis.exceptions import ResponseError

from flusher.steps import scripts
from flusher.steps.apply import documents_of, not_newer
from flusher.steps.lease import REDIS_SECONDS
from flusher.steps.shape import number_of
from shared.data import keys
from shared.data.days import users_end
from shared.data.tallies import DAY, Tally
from shared.metrics import MONGODB_ERRORS
from shared.stores.mongo import Document
from shared.stores.redis_connection import Command, RedisConnection, Reply
from shared.stores.topology import is_elsewhere

GROWTH = 1.01
SAVE_AGAIN = dt.timedelta(hours=1)
SKETCHES = 200  # sketches read at a time, up to 12 KB each
MONGO_SECONDS = 2

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Users:
    """A tally whose users may have to be saved; `estimate` is Redis's number of them when the tally was taken."""

    partition: int
    tally: Tally
    estimate: int


@dataclass(frozen=True, slots=True)
class Saving:
    """The wave's epoch, time, zone of the days, and token of the locks."""

    epoch: int
    now: dt.datetime
    zone: ZoneInfo
    token: str


def is_due(live: int, saved: Document, now: dt.datetime) -> bool:
    """Whether a course's sketch with the estimate `live` should be saved, given its document.

    Also if it is smaller than the saved one: then Redis has lost users that the saved one still has.
    """
    estimate, at = number_of(saved.get("usersSketchEstimate")), saved.get("usersSketchSavedAt")
    if estimate is None or not isinstance(at, dt.datetime):  # no sketch is saved, or a flusher did not write it
        return live > 0
    if live > GROWTH * float(estimate) or live < estimate:
        return True
    return live != estimate and bool(now - at >= SAVE_AGAIN)


async def save(
    connection: RedisConnection, collection: AsyncCollection[Document], users: Sequence[Users], saving: Saving
) -> None:
    """Saves the sketches that are due, all of one kind. Raises RedisUnreachable; reports everything else."""
    try:
        due = await _due(collection, users, saving.now)
        for start in range(0, len(due), SKETCHES):
            await _save(connection, collection, due[start : start + SKETCHES], saving)
    except PyMongoError as error:
        MONGODB_ERRORS.inc()
        log.warning("sketches not saved", reason=str(error))


async def _due(collection: AsyncCollection[Document], users: Sequence[Users], now: dt.datetime) -> Sequence[Users]:
    """All of the days: an unchanged estimate does not prove that the users are the same."""
    if users and users[0].tally.kind is DAY:
        return users
    with pymongo.timeout(MONGO_SECONDS):
        tallies = [one.tally for one in users]
        known = await documents_of(collection, tallies, "usersSketchEstimate", "usersSketchSavedAt")
    return [one for one in users if is_due(one.estimate, known.get(one.tally.name, {}), now)]


async def _save(
    connection: RedisConnection, collection: AsyncCollection[Document], due: Sequence[Users], saving: Saving
) -> None:
    majority = collection.with_options(read_concern=ReadConcern("majority"))
    with pymongo.timeout(MONGO_SECONDS):
        documents = await documents_of(majority, [one.tally for one in due], "usersSketch")
    saved = {one.tally.name: _sketch(documents.get(one.tally.name, {})) for one in due}
    merges = [_merge(one, saved[one.tally.name], saving) for one in due]
    replies = await connection.call_each(*merges, timeout=REDIS_SECONDS)
    updates, safe = [], {}
    for one, reply in zip(due, replies, strict=True):
        if is_elsewhere(reply) or reply is None:
            continue  # a later flush saves it, or whoever has the lock
        if isinstance(reply, ResponseError):
            log.error("sketch not saved: Redis cannot merge the saved one", tally=one.tally.name, reason=str(reply))
        elif reply[1] is None or reply[1] == saved[one.tally.name]:  # Redis may have lost everything since the take
            safe[one] = reply[1] or b""
        else:
            updates.append((one, reply))
    if updates:
        with pymongo.timeout(MONGO_SECONDS):
            result = await collection.bulk_write([_update(*update, saving) for update in updates], ordered=False)
        if result.matched_count == len(updates):  # otherwise nobody knows which: the next flush finds those saved
            safe |= {one: sketch for one, (_, sketch) in updates}
    await _note_saved(connection, safe)


async def _note_saved(connection: RedisConnection, safe: Mapping[Users, bytes]) -> None:
    """Removes the days whose users MongoDB has from the unsaved ones."""
    commands = [_saved(one, sketch) for one, sketch in safe.items() if one.tally.kind is DAY]
    if commands:
        await connection.call_each(*commands, timeout=REDIS_SECONDS)


def _sketch(document: Document) -> bytes:
    sketch = document.get("usersSketch")
    return sketch if isinstance(sketch, bytes) else b""


def _merge(users: Users, saved: bytes, saving: Saving) -> Command:
    name = users.tally.name
    end = users_end(users.tally.item, saving.zone) if users.tally.kind is DAY else 0
    names = [
        keys.course_users(users.partition, name),
        keys.saved_users(users.partition, name),
        keys.flush_lock(users.partition),
    ]
    return scripts.call(scripts.MERGE_USERS, names, saved, end, saving.token)


def _saved(users: Users, sketch: bytes) -> Command:
    name = users.tally.name
    names = [
        keys.unsaved_users(users.partition),
        keys.course_users(users.partition, name),
        keys.course_counters(users.partition, name),
        keys.flushing_counters(users.partition, name),
    ]
    return scripts.call(scripts.USERS_SAVED, names, name, sketch)


def _update(users: Users, merged: Reply, saving: Saving) -> UpdateOne:
    """Only if no newer flusher has written the document: an older sketch must not replace a newer one."""
    estimate, sketch = merged
    return UpdateOne(
        {**users.tally.identity(), **not_newer(saving.epoch)},
        {
            "$set": {
                "usersSketch": Binary(sketch),
                "usersSketchEstimate": estimate,
                "usersSketchSavedAt": saving.now,
            },
            "$max": {"uniqueActiveUsers": estimate},
        },
    )
