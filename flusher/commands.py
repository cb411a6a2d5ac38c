"""The commands of `python -m flusher`: each returns its exit code, and raises what the stores raise."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from redis.exceptions import ResponseError

from flusher import metrics, schema
from flusher.cycle import Flusher, seconds_to_next
from flusher.steps.aside import Quarantined
from flusher.steps.lease import LeaseLost
from flusher.steps.report import Report
from flusher.steps.wave import CONNECT_SECONDS, Stores
from flusher.tools import compare as comparison
from flusher.tools import forget as oblivion
from flusher.tools import invariants, quarantine, status
from flusher.tools import migrate as migration
from shared.data import keys
from shared.serving import endpoint, lifecycle
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.mongo import Document
from shared.stores.probe import RedisProbe, counts_are_safe
from shared.stores.redis_connection import RedisConnection, RedisUnreachable
from shared.stores.topology import Topology

FOUND = 1
INCOMPLETE = 3

log = structlog.get_logger()


async def once(settings: Settings) -> int:
    """Flushes what is dirty now: 0 if all of it is cleared, 3 and one line if something is left."""
    async with _database(settings, resend=False) as database:
        report = await _flusher(settings, database).cycle(lifecycle.stop_on_signal(), everything=True)
    if report.quarantined:
        report.left["MongoDB will never take it: quarantined"] += report.quarantined
    return INCOMPLETE if _left(report) else 0


async def loop(settings: Settings) -> int:
    """Flushes now and at every interval, until a signal. Serves metrics and probes if it has an address for them."""
    stop = lifecycle.stop_on_signal()
    metrics.INTERVAL.set(settings.flush_interval_seconds)
    with endpoint.served(settings.flusher_metrics_address):
        async with _database(settings, resend=False) as database, _followed(settings, database):
            flusher = _flusher(settings, database)
            started = time.monotonic()
            while not stop.is_set():
                await flusher.cycle(stop)
                await _wait(stop, seconds_to_next(time.monotonic() - started, settings.flush_interval_seconds))
    return 0


async def init(settings: Settings) -> int:
    """Makes what the flusher needs in MongoDB. Repeating it changes only the zone, and only before the first day."""
    async with _database(settings) as database:
        await schema.ensure(database, settings.day_zone, change_zone=True)
    return 0


async def show_status(settings: Settings) -> int:
    """Prints what waits where, as far as the stores answer: 3 if one of them does not."""
    statuses: dict[int, status.PartitionStatus] = {}
    aside: list[Quarantined] = []
    away = []
    redis_answers = mongodb_answers = False
    try:
        async with _redis(settings) as nodes:
            statuses = await status.in_redis(nodes)
            aside = [batch async for batch in quarantine.quarantined(nodes)]
        redis_answers = True
    except (RedisUnreachable, ResponseError) as error:
        away.append(f"Redis: {error}: what waits in it is not known")
    try:
        async with _database(settings) as database:
            await status.add_successes(statuses, database)
        mongodb_answers = True
    except PyMongoError as error:
        away.append(f"MongoDB: {mongo.in_short(error)}: when the last flush was is not known")
    if redis_answers:
        print(status.table(statuses, time.time()))
    if mongodb_answers:
        print(status.last_success(statuses))
    for batch in aside:
        print(f"quarantined: tally {batch.name}, batch {batch.id}: {batch.reason}")
    for line in away:
        print(line, file=sys.stderr)
    return INCOMPLETE if away else 0


async def verify(settings: Settings) -> int:
    """Prints what is wrong with the stored data: 0 if nothing is, else 1."""
    found = 0
    async with _database(settings) as database, _redis(settings) as nodes:
        async for sentence in invariants.findings(nodes, database):
            found += 1
            print(sentence)
        async for sentence in invariants.advice(database):
            print(sentence)
    print(f"{found} findings" if found else "everything is as it must be")
    return FOUND if found else 0


async def replay(settings: Settings) -> int:
    """Sends quarantined batches again, and prints those that stay: 0 if none does, else 3."""
    stays = 0
    async with _database(settings) as database, _redis(settings) as nodes:
        await schema.ensure(database, settings.day_zone)  # first: nothing may leave quarantine while MongoDB is away
        report, sent = await quarantine.replay(nodes, _flusher(settings, database), lifecycle.stop_on_signal())
        async for batch in quarantine.quarantined(nodes):
            stays += 1
            print(f"stays quarantined: tally {batch.name}, batch {batch.id}: {batch.reason}")
        print(f"{sent} batches sent again, {report.cleared} tallies flushed, {stays} batches stay quarantined")
    return INCOMPLETE if stays or _left(report) else 0


async def forget(name: str, settings: Settings) -> int:
    """Empties the tallies of a course, or of one lecture: 0 when done, 3 if another flusher has the lock."""
    topology = Topology(settings.redis_url, cluster=settings.redis_cluster)
    node = await topology.node_of(keys.partition_of(name), timeout=CONNECT_SECONDS)
    async with _database(settings) as database:
        try:
            tallies = await oblivion.forget(node, database, name, lock_ttl=settings.flush_lock_ttl_seconds)
        except LeaseLost as error:
            print(f"not forgotten: {error}; give the command again", file=sys.stderr)
            return INCOMPLETE
    print(f"forgotten: {name}, {tallies} {'tally' if tallies == 1 else 'tallies'}")
    return 0


async def compare(name: str, settings: Settings) -> int:
    """Prints the courses whose counts differ in another database on this server: 0 if there are none, else 1."""
    async with _database(settings) as database:
        here = await comparison.totals_of(database)
        there = await comparison.totals_of(database.client[name])
    different = list(comparison.differences(here, there))
    for sentence in different:
        print(sentence)
    courses = len(here.keys() | there.keys())
    print(f"{courses} courses compared with {name}: {courses - len(different)} alike, {len(different)} different")
    return FOUND if different else 0


async def show_migration(settings: Settings) -> int:
    """Prints what `migrate --apply` would do: 0 if it understands every document, else 1."""
    return await _migrate(settings, apply=False)


async def migrate(settings: Settings) -> int:
    """Repairs the documents that a platform wrote before, and prints what it did: 1 if it left some alone."""
    return await _migrate(settings, apply=True)


async def _migrate(settings: Settings, *, apply: bool) -> int:
    done = left = 0
    async with _database(settings) as database:
        async for understood, sentence in migration.migrate(database, apply=apply):
            done, left = done + understood, left + (not understood)
            print(sentence)
    print(f"{done} courses {'done' if apply else 'to do, with --apply'}, {left} left alone")
    return FOUND if left else 0


def _flusher(settings: Settings, database: AsyncDatabase[Document]) -> Flusher:
    if settings.flush_barrier.kind == "none":
        log.warning(
            "ANALYTICS_FLUSH_BARRIER=none: when Redis fails over or loses its disk, counts can be lost or doubled"
        )
    stores = Stores(
        redis_url=settings.redis_url,
        redis_cluster=settings.redis_cluster,
        database=database,
        barrier=settings.flush_barrier,
        lock_ttl=settings.flush_lock_ttl_seconds,
        day_zone=settings.day_zone,
    )
    return Flusher(stores)


@asynccontextmanager
async def _database(settings: Settings, *, resend: bool = True) -> AsyncIterator[AsyncDatabase[Document]]:
    """Without `resend` for the flush, which finds out by itself what became of a write whose answer was lost."""
    async with mongo.connect(settings.mongo_url, program="flusher", resend=resend) as client:
        yield mongo.database(client)


@asynccontextmanager
async def _redis(settings: Settings) -> AsyncIterator[list[RedisConnection]]:
    """A connection to every node that has partitions: one, or in a cluster all primaries."""
    topology = Topology(settings.redis_url, cluster=settings.redis_cluster)
    async with AsyncExitStack() as stack:
        nodes = []
        for node in await topology.primaries(timeout=CONNECT_SECONDS):
            nodes.append(await RedisConnection.open(node, timeout=CONNECT_SECONDS))
            stack.push_async_callback(nodes[-1].close)
        yield nodes


@asynccontextmanager
async def _followed(settings: Settings, database: AsyncDatabase[Document]) -> AsyncIterator[None]:
    """Checks continuously whether both stores answer, if there is an address for probes."""
    if settings.flusher_metrics_address is None:
        yield
        return

    topology = Topology(settings.redis_url, cluster=settings.redis_cluster)
    check = counts_are_safe(
        settings.flush_barrier, cluster=settings.redis_cluster, script_command="EVAL", timeout=CONNECT_SECONDS
    )
    redis = RedisProbe(topology, check, timeout=CONNECT_SECONDS)
    following = asyncio.create_task(
        lifecycle.Readiness().follow(redis=redis.ask, mongodb=lambda: mongo.ping(database.client))
    )
    try:
        yield
    finally:
        following.cancel()
        await redis.close()


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


def _left(report: Report) -> bool:
    """Whether something is left; then one line says what and why."""
    if report.left:
        # A store's error may have several lines: its first part names the problem.
        reasons = "; ".join(f"{reason.partition(',')[0]} ({tallies})" for reason, tallies in report.left.items())
        print(f"not everything was flushed: {reasons}", file=sys.stderr)
    return bool(report.left)
