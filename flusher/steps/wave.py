"""One wave of a flush: lock, fence, take, barrier, apply, verify, clear, release; on one connection to Redis.

Whatever fails, the wave ends and leaves the rest where it is. Nothing is lost by that: what was taken waits under
`flushing_counters` with its batch id, its course is still in the dirty set, and the next wave sends it again under a
higher epoch.
"""

import asyncio
import datetime as dt
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from prometheus_client import Counter as PrometheusCounter
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from redis.exceptions import ResponseError

from flusher import metrics
from flusher.schema import FLUSH_EPOCH, next_epoch, note_success
from flusher.steps import barrier, clear, plan, users
from flusher.steps.apply import Outcome, Verdict, apply, bulks
from flusher.steps.lease import Lease, LeaseLost
from flusher.steps.take import ELSEWHERE, Batch, Malformed, Nothing, Taken, count_counters, take
from shared.data.batch_id import age
from shared.data.keys import RESURRECTED
from shared.metrics import MONGODB_ERRORS
from shared.settings import Barrier
from shared.stores.mongo import COURSE_ANALYTICS, Document
from shared.stores.redis_connection import RedisConnection, RedisUnreachable, Reply

# So many courses are taken in one transaction: Redis serves nobody else meanwhile.
TAKE_COURSES = 64
TAKE_COUNTERS = 10_000
# A wave of very large courses ends with so many counters, and the others go into the next.
WAVE_COUNTERS = 100_000
CONNECT_SECONDS = 1

CHANGED_HANDS = "changed hands meanwhile"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Stores:
    """What a wave works with. `lock_ttl` in seconds; `now` is a monotonic clock.

    `redis_url` is the server that has the wave's partitions; to a whole cycle it may be any node of a cluster.
    """

    redis_url: str
    database: AsyncDatabase[Document]
    barrier: Barrier
    lock_ttl: float
    now: Callable[[], float] = time.monotonic
    token: Callable[[], str] = secrets.token_hex
    redis_cluster: bool = False


@dataclass(slots=True)
class Report:
    """What became of the courses: how many are cleared, put aside, and left for which reason.

    `more` are the courses, by partition, for another wave: those of which only what an earlier flush had left was
    flushed, and those for which this one had no room, `no_room` in number. `flushed` are the partitions with courses
    that are cleared. `oldest` is the age in seconds of the oldest batch that was met, None when Redis could not be
    asked.
    """

    cleared: int = 0
    quarantined: int = 0
    no_room: int = 0
    flushed: set[int] = field(default_factory=set)
    left: Counter[str] = field(default_factory=Counter)
    more: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    store_away: bool = False
    oldest: float | None = None

    def add(self, other: "Report") -> None:
        """Adds another wave's courses."""
        self.cleared += other.cleared
        self.quarantined += other.quarantined
        self.no_room += other.no_room
        self.flushed |= other.flushed
        self.left += other.left
        for partition, courses in other.more.items():
            self.more[partition] += courses
        self.store_away |= other.store_away
        if other.oldest is not None:
            self.oldest = max(self.oldest or 0.0, other.oldest)


class WaveOver(Exception):
    """The rest of the wave's courses stay for the next; the text is why."""


async def run(stores: Stores, wave: plan.Wave, stop: asyncio.Event) -> Report:
    """Flushes the wave's courses as far as the stores allow, until `stop`. Raises nothing for what they do."""
    report = Report()
    try:
        connection = await RedisConnection.open(stores.redis_url, timeout=CONNECT_SECONDS)
    except RedisUnreachable as error:
        metrics.STORE_AWAY.inc()
        return Report(left=Counter({str(error): _size(wave)}), store_away=True)
    lease = Lease(connection, token=stores.token(), ttl=stores.lock_ttl, now=stores.now)
    try:
        await _flush(stores, connection, lease, wave, report=report, stop=stop)
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
        reason = ""
        metrics.DONE.inc()
    finally:
        await lease.release(stores.redis_url)
    rest = _size(wave) - report.cleared - report.quarantined - report.no_room - report.left.total()
    if rest:
        report.left[reason] += rest
        log.info("wave ended early", courses=rest, reason=reason)
    return report


async def _flush(
    stores: Stores, connection: RedisConnection, lease: Lease, wave: plan.Wave, *, report: Report, stop: asyncio.Event
) -> None:
    with metrics.LOCK.time():
        held = await lease.acquire({share.partition for share in wave})
    mine = [share for share in wave if share.partition in held]
    for share in wave:
        if share.partition not in held:
            elsewhere = share.partition in lease.elsewhere
            report.left[ELSEWHERE if elsewhere else "locked by another flusher"] += len(share.courses)
    if not mine:
        return
    # After the locks: so the order of the epochs is the order in which a partition's holders took from it.
    with metrics.FENCE.time():
        epoch = await next_epoch(stores.database[FLUSH_EPOCH])
    taken = await _take_all(connection, lease, mine, report)
    _note_taken(taken, epoch, report)
    with metrics.BARRIER.time():
        safe = await barrier.safe(connection, stores.barrier)
    if not safe:
        raise WaveOver("Redis did not confirm in time that what was taken is safe (ANALYTICS_FLUSH_BARRIER)")
    malformed = [(batch, batch.reason) for batch in taken if isinstance(batch, Malformed)]
    await _put_aside(connection, lease, malformed, report)
    await _clear(connection, [nothing for nothing in taken if isinstance(nothing, Nothing)], report)
    analytics = stores.database[COURSE_ANALYTICS]
    applied: list[Batch] = []
    for number, bulk in enumerate(bulks([batch for batch in taken if isinstance(batch, Batch)])):
        if number and stop.is_set():
            raise WaveOver("stopped")  # a wave of large courses may take longer than a stop may
        # Below what is left of the lease: an update that arrives later than that must not be on its way.
        outcomes = await apply(analytics, bulk, epoch, timeout=0.9 * lease.seconds_left())
        applied += await _settle(connection, lease, bulk, outcomes, report)
    now = dt.datetime.now(dt.UTC)
    if report.flushed:
        await note_success(stores.database[FLUSH_EPOCH], sorted(report.flushed), now)
    with metrics.USERS.time():
        await users.save(connection, analytics, applied, epoch, now)
    log.info("wave", epoch=epoch, cleared=report.cleared, quarantined=report.quarantined, left=dict(+report.left))


