"""The sweep: finds counters whose tally is not in the dirty set. Only lost or edited keys cause that."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import structlog
from redis.exceptions import ResponseError

from flusher import metrics
from flusher.steps.lease import REDIS_SECONDS
from shared.data import keys
from shared.stores.redis_connection import RedisConnection, error_code, text_of
from shared.stores.topology import is_elsewhere

SCANNED_KEYS = 1_000

_KEY = re.compile(r"(course|flushing|quarantined)_counters:\{([0-9]{1,9})\}:(.+)", re.DOTALL)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class CountersKey:
    """A key with counts: `state` is course, flushing or quarantined; `tally` may not be the name of one."""

    name: str
    state: str
    partition: int
    tally: str


async def counters_keys(connection: RedisConnection) -> AsyncIterator[list[CountersKey]]:
    """Every key with counts, a list for each step of the scan. Raises RedisUnreachable."""
    cursor = b"0"
    while True:
        ((cursor, names),) = await connection.call(
            ("SCAN", cursor, "MATCH", "*_counters:{*", "COUNT", SCANNED_KEYS, "TYPE", "hash"), timeout=REDIS_SECONDS
        )
        matches = (_KEY.fullmatch(text_of(name)) for name in names)
        yield [CountersKey(match[0], match[1], int(match[2]), match[3]) for match in matches if match]
        if cursor == b"0":
            return


async def of_another_type(connection: RedisConnection) -> AsyncIterator[str]:
    """One sentence for each of our keys that has the wrong type. Raises RedisUnreachable."""
    cursor = b"0"
    while True:
        scan = ("SCAN", cursor, "MATCH", "*_counters:{*", "COUNT", SCANNED_KEYS)
        ((cursor, names),) = await connection.call(scan, timeout=REDIS_SECONDS)
        replies = (
            await connection.call_each(*(("HLEN", name) for name in names), timeout=REDIS_SECONDS) if names else []
        )
        for name, reply in zip(names, replies, strict=True):
            if error_code(reply) == "WRONGTYPE":
                yield f"{text_of(name)} is not a hash: its tally is neither counted nor shown; rename the key"
        if cursor == b"0":
            break
    sets = [
        name(partition) for partition in range(keys.PARTITIONS) for name in (keys.dirty_courses, keys.unsaved_users)
    ]
    replies = await connection.call_each(*(("SISMEMBER", name, "") for name in sets), timeout=REDIS_SECONDS)
    for name, reply in zip(sets, replies, strict=True):
        if error_code(reply) == "WRONGTYPE":
            yield f"{name} is not a set: nothing of its partition is flushed; rename the key"


async def strays(connection: RedisConnection) -> AsyncIterator[CountersKey]:
    """The keys whose counts no flush would find. Raises RedisUnreachable.

    Skips keys that are migrating to another node.
    """
    async for found in counters_keys(connection):
        for key in await _strays_among(connection, found):
            yield key


async def _strays_among(connection: RedisConnection, found: Sequence[CountersKey]) -> list[CountersKey]:
    unflushed = [key for key in found if key.state != "quarantined"]
    if not unflushed:
        return []
    replies = await connection.call_each(
        *(("SISMEMBER", keys.dirty_courses(key.partition), key.tally) for key in unflushed), timeout=REDIS_SECONDS
    )
    return [key for key, dirty in zip(unflushed, replies, strict=True) if dirty == 0]


async def sweep(connection: RedisConnection, stop: asyncio.Event) -> set[str]:
    """Marks the tallies of all strays as dirty again, until `stop`. Raises RedisUnreachable.

    Returns the keys of all quarantined batches that it saw.

    A tally that was cleared just then may be among the strays: the next flush finds nothing, and removes it again.
    """
    metrics.SWEEPS.inc()
    quarantined: set[str] = set()
    async for found in counters_keys(connection):
        if stop.is_set():  # with tens of millions of keys a sweep takes longer than a stop may
            break
        quarantined |= {key.name for key in found if key.state == "quarantined"}
        await _sweep(connection, found)
    return quarantined


async def _sweep(connection: RedisConnection, found: Sequence[CountersKey]) -> None:
    for key in await _strays_among(connection, found):
        command = ("SADD", keys.dirty_courses(key.partition), key.tally)
        (reply,) = await connection.call_each(command, timeout=REDIS_SECONDS)
        if is_elsewhere(reply):
            continue  # the next sweep finds it there
        if isinstance(reply, ResponseError):
            raise reply
        log.error("swept back into the dirty set", key=key.name)
        metrics.SWEPT.inc()
