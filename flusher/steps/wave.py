"""One wave of a flush: lock, fence, take, barrier, apply, verify, clear, release; on one connection to Redis.

If anything fails, the wave ends and leaves the rest where it is. Nothing is lost: a taken batch waits under
`flushing_counters` with its id, its tally is still in the dirty set, and the next wave sends it again under a higher
epoch.
"""

import asyncio
import datetime as dt
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from zoneinfo import ZoneInfo

import structlog
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from redis.exceptions import ResponseError

from flusher import metrics
from flusher.schema import FLUSH_EPOCH, next_epoch, note_success
from flusher.steps import barrier, plan, users
from flusher.steps.apply import Outcome, apply, bulks
from flusher.steps.due import due_for
from flusher.steps.lease import Lease, LeaseLost
from flusher.steps.report import Report
from flusher.steps.settle import Settlement
from flusher.steps.take import ELSEWHERE, Batch, Malformed, Nothing, Taken, count_counters, take
from shared.data.parts import parts
from shared.data.tallies import DAY, KINDS, Kind, tally_of
from shared.metrics import MONGODB_ERRORS
from shared.settings import Barrier
from shared.stores import day_zone
from shared.stores.mongo import Document
from shared.stores.redis_connection import RedisConnection, RedisUnreachable

# The most tallies in one transaction: Redis serves nobody else meanwhile.
TAKE_TALLIES = 64
TAKE_COUNTERS = 10_000
# A wave of very large tallies takes at most about so many counters; the other tallies go into the next wave.
WAVE_COUNTERS = 100_000
CONNECT_SECONDS = 1

