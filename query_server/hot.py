"""A course in Redis, read in one transaction."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Self

from query_server.merge import Batch, Hot
from shared import keys
from shared.redis_connection import Command, RedisConnection, RedisUnreachable, Reply, pairs

CONNECTIONS = 50
# Twice within the time that a dashboard has: over an idle connection, and over a new one if that has died unnoticed.
TIMEOUT_SECONDS = 0.7


class HotStore:
    """The counts that Redis holds. Reads over as many connections as there are reads at once, at most 50."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[RedisConnection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._idle:
            await connection.close()

    async def read(self, course_id: str) -> Hot:
        """One transaction, so that no flush moves a count between two answers. Raises RedisUnreachable, RedisError."""
        *_, replies = await self._ask(*_transaction(course_id))
        return _hot(replies)

    async def ping(self) -> None:
        """Returns when Redis answers. Raises RedisUnreachable, RedisError."""
        await self._ask(("PING",))

    async def _ask(self, *commands: Command) -> list[Reply]:
        async with self._turns:
            if self._idle:
                try:
                    return await self._over(self._idle.pop(), commands)
                except RedisUnreachable:
                    pass  # Reading twice does no harm.
            return await self._over(await RedisConnection.open(self._url, timeout=TIMEOUT_SECONDS), commands)

    async def _over(self, connection: RedisConnection, commands: Sequence[Command]) -> list[Reply]:
        try:
            return await connection.call(*commands, timeout=TIMEOUT_SECONDS)
        finally:
            if connection.is_open:
                self._idle.append(connection)


def _transaction(course_id: str) -> list[Command]:
    partition = keys.partition_of(course_id)
    return [
        ("MULTI",),
        ("HGETALL", keys.course_counters(partition, course_id)),
        ("HGETALL", keys.flushing_counters(partition, course_id)),
        ("HGETALL", keys.quarantined_counters(partition, course_id)),
        ("GET", keys.flushed_batch(partition, course_id)),
        ("PFCOUNT", keys.course_users(partition, course_id)),
        ("TIME",),
        ("EXEC",),
    ]


def _hot(replies: Sequence[Reply]) -> Hot:
    counting, flushing, quarantined, flushed_batch, users, (seconds, microseconds) = replies
    return Hot(
        batches=(_batch(counting), _batch(flushing), *_quarantined(quarantined)),
        flushed_batch=flushed_batch and flushed_batch.decode(),
        users=users,
        seconds=int(seconds),
        microseconds=int(microseconds),
    )


def _batch(flat: Sequence[bytes]) -> Batch:
    fields = pairs(flat)
    batch_id = fields.pop(keys.BATCH, b"").decode()
    # What is no count is left out, as it is when the flusher puts such a batch into quarantine.
    return Batch(batch_id, {field: int(count) for field, count in fields.items() if count.isdigit()})


def _quarantined(flat: Sequence[bytes]) -> Iterator[Batch]:
    for batch_id, text in pairs(flat).items():
        kept = json.loads(text)
        if kept["reason"] != keys.RESURRECTED:
            yield Batch(batch_id, kept["counters"])
