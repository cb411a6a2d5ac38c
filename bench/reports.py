"""Reports, heatmaps, the list of courses and files, with data in both stores; and calls beside a long report."""

import asyncio
import datetime as dt
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from bson import Binary, ObjectId
from course_analytics.v1 import dashboard_pb2, dashboard_pb2_grpc
from google.protobuf.message import Message

from bench import h2
from bench.report import Row
from bench.stage import CREATOR, Stage, course, cpu_seconds, write_courses
from devstack.tokens import mint
from shared.data import keys
from shared.data.batch_id import batch_id
from shared.data.days import day_after
from shared.data.tallies import (
    COURSE_VIEWS,
    DAY,
    DAY_LECTURE_VIEWS,
    DAY_LECTURE_WATCH_TIME,
    LECTURE,
    PLAYBACKS,
    SEGMENT_VIEWS,
    SEGMENT_WATCHED,
    day_tally,
    lecture_tally,
)
from shared.stores.day_zone import DAYS_ID
from shared.stores.mongo import ANALYTICS_SETTINGS, COURSES

LECTURES = 200
RANGES = {28: "< 20", 92: "< 50", 366: "< 80"}
WATCHED_DAYS = 2 * max(RANGES)
LISTED = 20
USERS_OF_A_DAY = 2_000  # a dense sketch
SEGMENTS = 360  # an hour of video
STORED_DAYS = 5_000
WATCHED_LECTURES = 20
PATH = "/course_analytics.v1.DashboardService/"

NOW = dt.datetime.now(dt.UTC)

Say = Callable[[str], None]


