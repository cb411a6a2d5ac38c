"""A course in Redis, read in one transaction."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Self

from redis.exceptions import ResponseError

from query_server.merge import Batch, Hot
from shared.data import keys
from shared.stores.probe import RedisProbe, counts_are_there
from shared.stores.redis_connection import Command, RedisConnection, RedisUnreachable, Reply, pairs
from shared.stores.topology import Topology, is_elsewhere

CONNECTIONS = 50
# Twice within the time that a dashboard has: over an idle connection, and over a new one if that has died unnoticed.
TIMEOUT_SECONDS = 0.7
# In a cluster: until the next attempt, when the node asked does not serve the course, or not all of its keys. The first
# is for a slot that has moved, the others for one that is moving.
PAUSES_SECONDS = (0.0, 0.05, 0.1, 0.2, 0.4)


class HotStore:
    """The counts that Redis holds. Reads over as many connections as there are reads at once, at most 50."""

    def __init__(self, url: str, *, cluster: bool = False) -> None:
        self._topology = Topology(url, cluster=cluster)
        check = counts_are_there(cluster=cluster, timeout=TIMEOUT_SECONDS)
        self._probe = RedisProbe(self._topology, check, timeout=TIMEOUT_SECONDS)
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._idle: defaultdict[str, list[RedisConnection]] = defaultdict(list)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._probe.close()
        await self._close_idle()

    async def read(self, course_id: str) -> Hot:
        """One transaction, so that no flush moves a count between two answers. Raises RedisUnreachable, RedisError.

        Keys that are on their way to another node are waited for a little.
        """
        partition = keys.partition_of(course_id)
        for pause in PAUSES_SECONDS:
            try:
                return await self._read(partition, course_id)
            except ResponseError as error:
                if not is_elsewhere(error):
                    raise
                self._topology.mistrust(error)
            await asyncio.sleep(pause)
        return await self._read(partition, course_id)

    async def _read(self, partition: int, course_id: str) -> Hot:
        node = await self._topology.node_of(partition, timeout=TIMEOUT_SECONDS)
        try:
            *_, replies = await self._ask(node, *_transaction(partition, course_id))
        except RedisUnreachable:
            self._topology.mistrust()
            node_now = await self._topology.node_of(partition, timeout=TIMEOUT_SECONDS)
            if node_now == node:
                raise
            *_, replies = await self._ask(node_now, *_transaction(partition, course_id))
        return _hot(replies)

    async def ping(self) -> None:
        """Returns when Redis answers: in a cluster a node for every partition. Raises RedisUnreachable, CannotRun."""
        try:
            await self._probe.ask()
        except RedisUnreachable:
            await self._close_idle()  # their server may be a replica by now, which lacks counts
            raise

    async def _close_idle(self) -> None:
        for connections in self._idle.values():
            while connections:
                await connections.pop().close()

    async def _ask(self, node: str, *commands: Command) -> list[Reply]:
        async with self._turns:
            connection = await self._fresh(node)
            if connection is not None:
                try:
                    return await self._over(connection, node, commands)
                except RedisUnreachable:
                    pass  # Reading twice does no harm.
            return await self._over(await RedisConnection.open(node, timeout=TIMEOUT_SECONDS), node, commands)

    async def _fresh(self, node: str) -> RedisConnection | None:
        """An idle connection to the node; those that are too old are closed."""
        while self._idle[node]:
            connection = self._idle[node].pop()
            if connection.is_fresh:
                return connection
            await connection.close()
        return None

    async def _over(self, connection: RedisConnection, node: str, commands: Sequence[Command]) -> list[Reply]:
        try:
            return await connection.call(*commands, timeout=TIMEOUT_SECONDS)
        finally:
            if connection.is_open:
                self._idle[node].append(connection)


def _transaction(partition: int, course_id: str) -> list[Command]:
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
    """A key of another type holds nothing: what else is known of the course is shown."""
    counting, flushing, quarantined, flushed_batch, users, (seconds, microseconds) = replies
    return Hot(
        batches=(_batch(counting), _batch(flushing), *_quarantined(quarantined)),
        flushed_batch=flushed_batch.decode() if isinstance(flushed_batch, bytes) else None,
        users=users if isinstance(users, int) else 0,
        seconds=int(seconds),
        microseconds=int(microseconds),
    )


def _batch(flat: Sequence[bytes]) -> Batch:
    fields = {} if isinstance(flat, ResponseError) else pairs(flat)
    batch_id = fields.pop(keys.BATCH, b"").decode()
    # What is no count is left out, as it is when the flusher puts such a batch into quarantine.
    return Batch(batch_id, {field: int(count) for field, count in fields.items() if count.isdigit()})


def _quarantined(flat: Sequence[bytes]) -> Iterator[Batch]:
    for batch_id, text in [] if isinstance(flat, ResponseError) else pairs(flat).items():
        kept = json.loads(text)
        if kept["reason"] != keys.RESURRECTED:
            yield Batch(batch_id, kept["counters"])
