"""The flush: its MongoDB part against the bare bulk write, many dirty courses, and what a counter costs in Redis."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne

from bench.report import Row
from bench.stage import Stage
from flusher.cycle import Flusher
from flusher.steps.apply import apply, bulks
from flusher.steps.take import Batch
from flusher.steps.wave import Stores
from shared.data import keys
from shared.data.tallies import COURSE, LECTURE_VIEWS, LECTURE_WATCH_TIME, course_tally
from shared.settings import Barrier
from shared.stores import mongo

COURSES = 1_000
LECTURES = 10
MANY_COURSES = 100_000

Say = Callable[[str], None]


async def mongo_part(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """1,000 courses of 10 lectures: `apply` in turns with a bulk write of the same increments and nothing else."""
    del seconds
    batches = [_batch(number) for number in range(COURSES)]
    ratios = []
    async with mongo.connect(stage.mongo_server.url(), program="bench") as client:
        database = mongo.database(client)
        for name in ("bare", "ours"):
            await database[name].create_index("courseId", unique=True)
        for number in range(rounds + 1):
            fresh = [_renamed(batch, f"round-{number}") for batch in batches]
            begun = time.perf_counter()
            await database["bare"].bulk_write([_bare(batch) for batch in fresh], ordered=False)
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


async def many_courses(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """100,000 dirty courses in one cycle, by one flusher; and the bytes that a counter takes in Redis."""
    del rounds, seconds
    before = _memory(stage)
    _dirty(stage)
    per_counter = (_memory(stage) - before) / (MANY_COURSES * 2 * LECTURES)
    say(f"{MANY_COURSES:,} dirty courses are in Redis, {per_counter:.0f} bytes a counter")
    async with mongo.connect(stage.mongo_server.url(), program="bench") as client:
        stores = Stores(
            redis_url=stage.redis_server.url, database=mongo.database(client), barrier=Barrier("aof"), lock_ttl=240
        )
        begun = time.perf_counter()
        report = await Flusher(stores).cycle(asyncio.Event())
        took = time.perf_counter() - begun
        found = await mongo.database(client)["courseanalytics"].count_documents({})
    if report.cleared != MANY_COURSES or found != MANY_COURSES:
        raise AssertionError(f"{report.cleared} courses were flushed, {found} are in MongoDB")
    say(f"flushed in {took:.0f} s")
    return [
        Row("flush", f"{MANY_COURSES:,} dirty courses × {LECTURES} lectures, one flusher", "s", (took,), "< 300"),
        Row("flush", "Redis memory", "bytes/counter", (per_counter,), "≤ 100"),
    ]


def _batch(number: int) -> Batch:
    counts = {}
    for lecture in range(LECTURES):
        lecture_id = f"{number:08x}{lecture:016x}"
        counts[LECTURE_VIEWS.field(lecture_id)] = 3
        counts[LECTURE_WATCH_TIME.field(lecture_id)] = 15
    course_id = f"{number:024x}"
    return Batch(keys.partition_of(course_id), course_tally(course_id), "", counts, unique_users=2, fresh=True)


def _renamed(batch: Batch, batch_id: str) -> Batch:
    return replace(batch, id=batch_id)


def _bare(batch: Batch) -> UpdateOne:
    increments = COURSE.increments(batch.counts)
    return UpdateOne({"courseId": ObjectId(batch.name)}, {"$inc": increments}, upsert=True)


def _dirty(stage: Stage) -> None:
    pipe = stage.redis.pipeline(transaction=False)
    for number in range(MANY_COURSES):
        batch = _batch(number)
        hot: dict[Any, Any] = {keys.BATCH: f"bench-{number}-0", **batch.counts}
        pipe.hset(keys.course_counters(batch.partition, batch.name), mapping=hot)
        pipe.sadd(keys.dirty_courses(batch.partition), batch.name)
        if number % 1_000 == 999:
            pipe.execute()


def _memory(stage: Stage) -> int:
    info: Any = stage.redis.info("memory")
    return int(info["used_memory"])