async def reports(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """One course watched for two years, one reader at a time; then a reader of dashboards beside one of reports."""
    today = dt.datetime.now(dt.UTC).date().isoformat()
    _prepare(stage, today)
    course_id = course(1, LECTURES).id
    server = stage.program("query_server")
    token = mint(stage.secret, CREATOR)
    calls = _calls(course_id, today)
    await _check(server.address, calls, token)
    rows = []
    for what, (method, message, reach) in calls.items():
        call = h2.Call.grpc(PATH + method, token, message.SerializeToString())
        p50, p99, cpu = [], [], []
        await h2.closed_loop(server.address, [call], in_flight=1, seconds=0, connections=1)  # the first one is below
        for _ in range(rounds):
            before = cpu_seconds(server.pid)
            result = await h2.closed_loop(server.address, [call], in_flight=1, seconds=seconds / 2, connections=1)
            _all_succeeded(what, result)
            p50.append(result.quantile(0.5))
            p99.append(result.quantile(0.99))
            cpu.append(1e6 * (cpu_seconds(server.pid) - before) / len(result.seconds))
        say(f"{what}: p99 {max(p99):.1f} ms")
        rows += [
            Row("reports", f"{what}, p50", "ms", tuple(p50)),
            Row("reports", f"{what}, p99", "ms", tuple(p99), reach),
            Row("reports", f"{what}, CPU time of the server", "µs", tuple(cpu)),
        ]
    rows += await _first_of_a_server(stage, calls, token, rounds, say)
    rows.append(await _beside(server.address, calls, token, rounds, seconds))
    return [*rows, *_sizes(stage)]


async def _first_of_a_server(
    stage: Stage, calls: Mapping[str, tuple[str, Message, str]], token: str, rounds: int, say: Say
) -> list[Row]:
    """The first report after a start: no cache has anything of the course."""
    rows = []
    for days in RANGES:
        method, message, _ = calls[f"report of {days} days"]
        call = h2.Call.grpc(PATH + method, token, message.SerializeToString())
        dashboard = h2.Call.grpc(PATH + calls["dashboard"][0], token, calls["dashboard"][1].SerializeToString())
        took, cpu = [], []
        for _ in range(rounds):
            fresh = stage.program("query_server")
            await h2.closed_loop(fresh.address, [dashboard], in_flight=1, seconds=0.5, connections=1)
            before = cpu_seconds(fresh.pid)
            result = await h2.closed_loop(fresh.address, [call], in_flight=1, seconds=0, connections=1)
            _all_succeeded("the first report", result)
            took.append(result.quantile(1))
            cpu.append(1000 * (cpu_seconds(fresh.pid) - before))
            fresh.stop()
        say(f"the first report of {days} days: {max(took):.0f} ms, {max(cpu):.0f} ms of CPU time")
        rows += [
            Row("reports", f"the first of {days} days after a start", "ms", tuple(took)),
            Row("reports", f"the first of {days} days after a start, CPU time", "ms", tuple(cpu)),
        ]
    return rows


async def _beside(
    address: str, calls: Mapping[str, tuple[str, Message, str]], token: str, rounds: int, seconds: float
) -> Row:
    """How much the p99 of dashboards grows while somebody reads reports of 366 days without a pause."""
    long, short = (
        h2.Call.grpc(PATH + calls[name][0], token, calls[name][1].SerializeToString())
        for name in ("report of 366 days", "dashboard")
    )
    waited = []
    for _ in range(rounds):
        alone = await h2.open_loop(address, [short], rate=50, seconds=seconds / 2, connections=1)
        both, _ = await asyncio.gather(
            h2.open_loop(address, [short], rate=50, seconds=seconds / 2, connections=1),
            h2.closed_loop(address, [long], in_flight=1, seconds=seconds / 2, connections=1),
        )
        waited.append(both.quantile(0.99) - alone.quantile(0.99))
    what = "a dashboard beside reports of 366 days, p99 more than alone"
    return Row("reports", what, "ms", tuple(waited), "< 10")


def _calls(course_id: str, today: str) -> dict[str, tuple[str, Message, str]]:
    """The calls to measure: method, request, target."""
    yesterday = day_after(today, -1)
    ranges: dict[int, Any] = {
        days: {"course_id": course_id, "from_day": day_after(today, -days), "to_day": yesterday} for days in RANGES
    }
    lecture_id = course(1, LECTURES).lectures[0].id
    heatmap = {"course_id": course_id, "lecture_id": lecture_id}
    asked: dict[str, tuple[str, Message, str]] = {
        f"report of {days} days": ("GetCourseReport", dashboard_pb2.GetCourseReportRequest(**ranges[days]), reach)
        for days, reach in RANGES.items()
    }
    asked["the same of 28 days as CSV"] = (
        "ExportCourseReport",
        dashboard_pb2.ExportCourseReportRequest(**ranges[28], table="funnel"),
        "",
    )
    asked["heatmap of an hour"] = ("GetLectureHeatmap", dashboard_pb2.GetLectureHeatmapRequest(**heatmap), "< 10")
    asked["the same as CSV"] = ("ExportLectureHeatmap", dashboard_pb2.ExportLectureHeatmapRequest(**heatmap), "")
    asked[f"list of {LISTED} courses"] = ("ListCourses", dashboard_pb2.ListCoursesRequest(), "< 15")
    asked["dashboard"] = (
        "GetCourseDashboard",
        dashboard_pb2.GetCourseDashboardRequest(course_id=course_id),
        "",
    )
    return asked


async def _check(address: str, calls: Mapping[str, tuple[str, Message, str]], token: str) -> None:
    """Checks the answers once: the load generator reads only the status."""
    metadata = (("authorization", f"Bearer {token}"),)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = dashboard_pb2_grpc.DashboardServiceStub(channel)
        report: Any = await stub.GetCourseReport(calls["report of 92 days"][1], metadata=metadata)  # type: ignore[arg-type] # each has its own type
        heatmap: Any = await stub.GetLectureHeatmap(calls["heatmap of an hour"][1], metadata=metadata)  # type: ignore[arg-type] # each has its own type
        listed: Any = await stub.ListCourses(dashboard_pb2.ListCoursesRequest(), metadata=metadata)
    found = (
        report.overview.course_views,
        sum(step.views for step in report.engagement_funnel),
        report.previous.lecture_views,
        heatmap.playbacks,
        len(heatmap.segments),
        [len(each.last28_days) for each in listed.courses],
    )
    expected = (92 * 9, LECTURES * 7 * 92, LECTURES * 7 * 92, 12, SEGMENTS, [28] * LISTED)
    if found != expected:
        raise AssertionError(f"the answers are wrong: {found}, not {expected}")


def _all_succeeded(what: str, result: h2.Result) -> None:
    if result.failed:
        raise AssertionError(f"{what} failed: {result.failed}")


def _prepare(stage: Stage, today: str) -> None:
    """A course watched each day of two years, and today; others watched each day of four weeks."""
    database = stage.database
    database["courseanalytics"].create_index("courseId", unique=True)  # as the flusher does
    database[COURSES].create_index([("creator", 1), ("_id", -1)])  # as the platform does
    database[ANALYTICS_SETTINGS].insert_one({"_id": DAYS_ID, "zone": "UTC", "recordedSince": "2020-01-01"})
    sketches = [_sketch(stage, number) for number in range(8)]
    for number in range(1, LISTED + 1):
        written = course(number, LECTURES if number == 1 else 10)
        write_courses(database, [written])
        lectures = [lecture.id for lecture in written.lectures]
        stats = {lecture_id: {"views": 7, "totalWatchTime": 35} for lecture_id in lectures}
        own = {"courseId": ObjectId(written.id)}
        database["courseanalytics"].insert_one(
            {**own, "totalViews": 9, "lectureStats": stats, "recentBatches": [], "epoch": 1}
        )
        days = [day_after(today, -each) for each in range(1, (WATCHED_DAYS if number == 1 else 28) + 1)]
        database[DAY.collection].insert_many(
            {
                **day_tally(written.id, day).repeated(),
                "_id": f"{written.id}/{day}",
                "totalViews": 9,
                "lectureStats": stats,
                "lectureViews": 7 * len(lectures),
                "watchTime": 35 * len(lectures),
                "uniqueActiveUsers": USERS_OF_A_DAY,
                "usersSketch": Binary(sketches[place % len(sketches)]),
                "recentBatches": [f"bench-{each}-0" for each in range(DAY.window)],
                "epoch": 1,
            }
            for place, day in enumerate(days)
        )
        _heat_day(stage, written.id, today, lectures)
    _heat_lecture(stage, course(1, LECTURES).id, course(1, LECTURES).lectures[0].id)


def _sketch(stage: Stage, number: int) -> bytes:
    stage.redis.pfadd("bench", *range(number * USERS_OF_A_DAY // 2, (number + 2) * USERS_OF_A_DAY // 2))
    sketch: Any = stage.redis.get("bench")
    stage.redis.delete("bench")
    return bytes(sketch)


def _sizes(stage: Stage) -> list[Row]:
    """The size of days: on MongoDB's disk without their sketch, and of one sketch in Redis."""
    name = f"stored{DAY.collection}"
    stage.database[name].insert_many(_stored_day(number) for number in range(STORED_DAYS))
    stage.database.client.admin.command("fsync")
    size: Any = stage.database.command("collStats", name)
    stage.redis.pfadd("bench", *range(100))
    sketch: Any = stage.redis.memory_usage("bench")
    taken = (size["storageSize"] + size["totalIndexSize"]) / STORED_DAYS
    return [
        Row("reports", f"MongoDB's disk, a day of {WATCHED_LECTURES} watched lectures", "bytes", (taken,), "< 2,000"),
        Row("reports", "Redis, a day's sketch of 100 users", "bytes", (float(sketch),), "< 1,000"),
    ]


def _stored_day(number: int) -> dict[str, Any]:
    """A day of one of 100 courses, with numbers that do not compress better than real ones."""
    course_id, day = f"{number % 100:024x}", day_after("2026-01-01", number // 100)
    chance = random.Random(number)  # noqa: S311 - the same in each run
    counts = {
        field.field(f"{number % 100:08x}{lecture:016x}"): chance.randrange(1, most)
        for lecture in range(WATCHED_LECTURES)
        for field, most in ((DAY_LECTURE_VIEWS, 500), (DAY_LECTURE_WATCH_TIME, 200_000))
    }
    document: dict[str, Any] = {**day_tally(course_id, day).repeated(), "_id": f"{course_id}/{day}"}
    for path, count in DAY.increments(counts).items():
        *parents, leaf = path.split(".")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = count
    batches = [batch_id(f"{chance.getrandbits(64):016x}", chance.randrange(10**6), 1.8e9) for _ in range(DAY.window)]
    return {**document, "recentBatches": batches, "epoch": number, "uniqueActiveUsers": 100, "updatedAt": NOW}


def _heat_day(stage: Stage, course_id: str, day: str, lectures: Sequence[str]) -> None:
    hot: dict[Any, Any] = {keys.BATCH: "bench-1-0", COURSE_VIEWS.field(): 3}
    hot |= {DAY_LECTURE_VIEWS.field(lecture_id): 1 for lecture_id in lectures}
    hot |= {DAY_LECTURE_WATCH_TIME.field(lecture_id): 5 for lecture_id in lectures}
    partition = keys.partition_of(course_id)
    for tally in (course_id, f"{course_id}/{day}"):
        stage.redis.hset(keys.course_counters(partition, tally), mapping=hot)
        stage.redis.pfadd(keys.course_users(partition, tally), *range(1000))
        stage.redis.sadd(keys.dirty_courses(partition), tally)
    stage.redis.sadd(keys.unsaved_users(partition), f"{course_id}/{day}")


def _heat_lecture(stage: Stage, course_id: str, lecture_id: str) -> None:
    """Half in Redis, half in MongoDB."""
    tally = lecture_tally(course_id, lecture_id)
    stage.database[LECTURE.collection].insert_one(
        {
            **tally.repeated(),
            "_id": tally.name,
            "playbacks": 6,
            "segments": {str(number): {"watched": 600, "views": 6} for number in range(SEGMENTS)},
            "durations": {str(10 * SEGMENTS): 6},
            "recentBatches": [],
            "epoch": 1,
        }
    )
    hot: dict[Any, Any] = {keys.BATCH: "bench-1-0", PLAYBACKS.field(): 6}
    hot |= {SEGMENT_WATCHED.field(str(number)): 900 for number in range(SEGMENTS)}
    hot |= {SEGMENT_VIEWS.field(str(number)): 6 for number in range(SEGMENTS)}
    partition = keys.partition_of(course_id)
    stage.redis.hset(keys.course_counters(partition, tally.name), mapping=hot)
    stage.redis.sadd(keys.dirty_courses(partition), tally.name)
