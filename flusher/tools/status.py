"""`python -m flusher status`: what waits where, partition by partition."""

import datetime as dt
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pymongo
from pymongo.asynchronous.database import AsyncDatabase

from flusher.schema import EPOCH_ID, FLUSH_EPOCH
from flusher.steps.due import dirty_tallies
from flusher.steps.lease import REDIS_SECONDS
from flusher.tools.strays import CountersKey, counters_keys
from shared.data import keys
from shared.data.batch_id import born
from shared.stores.mongo import Document
from shared.stores.redis_connection import RedisConnection, Reply, text_of

MONGO_SECONDS = 3


@dataclass(slots=True)
class PartitionStatus:
    """One partition. Times are in seconds since the epoch, or None.

    `oldest` is when its oldest batch began, hot or in flight: its age also grows while no flusher runs.
    """

    dirty: int = 0
    in_flight: int = 0
    oldest: float | None = None
    quarantined: int = 0
    holder: str = ""
    last_success: float | None = None

    def is_idle(self) -> bool:
        """Whether nothing waits here and no flusher works here."""
        return not (self.dirty or self.in_flight or self.quarantined or self.holder)


async def read(nodes: Sequence[RedisConnection], database: AsyncDatabase[Document]) -> dict[int, PartitionStatus]:
    """Every partition that was ever flushed, or has something to flush. Raises RedisUnreachable, PyMongoError."""
    statuses = await in_redis(nodes)
    await add_successes(statuses, database)
    return statuses


async def in_redis(nodes: Sequence[RedisConnection]) -> dict[int, PartitionStatus]:
    """The partitions' state in Redis: everything except the last success. Raises RedisUnreachable."""
    statuses: defaultdict[int, PartitionStatus] = defaultdict(PartitionStatus)
    for node in nodes:
        for partition, names in (await dirty_tallies(node)).names.items():
            if names:
                statuses[partition].dirty = len(names)
        async for found in counters_keys(node):
            await _add_batches(node, found, statuses)
        await _add_holders(node, statuses)
    return statuses


async def add_successes(statuses: dict[int, PartitionStatus], database: AsyncDatabase[Document]) -> None:
    """From MongoDB: when each partition was last flushed. Raises PyMongoError."""
    with pymongo.timeout(MONGO_SECONDS):
        epoch = await database[FLUSH_EPOCH].find_one({"_id": EPOCH_ID}) or {}
    flushed = epoch.get("flushed")
    for number, at in flushed.items() if isinstance(flushed, dict) else ():
        if isinstance(at, dt.datetime) and number.isdecimal():
            statuses.setdefault(int(number), PartitionStatus()).last_success = at.timestamp()


async def _add_holders(connection: RedisConnection, statuses: dict[int, PartitionStatus]) -> None:
    partitions = range(keys.PARTITIONS)
    holders = await connection.call_each(
        *(("GET", keys.flush_lock(number)) for number in partitions), timeout=REDIS_SECONDS
    )
    for partition, holder in zip(partitions, holders, strict=True):
        if isinstance(holder, bytes):  # not a partition of another node
            statuses[partition].holder = text_of(holder)


async def _add_batches(
    connection: RedisConnection, found: Iterable[CountersKey], statuses: dict[int, PartitionStatus]
) -> None:
    waiting = [key for key in found if key.state != "quarantined"]
    aside = [key for key in found if key.state == "quarantined"]
    commands = [*(("HGET", key.name, keys.BATCH) for key in waiting), *(("HLEN", key.name) for key in aside)]
    replies: list[Reply] = await connection.call(*commands, timeout=REDIS_SECONDS) if commands else []
    for key, batch in zip(waiting, replies, strict=False):
        status = statuses[key.partition]
        status.in_flight += key.state == "flushing"
        since = born(text_of(batch or b"")) or time.time()
        status.oldest = min(since, status.oldest or since)
    for key, batches in zip(aside, replies[len(waiting) :], strict=True):
        statuses[key.partition].quarantined += batches


def last_success(statuses: Mapping[int, PartitionStatus]) -> str:
    """When a partition was last flushed."""
    return f"last success {_time(max((one.last_success or 0 for one in statuses.values()), default=0))}"


def table(statuses: Mapping[int, PartitionStatus], now: float) -> str:
    """The busy partitions as a table, and a line that sums up all."""
    rows: list[tuple[str, ...]] = [
        ("partition", "dirty", "in flight", "oldest", "quarantined", "lock holder", "last success")
    ]
    for partition, status in sorted(statuses.items()):
        if not status.is_idle():
            rows.append(_row(partition, status, now))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    everyone = statuses.values()
    lines.append(
        f"{sum(one.dirty for one in everyone)} tallies dirty, {sum(one.in_flight for one in everyone)} in flight, "
        f"{sum(one.quarantined for one in everyone)} batches quarantined"
    )
    return "\n".join(lines)


def _row(partition: int, status: PartitionStatus, now: float) -> tuple[str, ...]:
    oldest = f"{now - status.oldest:.0f} s" if status.oldest else "-"
    return (
        str(partition),
        str(status.dirty),
        str(status.in_flight),
        oldest,
        str(status.quarantined),
        status.holder or "-",
        _time(status.last_success),
    )


def _time(seconds: float | None) -> str:
    if not seconds:
        return "never"
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="seconds")
