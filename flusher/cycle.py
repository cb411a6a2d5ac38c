"""One cycle: every course that is dirty at its start, wave after wave. And when the next cycle is due."""

import asyncio
import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

import structlog
from pymongo.errors import PyMongoError
from redis.exceptions import ResponseError

from flusher import plan, schema, strays, wave
from flusher.wave import CONNECT_SECONDS, Report, Stores
from shared import keys
from shared.durability import check_durability
from shared.redis_connection import RedisConnection, RedisUnreachable

LIST_SECONDS = 5
SWEEP_SECONDS = 3600

log = structlog.get_logger()


class Flusher:
    """Flushes on demand. Its first contact with each store makes sure that the store is fit."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._ensured = False
        self._next_sweep = stores.now()

    async def cycle(self, stop: asyncio.Event) -> Report:
        """Flushes all that is dirty now. Ends early, after a wave, when a store is away or `stop` is set.

        Raises CannotRun when a store is unfit.
        """
        report = Report()
        dirty: Mapping[int, Sequence[str]] = {}
        try:
            dirty = await self._begin()
        except (RedisUnreachable, ResponseError, PyMongoError) as error:
            report.store_away = True
            report.left[str(error)] += 1
        while dirty:
            for one_wave in plan.waves(dirty, random.SystemRandom()):
                if stop.is_set() or report.store_away:
                    report.left["not reached"] += sum(len(share.courses) for share in one_wave)
                else:
                    report.add(await wave.run(self._stores, one_wave))
            # What an earlier flush had left went first; now comes what was counted after it.
            dirty, report.more = report.more, defaultdict(list)
        report.left = +report.left
        log.info("cycle", cleared=report.cleared, quarantined=report.quarantined, left=dict(report.left))
        return report

    async def _begin(self) -> dict[int, list[str]]:
        connection = await RedisConnection.open(self._stores.redis_url, timeout=CONNECT_SECONDS)
        try:
            if not self._ensured:
                await check_durability(connection, self._stores.barrier, timeout=CONNECT_SECONDS)
                await schema.ensure(self._stores.database)
                self._ensured = True
            if self._stores.now() >= self._next_sweep:
                await strays.sweep(connection)
                self._next_sweep = self._stores.now() + SWEEP_SECONDS
            return await dirty_courses(connection)
        finally:
            await connection.close()


async def dirty_courses(connection: RedisConnection) -> dict[int, list[str]]:
    """The dirty courses by partition. Raises RedisUnreachable."""
    partitions = range(keys.PARTITIONS)
    replies = await connection.call(
        *(("SMEMBERS", keys.dirty_courses(partition)) for partition in partitions), timeout=LIST_SECONDS
    )
    return {
        partition: [course_id.decode() for course_id in members]
        for partition, members in zip(partitions, replies, strict=True)
    }


def seconds_to_next(elapsed: float, interval: float) -> float:
    """How long until the next tick, `elapsed` seconds after the first: ticks that were missed are skipped."""
    return (math.floor(elapsed / interval) + 1) * interval - elapsed
