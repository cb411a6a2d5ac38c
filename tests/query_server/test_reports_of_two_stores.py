"""Reports whose two stores do not agree: one is away or behind, or a flush runs; and what is kept of closed days."""

import grpc
import pytest
from bson import ObjectId
from course_analytics.v1 import dashboard_pb2
from pymongo.asynchronous.database import AsyncDatabase

from query_server import documents
from query_server.cold import ColdStore, Documents
from query_server.cold import Course as ColdCourse
from query_server.hot import HotStore
from shared.stores.mongo import Document
from shared.stores.redis_connection import RedisUnreachable
from tests.query_server.conftest import (
    Dashboards,
    HotStoreAt,
    recorded,
    report,
    serving,
    token,
)
from tests.query_server.platform import Platform

Request = dashboard_pb2.GetCourseReportRequest


async def test_a_closed_stretch_is_kept_until_a_document_of_it_changes(platform: Platform, reports: Dashboards) -> None:
    course = await platform.add_course(["A"])
    await recorded(platform, "2026-11-19")

    async def first_lecture() -> int:
        return (await report(reports, course, period=Request.LAST_7_DAYS)).engagement_funnel[0].views

    shown = []
    for batches, number in ((["A"], 4), (["A"], 4), (["A", "B"], 7)):
        stats = {course.lectures[0]: {"views": number, "totalWatchTime": 40}}
        await platform.stored(course, "2026-11-25", *batches, lectureViews=number, lectureStats=stats)
        shown.append(await first_lecture())
    await platform.tally(course, "2026-11-25", "counting", "C", {f"lecture_views:{course.lectures[0]}": 1})
    shown.append(await first_lecture())
    await platform.redis.delete(platform.key("course_counters", course, "2026-11-25"))  # lost before a flush
    assert [4, 4, 7, 8, 7] == [*shown, await first_lecture()]


async def test_users_that_come_without_a_batch_are_shown_of_a_closed_stretch(
    platform: Platform, reports: Dashboards
) -> None:
    course = await platform.add_course(["A"])
    await recorded(platform, "2026-11-19")
    shown = []
    for users in (3, 5):
        await platform.stored(course, "2026-11-25", "A", uniqueActiveUsers=users)
        shown.append((await report(reports, course, period=Request.LAST_7_DAYS)).days[-1].unique_users)
    assert [3, 5] == shown


class WithoutRedis(HotStore):
    """Redis is away."""

    async def time(self, _course_id: str) -> tuple[int, int]:
        raise RedisUnreachable


@pytest.mark.parametrize(
    ("who", "code"),
    [("creator", grpc.StatusCode.UNAVAILABLE), ("somebody else", grpc.StatusCode.PERMISSION_DENIED)],
)
async def test_permission_is_denied_even_while_redis_is_away(
    who: str, code: grpc.StatusCode, platform: Platform, redis_url: str, database: AsyncDatabase[Document]
) -> None:
    course = await platform.add_course(["A"])
    async with WithoutRedis(redis_url) as hot_store, serving(hot_store, ColdStore(database)) as callers:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await report(callers, course, token(course.creator if who == "creator" else str(ObjectId())))
    assert code is refused.value.code()


class ReadEarly(ColdStore):
    """Reads of MongoDB that were over before a flush which Redis then shows as done."""

    early: ColdCourse
    early_days: Documents

    async def read(self, *_: object) -> ColdCourse:
        return self.early

    async def days(self, *_: object) -> Documents:
        return self.early_days


async def test_a_flush_between_the_two_reads_leaves_no_dip(
    platform: Platform, redis_url: str, database: AsyncDatabase[Document]
) -> None:
    course = await platform.add_course(["A"])
    (lecture,) = course.lectures
    await recorded(platform, "2026-11-19")
    name, who, day = course.course_id, course.creator, "2026-11-25"
    cold_store = ReadEarly(database)
    real = ColdStore(database)
    stages = [documents.days(name, "2026-11-19", day), *documents.beginnings(name)]
    cold_store.early = await real.read(name, who, stages)
    cold_store.early_days = await real.days(name, day, day)
    stats = {lecture: {"views": 4, "totalWatchTime": 40}}
    await platform.stored(course, day, "A", totalViews=3, lectureViews=4, lectureStats=stats)
    await platform.cleared(course, "A", day)

    async with HotStoreAt(redis_url) as hot_store, serving(hot_store, cold_store) as callers:
        shown = await report(callers, course, period=Request.LAST_7_DAYS)

    assert (3, 4, 4) == (
        shown.overview.course_views,
        shown.overview.lecture_views,
        shown.engagement_funnel[0].views,
    )


async def test_users_that_no_document_has_yet_are_counted_although_nothing_is_hot(
    platform: Platform, reports: Dashboards
) -> None:
    course = await platform.add_course(["A"])
    await recorded(platform, "2026-11-19")
    saved = await platform.day_users(course, "2026-11-24", {1, 2})
    await platform.stored(course, "2026-11-24", "A", **saved)
    await platform.day_users(course, "2026-11-24", {2, 3, 4})
    await platform.redis.sadd(f"unsaved_users:{platform.braces(course)}", f"{course.course_id}/2026-11-24")
    shown = await report(reports, course)
    assert (4, 4) == (shown.overview.unique_users, {day.day: day.unique_users for day in shown.days}["2026-11-24"])


class Behind(ColdStore):
    """Reads whole days from a secondary that is behind, while it has any."""

    old_days: Documents | None = None

    async def days(self, *which: str) -> Documents:
        return self.old_days or await super().days(*which)


async def test_days_that_a_secondary_had_before_their_users_came_are_not_kept(
    platform: Platform, redis_url: str, database: AsyncDatabase[Document]
) -> None:
    course = await platform.add_course(["A"])
    await recorded(platform, "2026-11-19")
    cold_store = Behind(database)
    await platform.stored(course, "2026-11-25", "A", uniqueActiveUsers=3)
    before = await cold_store.days(course.course_id, "2026-11-25", "2026-11-25")
    await platform.stored(course, "2026-11-25", "A", uniqueActiveUsers=5)

    async with HotStoreAt(redis_url) as hot_store, serving(hot_store, cold_store) as callers:
        shown = []
        for cold_store.old_days in (before, None):
            answer = await report(callers, course, period=Request.LAST_7_DAYS)
            shown.append(answer.days[-1].unique_users)

    assert [3, 5] == shown
