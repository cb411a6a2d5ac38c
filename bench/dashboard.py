"""The dashboard against the two bare requests that any dashboard would make: a find_one and a MULTI."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import redis.asyncio
from bson import ObjectId
from course_analytics.v1 import dashboard_pb2, dashboard_pb2_grpc
from pymongo import AsyncMongoClient

from bench import h2
from bench.report import Row
from bench.stage import CREATOR, Stage, course, cpu_seconds, write_courses
from devstack.tokens import mint
from shared.data import keys
from shared.data.tallies import COURSE_VIEWS, LECTURE_VIEWS, LECTURE_WATCH_TIME

SIZES = (10, 200, 1_000, 5_000)
IN_FLIGHT = 16
PATH = "/course_analytics.v1.DashboardService/GetCourseDashboard"
REACH = {200: "< 10", 1_000: "< 25"}

Say = Callable[[str], None]


async def dashboards(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """Courses of several sizes, each half in Redis and half in MongoDB; one reader, then 16."""
    stage.database["courseanalytics"].create_index("courseId", unique=True)  # as the flusher does
    server = stage.program("query_server")
    rows: list[Row] = []
    for number, size in enumerate(SIZES, 1):
        course_id = _write(stage, number, size)
        calls = [await _checked_call(stage, server.address, course_id, size)]
        measured: dict[str, list[float]] = {name: [] for name in ("p50", "p99", "ratio", "rate", "cpu")}
        for _ in range(rounds):
            bare = await _bare(stage, course_id, seconds / 2)
            alone = await h2.closed_loop(server.address, calls, in_flight=1, seconds=seconds / 2, connections=1)
            before = cpu_seconds(server.pid)
            many = await h2.closed_loop(server.address, calls, in_flight=IN_FLIGHT, seconds=seconds / 2)
            cpu = cpu_seconds(server.pid) - before
            if alone.failed or many.failed:
                raise AssertionError(f"dashboards of {size} lectures failed: {alone.failed + many.failed}")
            for name, value in (
                ("p50", alone.quantile(0.5)),
                ("p99", alone.quantile(0.99)),
                ("ratio", alone.quantile(0.5) / bare.quantile(0.5)),
                ("rate", many.rate),
                ("cpu", 1e6 * cpu / len(many.seconds)),
            ):
                measured[name].append(value)
        say(f"dashboard of {size} lectures: p50 {statistics.median(measured['p50']):.1f} ms")
        rows += [
            Row("dashboard", f"{size} lectures, p50", "ms", tuple(measured["p50"])),
            Row("dashboard", f"{size} lectures, p99", "ms", tuple(measured["p99"]), REACH.get(size, "")),
            Row(
                "dashboard",
                f"{size} lectures ÷ find_one and MULTI",
                "×",
                tuple(measured["ratio"]),
                "≤ 3" if size == 200 else "",
            ),
            Row("dashboard", f"{size} lectures, {IN_FLIGHT} in flight", "dashboards/s", tuple(measured["rate"])),
            Row("dashboard", f"{size} lectures, CPU time of the server", "µs", tuple(measured["cpu"])),
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


async def _checked_call(stage: Stage, address: str, course_id: str, size: int) -> h2.Call:
    """The call to measure, after checking its answer once: the load generator reads only the status."""
    token = mint(stage.secret, CREATOR)
    request = dashboard_pb2.GetCourseDashboardRequest(course_id=course_id)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = dashboard_pb2_grpc.DashboardServiceStub(channel)
        shown = await stub.GetCourseDashboard(request, metadata=(("authorization", f"Bearer {token}"),))
    if [step.views for step in shown.engagement_funnel] != [8] * size:
        raise AssertionError(f"the dashboard of {size} lectures is wrong")
    return h2.Call.grpc(PATH, token, request.SerializeToString())


async def _bare(stage: Stage, course_id: str, seconds: float) -> h2.Result:
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


async def _timed(call: Callable[[], Awaitable[object]], seconds: float) -> h2.Result:
    result = h2.Result()
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        await call()
        result.seconds.append(time.perf_counter() - begun)
    return result
