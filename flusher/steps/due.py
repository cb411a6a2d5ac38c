"""Which tallies a cycle flushes: dirty ones that need not wait, and days whose users are not saved yet."""

import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from redis.exceptions import ResponseError

from flusher.steps.take import ELSEWHERE
from shared.data import keys
from shared.data.batch_id import age, born
from shared.data.tallies import LECTURE, tally_of
from shared.stores.redis_connection import RedisConnection, Reply, text_of
from shared.stores.topology import is_elsewhere

LIST_SECONDS = 5
SAMPLED_TALLIES = 1_000
ASKED_TALLIES = 1_000

# A lecture's counts may wait: readers see them in Redis, and they become numerous in few lectures only.
LECTURE_SECONDS = 3600
LECTURE_COUNTERS = 2_000
# The length of the name of a lecture's tally, which spares most other names a closer look.
LECTURE_NAME = 49

log = structlog.get_logger()


@dataclass(slots=True)
class Listed:
    """The tallies' names by partition; and the reasons why partitions were skipped, with their number.

    `unreadable` are partitions whose dirty set is of another type: nobody knows what waits there.
    """

    names: dict[int, list[str]] = field(default_factory=dict)
    left: Counter[str] = field(default_factory=Counter)
    unreadable: list[int] = field(default_factory=list)


async def dirty_tallies(connection: RedisConnection, partitions: Sequence[int] = range(keys.PARTITIONS)) -> Listed:
    """The tallies with unflushed counts. Raises RedisUnreachable."""
    commands = [("SMEMBERS", keys.dirty_courses(partition)) for partition in partitions]
    return _listed(partitions, await connection.call_each(*commands, timeout=LIST_SECONDS))


async def unsaved_days(connection: RedisConnection, partitions: Sequence[int]) -> Listed:
    """The days whose latest users MongoDB does not have. Raises RedisUnreachable."""
    commands = [("SMEMBERS", keys.unsaved_users(partition)) for partition in partitions]
    return _listed(partitions, await connection.call_each(*commands, timeout=LIST_SECONDS))


def _listed(partitions: Sequence[int], replies: Sequence[Reply]) -> Listed:
    """A key that is not a set, or is on another node, delays only its own partition."""
    listed = Listed()
    for partition, members in zip(partitions, replies, strict=True):
        if is_elsewhere(members):
            listed.left[ELSEWHERE] += 1
        elif isinstance(members, ResponseError):
            listed.left[str(members)] += 1
            listed.unreadable.append(partition)
            log.error("a list of tallies cannot be read", partition=partition, reason=str(members))
        else:
            listed.names[partition] = [text_of(name) for name in members]
    return listed


async def without_waiting(connection: RedisConnection, dirty: Mapping[int, Sequence[str]]) -> dict[int, list[str]]:
    """The tallies without those lectures whose counts are few and young. Raises RedisUnreachable."""
    lectures = [(partition, name) for partition, names in dirty.items() for name in names if is_lecture(name)]
    waiting: set[str] = set()
    for start in range(0, len(lectures), ASKED_TALLIES):
        waiting |= await _waiting(connection, lectures[start : start + ASKED_TALLIES])
    return {partition: [name for name in names if name not in waiting] for partition, names in dirty.items()}


async def _waiting(connection: RedisConnection, lectures: Sequence[tuple[int, str]]) -> set[str]:
    replies = await connection.call_each(
        *(
            command
            for partition, name in lectures
            for command in (
                ("HGET", keys.course_counters(partition, name), keys.BATCH),
                ("HLEN", keys.course_counters(partition, name)),
                ("EXISTS", keys.flushing_counters(partition, name)),
            )
        ),
        timeout=LIST_SECONDS,
    )
    now = time.time()
    each = zip(lectures, replies[::3], replies[1::3], replies[2::3], strict=True)
    return {name for (_, name), batch, counters, taken in each if may_wait(batch, counters, taken, now)}


def may_wait(batch: Reply, counters: Reply, taken: Reply, now: float) -> bool:
    """Whether a lecture's hash, with this batch and so many counters, can wait. Malformed ones are flushed, and found.

    So are those that an earlier flush left (`taken` 1), and those dated an hour ahead by a wrong clock of ingest.
    """
    if not isinstance(batch, bytes) or not isinstance(counters, int) or taken != 0:
        return False
    since = born(text_of(batch))
    return since is not None and abs(now - since) < LECTURE_SECONDS and counters < LECTURE_COUNTERS


def is_lecture(name: str) -> bool:
    """Whether it is the name of a lecture's tally."""
    tally = tally_of(name) if len(name) == LECTURE_NAME else None
    return tally is not None and tally.kind is LECTURE


def together(*several: Mapping[int, Iterable[str]]) -> dict[int, list[str]]:
    """Every name once, by partition."""
    union: dict[int, dict[str, None]] = {}
    for names_of in several:
        for partition, names in names_of.items():
            union.setdefault(partition, {}).update(dict.fromkeys(names))
    return {partition: list(names) for partition, names in union.items()}


async def oldest_count(connection: RedisConnection, dirty: Mapping[int, Sequence[str]]) -> float:
    """The age in seconds of the oldest batch, hot or flushing, of 1,000 of the tallies. Raises RedisUnreachable.

    For a cycle that can take nothing because MongoDB is unavailable: then all batches are old.
    """
    tallies = [(partition, name) for partition, names in dirty.items() for name in names]
    sample = random.SystemRandom().sample(tallies, min(SAMPLED_TALLIES, len(tallies)))
    replies = await connection.call_each(
        *(
            ("HGET", key(partition, name), keys.BATCH)
            for partition, name in sample
            for key in (keys.course_counters, keys.flushing_counters)
        ),
        timeout=LIST_SECONDS,
    )
    now = time.time()
    names = [name for _, name in sample for _ in (keys.course_counters, keys.flushing_counters)]
    each = zip(names, replies, strict=True)
    return max((due_for(name, text_of(reply), now) for name, reply in each if isinstance(reply, bytes)), default=0.0)


def due_for(name: str, batch: str, now: float) -> float:
    """For how many seconds a tally's batch has been due: since its first count, or for a lecture an hour later."""
    return max(0.0, age(batch, now) - (LECTURE_SECONDS if is_lecture(name) else 0))
