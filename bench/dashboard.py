"""The dashboard against the two bare requests that any dashboard would make: a find_one and a MULTI."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import redis.asyncio
from bson import ObjectId
from course_analytics.v1 import dashboard_pb2, dashboard_pb2_grpc
from pymongo import AsyncMongoClient

from bench.report import Row
from bench.stage import CREATOR, Stage, course, write_courses
from devstack.tokens import mint
from shared import keys
from shared.counters import COURSE_VIEWS, LECTURE_VIEWS, LECTURE_WATCH_TIME

SIZES = (10, 200, 1_000, 5_000)
REACH = {200: "< 10", 1_000: "< 25"}

Say = Callable[[str], None]


async def dashboards(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """Courses of several sizes, each half in Redis and half in MongoDB, one reader."""
    server = stage.program("query_server")
    rows: list[Row] = []
    for number, size in enumerate(SIZES, 1):
        course_id = _write(stage, number, size)
        p50s, p99s, ratios = [], [], []
        for _ in range(rounds):
            bare = await _bare(stage, course_id, seconds / 2)
            ours = await _ours(stage, server.address, course_id, size, seconds / 2)
            p50s.append(1000 * _quantile(ours, 0.5))
            p99s.append(1000 * _quantile(ours, 0.99))
            ratios.append(_quantile(ours, 0.5) / _quantile(bare, 0.5))
        say(f"dashboard of {size} lectures: p50 {sorted(p50s)[rounds // 2]:.1f} ms")
        rows += [
            Row("dashboard", f"{size} lectures, p50", "ms", tuple(p50s)),
            Row("dashboard", f"{size} lectures, p99", "ms", tuple(p99s), REACH.get(size, "")),
            Row("dashboard", f"{size} lectures ÷ find_one and MULTI", "×", tuple(ratios), "≤ 3" if size == 200 else ""),
        ]
    return rows


def _write(stage: Stage, number: int, size: int) -> str:
    written = course(number, size)
    write_courses(stage.database, [written])
    ids = [lecture.id for lecture in written.lectures]
    stats = {lecture_id: {"views": 7, "totalWatchTime": 35} for lecture_id in ids}
    stage.database["courseanalytics"].insert_one(
        {"courseId": ObjectId(written.id), "totalViews": 9, "lectureStats": stats, "recentBatches": [], "epoch": 1}
    )
    hot = {keys.BATCH: "bench-1-0", COURSE_VIEWS.field(): 3}
    hot |= {LECTURE_VIEWS.field(lecture_id): 1 for lecture_id in ids}
    hot |= {LECTURE_WATCH_TIME.field(lecture_id): 5 for lecture_id in ids}
    partition = keys.partition_of(written.id)
    stage.redis.hset(keys.course_counters(partition, written.id), mapping=hot)  # type: ignore[arg-type] # it takes numbers
    stage.redis.pfadd(keys.course_users(partition, written.id), *range(1000))
    return written.id


async def _ours(stage: Stage, address: str, course_id: str, size: int, seconds: float) -> list[float]:
    metadata = (("authorization", f"Bearer {mint(stage.secret, CREATOR)}"),)
    request = dashboard_pb2.GetCourseDashboardRequest(course_id=course_id)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = dashboard_pb2_grpc.DashboardServiceStub(channel)
        shown = await stub.GetCourseDashboard(request, metadata=metadata)
        if [step.views for step in shown.engagement_funnel] != [8] * size:
            raise AssertionError(f"the dashboard of {size} lectures is wrong")
        return await _timed(lambda: stub.GetCourseDashboard(request, metadata=metadata), seconds)


async def _bare(stage: Stage, course_id: str, seconds: float) -> list[float]:
    partition = keys.partition_of(course_id)
    async with (
        AsyncMongoClient[dict[str, Any]](stage.mongo_server.url()) as client,
        redis.asyncio.Redis.from_url(stage.redis_server.url) as connection,
    ):
        documents = client.get_default_database()["courseanalytics"]

        async def multi() -> None:
            async with connection.pipeline(transaction=True) as pipe:
                pipe.execute_command("HGETALL", keys.course_counters(partition, course_id))
                pipe.execute_command("PFCOUNT", keys.course_users(partition, course_id))
                await pipe.execute()

        async def both() -> None:
            await asyncio.gather(documents.find_one({"courseId": ObjectId(course_id)}), multi())

        await both()
        return await _timed(both, seconds)


async def _timed(call: Callable[[], Awaitable[object]], seconds: float) -> list[float]:
    took = []
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        await call()
        took.append(time.perf_counter() - begun)
    return took


def _quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]
