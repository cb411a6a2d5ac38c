"""Take: the atomic get-and-zero. The hot hash of a course is renamed away and read, in one transaction.

What the transaction reads is the batch, wherever it comes from: a fresh rename, or a flush that stopped halfway and
left it there.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from redis.exceptions import ResponseError

from flusher.steps.lease import REDIS_SECONDS, Lease, LeaseLost
from shared.data import keys
from shared.data.tallies import COURSE
from shared.stores.redis_connection import Command, RedisConnection, Reply, pairs
from shared.stores.topology import is_elsewhere

ATTEMPTS = 3

ELSEWHERE = "its slot of the Redis cluster is on another node, or on the way to one"

_OBJECT_ID = re.compile(r"[0-9a-f]{24}")
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Batch:
    """Counts on their way to MongoDB: hash fields to counts, under the id that is added to a document at most once."""

    partition: int
    course_id: str
    id: str
    counts: dict[str, int]
    unique_users: int
    fresh: bool  # renamed just now, and not left by an earlier flush
    more: bool = False  # there are newer counts: they must wait until this one is out of the way


@dataclass(frozen=True, slots=True)
class Malformed:
    """A hash that no version of ingest writes: `reason` says what is wrong with it. `id` may be empty."""

    partition: int
    course_id: str
    id: str
    fields: dict[str, str]
    reason: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """A dirty course without counts."""

    partition: int
    course_id: str


Taken = Batch | Malformed | Nothing


async def count_counters(connection: RedisConnection, partition: int, courses: Sequence[str]) -> dict[str, int]:
    """About how many counters each course has, hot or left by an earlier flush. Raises RedisUnreachable."""
    replies = await connection.call_each(
        *(
            ("HLEN", key(partition, course_id))
            for course_id in courses
            for key in (keys.course_counters, keys.flushing_counters)
        ),
        timeout=REDIS_SECONDS,
    )
    sizes = [reply if isinstance(reply, int) else 0 for reply in replies]
    return {course_id: hot + left for course_id, hot, left in zip(courses, sizes[::2], sizes[1::2], strict=True)}


async def take(connection: RedisConnection, lease: Lease, partition: int, courses: Sequence[str]) -> list[Taken]:
    """Takes the counts of the courses, in their order.

    Only while the lock is ours, and its life begins anew: a write by this connection, which the barrier then waits for.
    Raises LeaseLost, also when a cluster moves the partition to another node, and RedisUnreachable.
    """
    try:
        return await _take(connection, lease, partition, courses)
    except ResponseError as error:
        if not is_elsewhere(error):
            raise
        raise LeaseLost(ELSEWHERE) from error


async def _take(connection: RedisConnection, lease: Lease, partition: int, courses: Sequence[str]) -> list[Taken]:
    lock = keys.flush_lock(partition)
    for _ in range(ATTEMPTS):
        _, holder = await connection.call(("WATCH", lock), ("GET", lock), timeout=REDIS_SECONDS)
        if holder != lease.token.encode():
            break
        asked = lease.now()
        *_, replies = await connection.call(*_transaction(lease, partition, courses), timeout=REDIS_SECONDS)
        if replies is not None:
            lease.renewed(partition, asked)
            each = zip(courses, replies[1::3], replies[2::3], replies[3::3], strict=True)
            return [taken_of(partition, *of_course) for of_course in each]
        # Not carried out, because the lock was touched: whether it was lost, the next look at it tells.
    await connection.call(("UNWATCH",), timeout=REDIS_SECONDS)
    raise LeaseLost(f"another flusher has partition {partition}")


def _transaction(lease: Lease, partition: int, courses: Sequence[str]) -> list[Command]:
    commands: list[Command] = [("MULTI",), ("PEXPIRE", keys.flush_lock(partition), lease.ttl_ms)]
    for course_id in courses:
        hot, flushing = keys.course_counters(partition, course_id), keys.flushing_counters(partition, course_id)
        commands += (
            ("RENAMENX", hot, flushing),
            ("HGETALL", flushing),
            ("PFCOUNT", keys.course_users(partition, course_id)),
        )
    return [*commands, ("EXEC",)]


def taken_of(partition: int, course_id: str, renamed: Reply, flat: Reply, users: Reply) -> Taken:
    """What one course's replies mean: of RENAMENX (an error when there is nothing hot), HGETALL and PFCOUNT.

    What nobody here has written is malformed, so that it holds up no other course. A HyperLogLog that Redis cannot read
    holds up no counts.
    """
    if isinstance(flat, ResponseError):
        return Malformed(partition, course_id, "", {}, str(flat))
    fields = {name: value.decode(errors="replace") for name, value in pairs(flat).items()}
    if not fields:
        return Nothing(partition, course_id)
    batch_id = fields.pop(keys.BATCH, "")
    counts, unreadable = readable(fields)
    if unreadable:
        return Malformed(partition, course_id, batch_id, fields, f"unreadable: {', '.join(sorted(unreadable))}")
    if not batch_id:
        return Malformed(partition, course_id, batch_id, fields, "the hash names no batch")
    if not _OBJECT_ID.fullmatch(course_id):
        return Malformed(partition, course_id, batch_id, fields, "the course's id is not 24 hexadecimal digits")
    return Batch(
        partition,
        course_id,
        batch_id,
        counts,
        unique_users=users if isinstance(users, int) else 0,
        fresh=renamed == 1,
        more=renamed == 0,
    )


def readable(fields: dict[str, str]) -> tuple[dict[str, int], dict[str, str]]:
    """The fields that are counters with a count that MongoDB can hold, and the rest."""
    counts, rest = {}, {}
    for name, text in fields.items():
        try:
            COURSE.counter_of(name)
            count = int(text)
        except ValueError:
            count = _INT64.stop
        if count in _INT64:
            counts[name] = count
        else:
            rest[name] = text
    return counts, rest