UTC = ZoneInfo("UTC")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores and settings of a wave. `lock_ttl` in seconds; `now` is a monotonic clock.

    `redis_url` is the server that has the wave's partitions; for a whole cycle it may be any node of a cluster.
    """

    redis_url: str
    database: AsyncDatabase[Document]
    barrier: Barrier
    lock_ttl: float
    now: Callable[[], float] = time.monotonic
    token: Callable[[], str] = secrets.token_hex
    redis_cluster: bool = False
    day_zone: ZoneInfo = UTC


class WaveOver(Exception):
    """Ends the wave; the rest of its tallies stay for the next. The text says why."""


async def run(stores: Stores, wave: plan.Wave, stop: asyncio.Event) -> Report:
    """Flushes the wave's tallies as far as the stores allow, until `stop`. Reports the stores' errors, raises none.

    Raises CannotRun when the days of this installation have another zone.
    """
    report = Report.of(wave)
    try:
        connection = await RedisConnection.open(stores.redis_url, timeout=CONNECT_SECONDS)
    except RedisUnreachable as error:
        metrics.STORE_AWAY.inc()
        report.store_away = True
        report.leave_the_rest(str(error))
        return report
    lease = Lease(connection, token=stores.token(), ttl=stores.lock_ttl, now=stores.now)
    reason = ""
    try:
        await _flush(stores, Settlement(connection, lease, report), wave, stop)
    except (RedisUnreachable, ResponseError, PyMongoError) as error:
        report.store_away = True
        reason = str(error)
        metrics.STORE_AWAY.inc()
        if isinstance(error, PyMongoError):
            MONGODB_ERRORS.inc()
    except LeaseLost as error:
        reason = str(error)
        metrics.LOCK_LOST.inc()
        metrics.LOCK_LOSSES.inc()
    except WaveOver as error:
        reason = str(error)
        metrics.EARLY.inc()
    else:
        metrics.DONE.inc()
    finally:
        await lease.release(stores.redis_url)
    rest = report.leave_the_rest(reason)
    if rest:
        log.info("wave ended early", tallies=rest, reason=reason)
    return report


async def _flush(stores: Stores, settlement: Settlement, wave: plan.Wave, stop: asyncio.Event) -> None:
    connection, lease, report = settlement.connection, settlement.lease, settlement.report
    mine = await _lock(lease, wave, report)
    if not mine:
        return
    # After the locks, so that the order of the epochs is the order in which the holders took from a partition.
    with metrics.FENCE.time():
        epoch = await next_epoch(stores.database[FLUSH_EPOCH])
    taken = await _take_all(connection, lease, mine, report)
    _note_taken(taken, epoch, report)
    with metrics.BARRIER.time():
        safe = await barrier.safe(connection, stores.barrier)
    if not safe:
        raise WaveOver("Redis did not confirm in time that what was taken is safe (ANALYTICS_FLUSH_BARRIER)")
    await settlement.put_aside([(one, one.reason) for one in taken if isinstance(one, Malformed)])
    nothing = [one for one in taken if isinstance(one, Nothing)]
    await settlement.clear(nothing)
    applied = await _send(stores, settlement, [one for one in taken if isinstance(one, Batch)], epoch, stop)
    now = dt.datetime.now(dt.UTC)
    if report.flushed:
        await note_success(stores.database[FLUSH_EPOCH], sorted(report.flushed), now)
    with metrics.USERS.time():
        for kind, those in _users_of([*applied, *nothing]).items():
            saving = users.Saving(epoch, now, stores.day_zone, lease.token)
            await users.save(connection, stores.database[kind.collection], those, saving)
    log.info("wave", epoch=epoch, cleared=report.cleared, quarantined=report.quarantined, left=dict(report.left))


async def _lock(lease: Lease, wave: plan.Wave, report: Report) -> list[plan.Share]:
    with metrics.LOCK.time():
        held = await lease.acquire({share.partition for share in wave})
    for share in wave:
        if share.partition not in held:
            not_locked = ELSEWHERE if share.partition in lease.elsewhere else "locked by another flusher"
            report.leave(share.partition, share.names, lease.broken.get(share.partition, not_locked))
    return [share for share in wave if share.partition in held]


async def _send(
    stores: Stores, settlement: Settlement, batches: Sequence[Batch], epoch: int, stop: asyncio.Event
) -> list[Batch]:
    """Adds the batches to their documents, and settles the outcomes. Returns the batches that MongoDB has."""
    days = [batch.tally.item for batch in batches if batch.tally.kind is DAY]
    if days:
        await day_zone.note_day(stores.database, stores.day_zone, min(days))
    applied: list[Batch] = []
    for number, side_by_side in enumerate(_side_by_side(batches)):
        if number and stop.is_set():
            raise WaveOver("stopped")  # a wave of large tallies may take longer than a stop may
        # Less than the rest of the lease: no update may arrive after the lock has expired.
        timeout = 0.9 * settlement.lease.seconds_left()
        sent = await asyncio.gather(
            *(_apply(stores, bulk, epoch, timeout=timeout) for bulk in side_by_side), return_exceptions=True
        )
        for bulk, outcomes in zip(side_by_side, sent, strict=True):
            if not isinstance(outcomes, BaseException):
                applied += await settlement.settle(bulk, outcomes)
        for outcomes in sent:
            if isinstance(outcomes, BaseException):
                raise outcomes
    return applied


def _side_by_side(batches: Sequence[Batch]) -> Iterator[list[list[Batch]]]:
    """The bulk writes of all batches; concurrent ones go to different collections."""
    by_kind = (bulks([batch for batch in batches if batch.tally.kind is kind]) for kind in KINDS)
    for together in zip_longest(*by_kind):
        yield [bulk for bulk in together if bulk]


async def _apply(stores: Stores, bulk: Sequence[Batch], epoch: int, *, timeout: float) -> Sequence[Outcome]:
    collection = stores.database[bulk[0].tally.kind.collection]
    return await apply(collection, bulk, epoch, timeout=timeout)


def _users_of(done: Sequence[Batch | Nothing]) -> dict[Kind, list[users.Users]]:
    """The users to save, by kind; also those of days without counts whose users are not saved yet."""
    found: defaultdict[Kind, list[users.Users]] = defaultdict(list)
    for one in done:
        if isinstance(one, Batch):
            if one.tally.kind.users:
                found[one.tally.kind].append(users.Users(one.partition, one.tally, one.unique_users))
        else:
            tally = tally_of(one.name)
            if tally and tally.kind is DAY:
                found[DAY].append(users.Users(one.partition, tally, 0))
    return found


async def _take_all(
    connection: RedisConnection, lease: Lease, shares: Sequence[plan.Share], report: Report
) -> list[Taken]:
    taken: list[Taken] = []
    room = WAVE_COUNTERS
    for share, sizes in zip(shares, await count_counters(connection, shares), strict=True):
        if taken and lease.is_half_over():  # Redis is slow: to apply what is taken needs the other half
            lease.lost(share.partition)
            report.postpone(share.partition, share.names)
            continue
        try:
            for part in parts(sizes, names=TAKE_TALLIES, total=TAKE_COUNTERS):
                if room <= 0:
                    report.postpone(share.partition, part)
                    continue
                with metrics.TAKE.time():
                    taken += await take(connection, lease, share.partition, part)
                room -= sum(sizes[name] for name in part)
        except LeaseLost as error:
            lease.lost(share.partition)
            metrics.LOCK_LOSSES.inc()
            taken = [one for one in taken if one.partition != share.partition]
            report.leave(share.partition, report.waiting_of(share.partition), str(error))
    return taken


def _note_taken(taken: Sequence[Taken], epoch: int, report: Report) -> None:
    """Logs one line for the wave. Each batch is logged at level debug, under its id."""
    log.info("wave taken", epoch=epoch, tallies=len(taken))
    now, debug = time.time(), log.debug
    report.oldest = 0.0
    for one in taken:
        if isinstance(one, Batch | Malformed):
            report.oldest = max(report.oldest, due_for(one.name, one.id, now))
            debug("batch taken", batch=one.id, tally=one.name, epoch=epoch)
