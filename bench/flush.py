"""The flush, whole and its MongoDB part, against the bare bulk write; and the bytes of a counter in Redis."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.asynchronous.database import AsyncDatabase

from bench.report import Row
from bench.stage import Stage, cpu_seconds
from flusher import schema
from flusher.cycle import Flusher, collect_garbage_seldom
from flusher.steps.apply import apply, bulks
from flusher.steps.take import Batch
from flusher.steps.wave import UTC, Stores
from shared.data import keys
from shared.data.tallies import LECTURE_VIEWS, LECTURE_WATCH_TIME, Tally, course_tally, day_tally
from shared.settings import Barrier
from shared.stores import mongo
from shared.stores.mongo import Document

COURSES = 1_000
LECTURES = 10
BULK = 1_000

WHOLE_COURSES = 20_000
WHOLE_LECTURES = 3
MANY_COURSES = 100_000
DAY = "2026-11-01"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Took:
    """How long something took, and the CPU time it used; all in seconds."""

    wall: float
    flusher: float
    mongod: float
    redis: float

    def __str__(self) -> str:
        cpu = f"flusher {self.flusher:.1f}, mongod {self.mongod:.1f}, Redis {self.redis:.1f}"
        return f"{self.wall:.1f} s (CPU time: {cpu} s)"


async def whole(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """A whole flush of 20,000 courses of 6 counters, alternating with the bare bulk write."""
    del seconds
    tallies = [course_tally(f"{number:024x}") for number in range(WHOLE_COURSES)]
    ratios, rates, first = [], [], 0.0
    async with _bare_client(stage) as bare_client, client_of_flusher(stage) as client:
        bare_database, database = mongo.database(bare_client), mongo.database(client)
        await schema.ensure(database, UTC)
        await database["bare"].create_index("courseId", unique=True)
        for number in range(rounds + 1):
            batches = [_batch(tally, WHOLE_LECTURES, f"round-{number}") for tally in tallies]
            _dirty(stage, batches)
            bare = await _timed(stage, _bare_write(bare_database, batches))
            ours = await _timed(stage, _flush(stage, database, len(batches)))
            say(f"whole flush of {WHOLE_COURSES:,} courses: {ours}; the bare bulk write {bare}")
            if not number:  # the first round inserts, and saves every sketch
                first = WHOLE_COURSES / ours.wall
                continue
            ratios.append(bare.wall / ours.wall)
            rates.append(WHOLE_COURSES / ours.wall)
    what = f"{WHOLE_COURSES:,} courses × {2 * WHOLE_LECTURES} counters, one flusher"
    return [
        Row("flush", f"bare bulk_write ÷ whole flush, {what}", "×", tuple(ratios), "≥ 0.6"),
        Row("flush", what, "courses/s", tuple(rates)),
        Row("flush", "the same, new documents and sketches", "courses/s", (first,)),
    ]


async def mongo_part(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """1,000 courses of 10 lectures: `apply`, alternating with a bulk write of the same increments and nothing else."""
    del seconds
    batches = [_batch(course_tally(f"{number:024x}"), LECTURES, "") for number in range(COURSES)]
    ratios = []
    async with _bare_client(stage) as bare_client, client_of_flusher(stage) as client:
        bare_database, database = mongo.database(bare_client), mongo.database(client)
        for name in ("bare", "ours"):
            await database[name].create_index("courseId", unique=True)
        for number in range(rounds + 1):
            fresh = [replace(batch, id=f"round-{number}") for batch in batches]
            begun = time.perf_counter()
            await _bare_write(bare_database, fresh)
            bare = time.perf_counter() - begun
            begun = time.perf_counter()
            for bulk in bulks(fresh):
                await apply(database["ours"], bulk, number + 1, timeout=60)
            ours = time.perf_counter() - begun
            if number:  # the first round inserts
                ratios.append(bare / ours)
                say(f"flush of {COURSES} courses: {1000 * ours:.0f} ms, the bare bulk write {1000 * bare:.0f} ms")
    return [
        Row("flush", f"bare bulk_write ÷ apply, {COURSES} courses × {LECTURES} lectures", "×", tuple(ratios), "≥ 0.5")
    ]


async def many_tallies(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """100,000 courses with their days in one cycle, by one flusher; and the bytes that a counter takes in Redis."""
    del rounds, seconds
    before = _memory(stage)
    course_ids = [f"{number:024x}" for number in range(MANY_COURSES)]
    tallies = [tally for each in course_ids for tally in (course_tally(each), day_tally(each, DAY))]
    _dirty(stage, [_batch(tally, LECTURES, "sized") for tally in tallies[:COURSES]], users=0)
    per_counter = (_memory(stage) - before) / (COURSES * 2 * LECTURES)
    stage.redis.flushdb()
    _dirty(stage, [_batch(tally, WHOLE_LECTURES, "many") for tally in tallies])
    say(f"{len(tallies):,} tallies are in Redis")
    async with client_of_flusher(stage) as client:
        took = await _timed(stage, _flush(stage, mongo.database(client), len(tallies)))
    say(f"flushed in {took}")
    what = f"{len(tallies):,} tallies: {MANY_COURSES:,} new courses with their days, × {2 * WHOLE_LECTURES} counters"
    return [
        Row("flush", f"{what}, one flusher", "s", (took.wall,), "< 90"),
        Row("flush", "Redis memory", "bytes/counter", (per_counter,), "≤ 100"),
    ]


def client_of_flusher(stage: Stage) -> mongo.Client:
    """Connected as the flusher is, which collects garbage as seldom."""
    collect_garbage_seldom()
    return mongo.connect(stage.mongo_server.url(), program="flusher", resend=False)


def _bare_client(stage: Stage) -> mongo.Client:
    """With the driver's defaults, but acknowledged as the flusher's writes are."""
    return mongo.connect(stage.mongo_server.url(), program="bench")


async def once(stage: Stage, database: AsyncDatabase[Document], courses: int, batch_id: str) -> float:
    """The seconds of one whole flush of so many courses, the same ones each time."""
    batches = [_batch(course_tally(f"{number:024x}"), WHOLE_LECTURES, batch_id) for number in range(courses)]
    _dirty(stage, batches)
    return (await _timed(stage, _flush(stage, database, courses))).wall


async def _timed(stage: Stage, work: Awaitable[None]) -> Took:
    pids = (stage.mongo_server.pid, stage.redis_server.pid)
    before, begun, own = [cpu_seconds(pid) for pid in pids], time.perf_counter(), time.process_time()
    await work
    wall, own = time.perf_counter() - begun, time.process_time() - own
    return Took(wall, own, *(cpu_seconds(pid) - was for pid, was in zip(pids, before, strict=True)))


async def _flush(stage: Stage, database: AsyncDatabase[Document], tallies: int) -> None:
    stores = Stores(redis_url=stage.redis_server.url, database=database, barrier=Barrier("aof"), lock_ttl=240)
    report = await Flusher(stores).cycle(asyncio.Event())
    if report.cleared != tallies or report.left:
        raise AssertionError(f"{report.cleared} of {tallies} tallies were flushed, left: {report.left}")


async def _bare_write(database: AsyncDatabase[Document], batches: Sequence[Batch]) -> None:
    for start in range(0, len(batches), BULK):
        await database["bare"].bulk_write([_bare(batch) for batch in batches[start : start + BULK]], ordered=False)


def _bare(batch: Batch) -> UpdateOne:
    increments = batch.tally.kind.increments(batch.counts)
    return UpdateOne({"courseId": ObjectId(batch.tally.course_id)}, {"$inc": increments}, upsert=True)


def _batch(tally: Tally, lectures: int, batch_id: str) -> Batch:
    counts = {}
    for lecture in range(lectures):
        lecture_id = f"{tally.course_id[-8:]}{lecture:016x}"
        counts[LECTURE_VIEWS.field(lecture_id)] = 3
        counts[LECTURE_WATCH_TIME.field(lecture_id)] = 15
    return Batch(keys.partition_of(tally.name), tally, batch_id, counts, unique_users=0, fresh=True)


def _dirty(stage: Stage, batches: Sequence[Batch], *, users: int = 3) -> None:
    """The batches hot in Redis, each of the same few users."""
    pipe = stage.redis.pipeline(transaction=False)
    for number, batch in enumerate(batches):
        hot: dict[Any, Any] = {keys.BATCH: batch.id, **batch.counts}
        pipe.hset(keys.course_counters(batch.partition, batch.name), mapping=hot)
        pipe.sadd(keys.dirty_courses(batch.partition), batch.name)
        if users:
            pipe.pfadd(keys.course_users(batch.partition, batch.name), *(f"user-{each}" for each in range(users)))
        if batch.tally.item:
            pipe.sadd(keys.unsaved_users(batch.partition), batch.name)
        if number % 1_000 == 999:
            pipe.execute()
    pipe.execute()


def _memory(stage: Stage) -> int:
    info: Any = stage.redis.info("memory")
    return int(info["used_memory"])