async def _take_all(
    connection: RedisConnection, lease: Lease, shares: Sequence[plan.Share], report: Report
) -> list[Taken]:
    taken: list[Taken] = []
    room = WAVE_COUNTERS
    for share in shares:
        try:
            sizes = await count_counters(connection, share.partition, share.courses)
            for part in plan.parts(sizes, courses=TAKE_COURSES, counters=TAKE_COUNTERS):
                if room <= 0:
                    report.more[share.partition] += part
                    report.no_room += len(part)
                    continue
                with metrics.TAKE.time():
                    taken += await take(connection, lease, share.partition, part)
                room -= sum(sizes[course_id] for course_id in part)
        except LeaseLost as error:
            lease.lost(share.partition)
            metrics.LOCK_LOSSES.inc()
            taken = [one for one in taken if one.partition != share.partition]
            report.left[str(error)] += len(share.courses)
    return taken


def _note_taken(taken: Sequence[Taken], epoch: int, report: Report) -> None:
    """A line for the wave. Where a batch of it has got to is told at the level debug, under the batch's id."""
    log.info("wave taken", epoch=epoch, courses=len(taken))
    now = time.time()
    report.oldest = 0.0
    for one in taken:
        if isinstance(one, Batch | Malformed):
            report.oldest = max(report.oldest, age(one.id, now))
            log.debug("batch taken", batch=one.id, course=one.course_id, epoch=epoch)


async def _settle(
    connection: RedisConnection, lease: Lease, bulk: Sequence[Batch], outcomes: Sequence[Outcome], report: Report
) -> list[Batch]:
    judged = list(zip(bulk, outcomes, strict=True))
    for batch, outcome in judged:
        log.debug("batch sent", batch=batch.id, course=batch.course_id, verdict=outcome.verdict.value)
    applied = [batch for batch, outcome in judged if outcome.verdict is Verdict.APPLIED]
    await _clear(connection, applied, report)
    aside = {Verdict.REFUSED, Verdict.RESURRECTED}
    await _put_aside(
        connection,
        lease,
        [
            (batch, RESURRECTED if outcome.verdict is Verdict.RESURRECTED else outcome.reason)
            for batch, outcome in judged
            if outcome.verdict in aside
        ],
        report,
    )
    for _, outcome in judged:
        if outcome.verdict is Verdict.FENCED:
            report.left["fenced: a newer flusher has been here"] += 1
        elif outcome.verdict is Verdict.LEFT:
            report.left[outcome.reason or "MongoDB has not confirmed it"] += 1
    return applied


async def _clear(connection: RedisConnection, done: Sequence[Batch | Nothing], report: Report) -> None:
    with metrics.CLEAR.time():
        replies = await clear.send(connection, [clear.clearing(one) for one in done])
    report.cleared += replies.count(1)
    _note_undone(replies, report)
    for one, reply in zip(done, replies, strict=True):
        if reply == 1:
            report.flushed.add(one.partition)
            if isinstance(one, Batch):
                log.debug("batch cleared", batch=one.id, course=one.course_id)
            if isinstance(one, Batch) and one.more:
                report.more[one.partition].append(one.course_id)


async def _put_aside(
    connection: RedisConnection, lease: Lease, refused: Sequence[tuple[Batch | Malformed, str]], report: Report
) -> None:
    commands = [
        clear.quarantining(batch, reason, token=lease.token, spare_id=f"unnamed-{secrets.token_hex(6)}")
        for batch, reason in refused
    ]
    replies = await clear.send(connection, commands)
    report.quarantined += replies.count(1)
    _note_undone(replies, report)
    for (batch, reason), reply in zip(refused, replies, strict=True):
        if reply == 1:
            _quarantine_metric(batch, reason).inc()
            log.error("batch quarantined", course=batch.course_id, batch=batch.id, reason=reason)


def _quarantine_metric(batch: Batch | Malformed, reason: str) -> PrometheusCounter:
    if isinstance(batch, Malformed):
        return metrics.MALFORMED
    return metrics.RESURRECTED if reason == RESURRECTED else metrics.REFUSED


def _note_undone(replies: Sequence[Reply], report: Report) -> None:
    for reply in replies:
        if reply != 1:
            report.left[str(reply) if isinstance(reply, ResponseError) else CHANGED_HANDS] += 1


def _size(shares: Sequence[plan.Share]) -> int:
    return sum(len(share.courses) for share in shares)
