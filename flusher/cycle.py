"""One cycle: every tally that is due at its start, several waves at a time. And when the next cycle is due."""

import asyncio
import gc
import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import structlog
from pymongo.errors import PyMongoError
from redis.exceptions import ResponseError

from flusher import metrics, schema
from flusher.steps import due, plan, wave
from flusher.steps.report import Report
from flusher.steps.wave import CONNECT_SECONDS, Stores
from flusher.tools import strays
from shared.data import keys
from shared.metrics import MONGODB_ERRORS
from shared.stores.probe import counts_are_safe
from shared.stores.redis_connection import RedisConnection, RedisUnreachable
from shared.stores.topology import Topology, on_all

SWEEP_SECONDS = 3600
GARBAGE = 50_000

log = structlog.get_logger()


def collect_garbage_seldom() -> None:
    """Sets the pace for the whole process.

    Batches form no cycles: to look for some after each 700 of their objects took a quarter of the CPU time of a flush.
    """
    gc.set_threshold(GARBAGE)


class Flusher:
    """Flushes on demand. The first contact with each store checks that it is suitable."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._topology = Topology(stores.redis_url, cluster=stores.redis_cluster)
        self._check = counts_are_safe(
            stores.barrier, cluster=stores.redis_cluster, script_command="EVAL", timeout=CONNECT_SECONDS
        )
        self._next_sweep: dict[str, float] = {}
        self._quarantined: defaultdict[str, set[str]] = defaultdict(set)
        self._batches_aside: dict[str, int] = {}
        self._unreadable_since: dict[int, float] = {}

    async def cycle(self, stop: asyncio.Event, *, everything: bool = False) -> Report:
        """Flushes what is due now, or all that is dirty; in a cluster all nodes at once.

        Ends early, after the waves in flight, when a store is unavailable or `stop` is set. An unavailable node delays
        only its own tallies. Raises CannotRun for an unsuitable store.
        """
        report = Report()
        started = time.perf_counter()
        try:
            await self._topology.look(timeout=CONNECT_SECONDS)
            nodes = await self._topology.by_node(range(keys.PARTITIONS), timeout=CONNECT_SECONDS)
        except RedisUnreachable as error:
            report.add(_away(error))
        else:
            for one in await on_all(
                self._drain(node, partitions, stop, everything=everything) for node, partitions in nodes.items()
            ):
                report.add(one)
        report.left = +report.left
        metrics.CYCLE_SECONDS.observe(time.perf_counter() - started)
        _note(report)
        say = log.warning if report.store_away else log.info
        say("cycle", cleared=report.cleared, quarantined=report.quarantined, left=dict(report.left))
        return report

    async def _drain(self, node: str, partitions: Sequence[int], stop: asyncio.Event, *, everything: bool) -> Report:
        """Flushes what is due on one node, several waves at a time."""
        report = Report()
        stores = replace(self._stores, redis_url=node)
        try:
            listed, report.oldest = await self._begin(node, partitions, stop, everything=everything)
        except (RedisUnreachable, ResponseError, PyMongoError) as error:
            if isinstance(error, PyMongoError):
                MONGODB_ERRORS.inc()
            return _away(error)
        report.left += listed.left
        for lane in await on_all(_flush(stores, names, stop) for names in plan.lanes(listed.names)):
            report.add(lane)
        self._quarantined[node] |= report.aside
        await self._count_quarantined(node)
        return report

    async def _count_quarantined(self, node: str) -> None:
        """How many batches are in quarantine now, without those that were replayed meanwhile."""
        known = sorted(self._quarantined[node])
        if known:
            try:
                connection = await RedisConnection.open(node, timeout=CONNECT_SECONDS)
            except RedisUnreachable:
                return  # the next cycle counts
            try:
                sizes = await connection.call_each(*(("HLEN", key) for key in known), timeout=due.LIST_SECONDS)
            except RedisUnreachable:
                return
            finally:
                await connection.close()
            batches = {key: size for key, size in zip(known, sizes, strict=True) if isinstance(size, int) and size}
            self._quarantined[node] = set(batches)
            self._batches_aside[node] = sum(batches.values())
        metrics.QUARANTINED_BATCHES.set(sum(self._batches_aside.values()))

    async def _begin(
        self, node: str, partitions: Sequence[int], stop: asyncio.Event, *, everything: bool
    ) -> tuple[due.Listed, float]:
        """What is due, and the age of the oldest count in a sample of it."""
        connection = await RedisConnection.open(node, timeout=CONNECT_SECONDS)
        try:
            if node not in self._next_sweep:
                await self._check(connection)
                await schema.ensure(self._stores.database, self._stores.day_zone)
                self._next_sweep[node] = self._stores.now()
            if self._stores.now() >= self._next_sweep[node]:
                self._quarantined[node] |= await strays.sweep(connection, stop)
                self._next_sweep[node] = self._stores.now() + SWEEP_SECONDS
            listed = await due.dirty_tallies(connection, partitions)
            if not everything:
                listed.names = await due.without_waiting(connection, listed.names)
            oldest = max(await due.oldest_count(connection, listed.names), self._unreadable_for(partitions, listed))
            unsaved = await due.unsaved_days(connection, list(listed.names))
            listed.names = due.together(listed.names, unsaved.names)
            return listed, oldest
        finally:
            await connection.close()

    def _unreadable_for(self, partitions: Sequence[int], listed: due.Listed) -> float:
        """For how many seconds a dirty set of these partitions has been unreadable: its counts may be that old."""
        now = self._stores.now()
        for number in set(partitions) - set(listed.unreadable):
            self._unreadable_since.pop(number, None)
        return now - min((self._unreadable_since.setdefault(number, now) for number in listed.unreadable), default=now)


async def _flush(stores: Stores, names: plan.Names, stop: asyncio.Event) -> Report:
    """Flushes the tallies of one lane, wave after wave."""
    report = Report()
    while names:
        for one_wave in plan.waves(names, random.SystemRandom()):
            if stop.is_set() or report.store_away:
                report.left["not reached"] += sum(len(share.names) for share in one_wave)
            else:
                report.add(await wave.run(stores, one_wave, stop))
        # Batches left by an earlier flush went first; now come the counts after them.
        names, report.more = report.more, defaultdict(list)
    return report


def _away(error: Exception) -> Report:
    return Report(left=Counter({str(error): 1}), store_away=True)


def _note(report: Report) -> None:
    metrics.LEFT_TALLIES.set(report.left.total())
    if report.oldest is not None:
        metrics.OLDEST_COUNT.set(report.oldest)
    if not report.store_away:
        metrics.LAST_CYCLE.set_to_current_time()


def seconds_to_next(elapsed: float, interval: float) -> float:
    """Seconds until the next tick, `elapsed` seconds after the first; missed ticks are skipped."""
    return (math.floor(elapsed / interval) + 1) * interval - elapsed
