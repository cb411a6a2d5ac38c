"""One cycle: every course that is dirty at its start, wave after wave. And when the next cycle is due."""

import asyncio
import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog
from pymongo.errors import PyMongoError
from redis.exceptions import ResponseError

from flusher import metrics, schema
from flusher.steps import plan, wave
from flusher.steps.take import ELSEWHERE
from flusher.steps.wave import CONNECT_SECONDS, Report, Stores
from flusher.tools import strays
from shared.data import keys
from shared.data.batch_id import age
from shared.metrics import MONGODB_ERRORS
from shared.stores.probe import counts_are_safe
from shared.stores.redis_connection import RedisConnection, RedisUnreachable
from shared.stores.topology import Topology, is_elsewhere, on_all

LIST_SECONDS = 5
SWEEP_SECONDS = 3600
SAMPLED_COURSES = 1_000

log = structlog.get_logger()


class Flusher:
    """Flushes on demand. Its first contact with each store makes sure that the store is fit."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._topology = Topology(stores.redis_url, cluster=stores.redis_cluster)
        self._check = counts_are_safe(
            stores.barrier, cluster=stores.redis_cluster, script_command="EVAL", timeout=CONNECT_SECONDS
        )
        self._next_sweep: dict[str, float] = {}

    async def cycle(self, stop: asyncio.Event) -> Report:
        """Flushes all that is dirty now; in a cluster all nodes at once.

        Ends early, after a wave, when a store is away or `stop` is set: a node that is away holds up only its own
        courses. Raises CannotRun when a store is unfit.
        """
        report = Report()
        started = time.perf_counter()
        try:
            await self._topology.look(timeout=CONNECT_SECONDS)
            nodes = await self._topology.by_node(range(keys.PARTITIONS), timeout=CONNECT_SECONDS)
        except RedisUnreachable as error:
            report.add(_away(error))
        else:
            for one in await on_all(self._drain(node, partitions, stop) for node, partitions in nodes.items()):
                report.add(one)
        report.left = +report.left
        metrics.CYCLE_SECONDS.observe(time.perf_counter() - started)
        _note(report)
        say = log.warning if report.store_away else log.info
        say("cycle", cleared=report.cleared, quarantined=report.quarantined, left=dict(report.left))
        return report

    async def _drain(self, node: str, partitions: Sequence[int], stop: asyncio.Event) -> Report:
        """Flushes what is dirty on one node, wave after wave."""
        report = Report()
        stores = replace(self._stores, redis_url=node)
        try:
            dirty, report.oldest = await self._begin(node, partitions)
        except (RedisUnreachable, ResponseError, PyMongoError) as error:
            if isinstance(error, PyMongoError):
                MONGODB_ERRORS.inc()
            return _away(error)
        report.left[ELSEWHERE] += len(partitions) - len(dirty)
        while dirty:
            for one_wave in plan.waves(dirty, random.SystemRandom()):
                if stop.is_set() or report.store_away:
                    report.left["not reached"] += sum(len(share.courses) for share in one_wave)
                else:
                    report.add(await wave.run(stores, one_wave, stop))
            # What an earlier flush had left went first; now comes what was counted after it.
            dirty, report.more = report.more, defaultdict(list)
        return report

    async def _begin(self, node: str, partitions: Sequence[int]) -> tuple[Mapping[int, Sequence[str]], float]:
        """The dirty courses, and the age of the oldest count that a look at some of them finds."""
        connection = await RedisConnection.open(node, timeout=CONNECT_SECONDS)
        try:
            if node not in self._next_sweep:
                await self._check(connection)
                await schema.ensure(self._stores.database)
                self._next_sweep[node] = self._stores.now()
            if self._stores.now() >= self._next_sweep[node]:
                await strays.sweep(connection)
                self._next_sweep[node] = self._stores.now() + SWEEP_SECONDS
            dirty = await dirty_courses(connection, partitions)
            return dirty, await oldest_count(connection, dirty)
        finally:
            await connection.close()


def _away(error: Exception) -> Report:
    return Report(left=Counter({str(error): 1}), store_away=True)


async def dirty_courses(
    connection: RedisConnection, partitions: Sequence[int] = range(keys.PARTITIONS)
) -> dict[int, list[str]]:
    """The dirty courses by partition, without the partitions that are elsewhere. Raises RedisUnreachable."""
    replies = await connection.call_each(
        *(("SMEMBERS", keys.dirty_courses(partition)) for partition in partitions), timeout=LIST_SECONDS
    )
    dirty = {}
    for partition, members in zip(partitions, replies, strict=True):
        if is_elsewhere(members):
            continue
        if isinstance(members, ResponseError):
            raise members
        # What is no text is nobody's course: there is nothing to flush under such a name, and it holds up no other.
        dirty[partition] = [course_id.decode(errors="replace") for course_id in members]
    return dirty


async def oldest_count(connection: RedisConnection, dirty: Mapping[int, Sequence[str]]) -> float:
    """The age in seconds of the oldest batch, hot or flushing, of 1,000 of the courses. Raises RedisUnreachable.

    For when nothing can be taken, because MongoDB is away: then all are old. Of what is taken, every one is looked at.
    """
    courses = [(partition, course_id) for partition, members in dirty.items() for course_id in members]
    sample = random.SystemRandom().sample(courses, min(SAMPLED_COURSES, len(courses)))
    replies = await connection.call_each(
        *(
            ("HGET", key(partition, course_id), keys.BATCH)
            for partition, course_id in sample
            for key in (keys.course_counters, keys.flushing_counters)
        ),
        timeout=LIST_SECONDS,
    )
    now = time.time()
    return max((age(reply.decode(errors="replace"), now) for reply in replies if isinstance(reply, bytes)), default=0.0)


def _note(report: Report) -> None:
    metrics.LEFT_COURSES.set(report.left.total())
    if report.oldest is not None:
        metrics.OLDEST_COUNT.set(report.oldest)
    if not report.store_away:
        metrics.LAST_CYCLE.set_to_current_time()


def seconds_to_next(elapsed: float, interval: float) -> float:
    """How long until the next tick, `elapsed` seconds after the first: ticks that were missed are skipped."""
    return (math.floor(elapsed / interval) + 1) * interval - elapsed
