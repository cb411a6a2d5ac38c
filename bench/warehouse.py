"""The warehouse: a relay, rows into ClickHouse, questions at 10 million rows; a flush and pings beside a relay."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from bson import ObjectId
from confluent_kafka import Producer
from pymongo import UpdateOne
from pymongo.asynchronous.database import AsyncDatabase

from bench import flush, ingest
from bench.report import Row
from bench.stage import Stage
from devstack.child import wait_until
from flusher import schema
from flusher.steps.wave import UTC
from shared.data.tallies import DAY
from shared.stores import mongo
from warehouse import queries
from warehouse.events import Events
from warehouse.kafka import Publisher
from warehouse.record import Record, decode, encode
from warehouse.rows import Rows, add
from warehouse.sink import Sink
from warehouse.snapshot import Deliver, Snapshot
from warehouse.source import MongoProgress, Source
from warehouse.store import Store

COURSES = 10_000
CHANGES = 30_000
ROWS = 10_000_000
RECORDS = 4_800  # of 42 counters
ASKED = 20
WAIT_SECONDS, QUIET_SECONDS = 60, 1.5

Say = Callable[[str], None]


async def relay(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """Changes of days, one lecture each, from MongoDB's change stream into Kafka, by one relay in this process."""
    del seconds
    rates = []
    days = [f"{number:024x}/2026-11-26" for number in range(CHANGES // 10)]
    async with mongo.connect(stage.mongo_server.url(), program="bench") as client:
        database = mongo.database(client)
        with kafka() as brokers:
            publisher = Publisher({"bootstrap.servers": brokers})
            await _remember(database, publisher)
            for _ in range(rounds):
                for _ in range(10):
                    await database[DAY.collection].bulk_write([_touch(day) for day in days], ordered=False)
                begun = time.perf_counter()
                await _relay(database, publisher, CHANGES)
                rates.append(CHANGES / (time.perf_counter() - begun))
                say(f"relay: {rates[-1]:,.0f} changes/s")
    return [Row("warehouse", "changes from MongoDB to Kafka, one relay", "changes/s", tuple(rates), "≥ 10,000")]


async def _remember(database: AsyncDatabase[mongo.Document], publisher: Publisher) -> None:
    """Lets a relay save the position from which it follows."""
    stop = asyncio.Event()
    following = asyncio.create_task(_source(database, publisher.deliver).follow(stop))
    while await MongoProgress(database).load() is None:  # noqa: ASYNC110 - another task writes it
        await asyncio.sleep(0.05)
    stop.set()
    await following


async def _relay(database: AsyncDatabase[mongo.Document], publisher: Publisher, wanted: int) -> None:
    """Waits until it has delivered so many records."""
    stop, arrived = asyncio.Event(), 0

    async def deliver(records: Sequence[Record]) -> None:
        nonlocal arrived
        await publisher.deliver(records)
        arrived += len(records)
        if arrived >= wanted:
            stop.set()

    await _source(database, deliver).follow(stop)


def _source(database: AsyncDatabase[mongo.Document], deliver: Deliver) -> Source:
    return Source(database, MongoProgress(database), deliver, Snapshot(database, generation=0), Events(database, 0))


async def rows(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """Messages of 42 counters as rows of ClickHouse in process, alternating with a bare insert of the same rows."""
    del seconds
    store = await Store.open(url=None, folder=stage.folder / "clickhouse")
    messages = [encode(record) for record in _records()]
    ready: Rows = {}
    for message in messages:
        add(ready, decode(message))
    rates, ratios = [], []
    for number in range(rounds + 1):
        begun = time.perf_counter()
        await store.insert(ready)
        bare = len(ready) / (time.perf_counter() - begun)
        begun = time.perf_counter()
        await Sink(store).write([decode(message) for message in messages])
        ours = len(ready) / (time.perf_counter() - begun)
        if number:
            rates.append(ours)
            ratios.append(ours / bare)
            say(f"rows: {ours:,.0f}/s, the bare insert {bare:,.0f}/s")
    await store.close()
    return [
        Row("warehouse", "rows into ClickHouse in process", "rows/s", tuple(rates), "≥ 100,000"),
        Row("warehouse", "the same ÷ the bare insert", "×", tuple(ratios)),
    ]


async def questions(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """10 million rows: the top courses of a week, and the days of a course; each asked several times a round."""
    del seconds
    store = await Store.open(url=None, folder=stage.folder / "clickhouse")
    await _fill(store)
    ((count,),) = await store.query("SELECT count() FROM tallies")
    say(f"{count:,} rows")
    top, days = [], []
    for _ in range(rounds):
        for _ in range(ASKED):
            top.append(await _milliseconds(queries.top_courses(store, "2026-11-20", "2026-11-26", "lecture_views", 20)))
            days.append(await _milliseconds(store.query(DAYS_OF_A_COURSE)))
    await store.close()
    return [
        Row("warehouse", f"top 20 courses of 7 days, {ROWS // 10**6} million rows", "ms", tuple(top), "< 50"),
        Row("warehouse", f"the days of a course, {ROWS // 10**6} million rows", "ms", tuple(days), "< 50"),
    ]


async def beside(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """The flush and ingest, alternately with a relay beside them and without."""
    flushes: dict[bool, list[float]] = {True: [], False: []}
    pings: dict[bool, list[float]] = {True: [], False: []}
    busy: dict[bool, list[float]] = {True: [], False: []}  # ingest's CPU time of a ping, in µs
    calls, server = ingest.ping_calls(stage), stage.program("ingest_server")
    async with flush.client_of_flusher(stage) as client:
        database = mongo.database(client)
        await schema.ensure(database, UTC)
        await flush.once(stage, database, COURSES, "first")
        with kafka() as brokers:
            for number in range(rounds):
                for with_relay in (number % 2 == 0, number % 2 == 1):  # what comes first has the slower stores
                    with running_relay(stage, brokers, wanted=with_relay):
                        result, cpu = await ingest.closed(server.address, server.pid, calls, seconds)
                        pings[with_relay].append(result.rate)
                        busy[with_relay].append(1e6 * cpu / len(result.seconds))
                        stage.redis.flushdb()
                        took = await flush.once(stage, database, COURSES, f"{number}-{with_relay}")
                        flushes[with_relay].append(took)
                say(f"flush beside a relay {1000 * flushes[True][-1]:.0f} ms, alone {1000 * flushes[False][-1]:.0f} ms")
                say(f"pings beside a relay {pings[True][-1]:,.0f}/s, alone {pings[False][-1]:,.0f}/s")
    slower = tuple(one / other for one, other in zip(flushes[True], flushes[False], strict=True))
    counted = tuple(one / other for one, other in zip(pings[True], pings[False], strict=True))
    dearer = tuple(one / other for one, other in zip(busy[True], busy[False], strict=True))
    return [
        Row("warehouse", f"whole flush of {COURSES:,} courses beside a relay ÷ without", "×", slower, "≤ 1.1"),
        Row("warehouse", "pings beside a relay ÷ without", "×", counted, "1"),
        Row("warehouse", "ingest's CPU time of a ping beside a relay ÷ without", "×", dearer, "1"),
    ]


@contextmanager
def kafka() -> Iterator[str]:
    """The address of librdkafka's mock cluster, in this process."""
    cluster = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1})
    (broker,) = cluster.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"


@contextmanager
def running_relay(stage: Stage, brokers: str, *, wanted: bool) -> Iterator[None]:
    """A relay that has caught up with the earlier rounds, and waits for more; or nothing."""
    if not wanted:
        yield
        return
    program = stage.program("warehouse", "relay", kafka_brokers=brokers)
    places: list[object] = [None]

    def rests() -> bool:
        time.sleep(QUIET_SECONDS)
        places.append(stage.database["analyticsrelay"].find_one())
        return places[-1] is not None and places[-1] == places[-2]

    wait_until(rests, WAIT_SECONDS, "the relay is behind")
    yield
    program.stop()


def _touch(day: str) -> UpdateOne:
    lecture = "lectureStats.650000000000000000000011"
    return UpdateOne(
        {"_id": day},
        {
            "$inc": {f"{lecture}.views": 1, f"{lecture}.totalWatchTime": 5, "lectureViews": 1, "watchTime": 5},
            "$set": {"courseId": ObjectId(day[:24])},
        },
        upsert=True,
    )


def _records() -> Iterator[Record]:
    """A day of many courses: openings, users, and 20 lectures with views and seconds."""
    lectures = {
        f"{counter}:{lecture:024x}": 5 for lecture in range(20) for counter in ("lecture_views", "lecture_watchtime")
    }
    for number in range(RECORDS):
        yield Record(f"{number:024x}/2026-11-26", 10**18 + number, {"course_views": 3, "unique_users": 2, **lectures})


async def _fill(store: Store) -> None:
    """1,000 courses on 240 days: views and seconds of 20 lectures, openings, users; in ten inserts, as parts arise."""
    each = ROWS // 10
    for part in range(10):
        await store.query(FILL.format(first=part * each, count=each))
    await store.query(CLEARED)
    while (await store.query("SELECT count() FROM system.merges"))[0][0]:  # noqa: ASYNC110 - its own threads merge
        await asyncio.sleep(1)


async def _milliseconds(question: Awaitable[object]) -> float:
    begun = time.perf_counter()
    await question
    return 1000 * (time.perf_counter() - begun)


FILL = """
INSERT INTO tallies
SELECT
    'day', ['lecture_views', 'lecture_watchtime', 'course_views', 'unique_users'][which + 1],
    lpad(hex(course), 24, '0'), if(which < 2, lpad(hex(place % 21), 24, '0'), ''), toDate('2026-11-26') - day, 0,
    1000000 + number, number % 97
FROM (
    SELECT
        number, number % 42 AS place, if(place < 40, place % 2, place - 38) AS which,
        intDiv(number, 42) % 1000 AS course, intDiv(number, 42000) AS day
    FROM numbers({first}, {count})
)
"""

# As after a snapshot, which clears what was recorded of each tally before.
CLEARED = "INSERT INTO tallies SELECT DISTINCT 'day', 'cleared', course, '', day, 0, 5, 0 FROM tallies"

DAYS_OF_A_COURSE = """
SELECT day, sumIf(total, counter = 'lecture_views') AS views, sumIf(total, counter = 'unique_users') AS users
FROM tallies FINAL
WHERE kind = 'day' AND course = '000000000000000000000007' AND counter IN ('lecture_views', 'unique_users')
GROUP BY day ORDER BY day
"""
