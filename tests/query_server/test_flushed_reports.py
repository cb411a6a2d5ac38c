"""A report says the same before, during and after a flush, and when Redis has lost everything since."""

import asyncio
from typing import Any

from course_analytics.v1 import dashboard_pb2
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from pymongo.asynchronous.database import AsyncDatabase

from flusher.cycle import Flusher
from flusher.steps.wave import Stores
from shared.data.days import day_after, start_of
from shared.settings import Barrier
from shared.stores.mongo import Document
from tests.query_server.conftest import Dashboards, recorded, report, reports_at, token
from tests.query_server.diary import DAYS, Diary, diaries
from tests.query_server.platform import Course, Platform


async def count(platform: Platform, course: Course, diary: Diary) -> None:
    """The events as ingest leaves them: all of them hot."""
    names = dict(zip(("a" * 24, "b" * 24, "c" * 24), course.lectures, strict=True))
    for day in diary.days:
        counted = diary.counted(day)
        fields = {
            ":".join(names.get(part, part) for part in name.split(":")): number for name, number in counted.items()
        }
        if fields:
            await platform.tally(course, day, "counting", f"of {day}", fields)
            await platform.redis.sadd(f"unsaved_users:{platform.braces(course)}", f"{course.course_id}/{day}")
        if users := diary.users(day):
            await platform.day_users(course, day, users)


def without_moment(answer: Any) -> Message:
    answer.ClearField("as_of")
    answer.range.ClearField("final")
    return answer  # type: ignore[no-any-return] # the same message


@settings(max_examples=6, suppress_health_check=list(HealthCheck))
@given(diaries())
async def test_a_report_says_the_same_whatever_a_flush_has_done(
    platform: Platform, database: AsyncDatabase[Document], redis_url: str, diary: Diary
) -> None:
    course = await platform.add_course(["A", "B"], ["C"])
    await recorded(platform, day_after(diary.first, -1))
    await database["analyticssettings"].update_one({"_id": "days"}, {"$set": {"zone": diary.zone.key}})
    await count(platform, course, diary)
    now = start_of(day_after(diary.first, DAYS), diary.zone)
    stores = Stores(redis_url, database, Barrier("aof"), lock_ttl=60.0, day_zone=diary.zone)
    fields = {"from_day": diary.days[0], "to_day": diary.days[-1]}

    async with reports_at(redis_url, database, now, diary.zone) as callers:
        before = await report(callers, course, **fields)
        flush = asyncio.create_task(Flusher(stores).cycle(asyncio.Event(), everything=True))
        while not flush.done():
            await equal_everywhere(callers, course, before, **fields)
        await flush
        after = await report(callers, course, **fields)
        await platform.redis.flushdb()
        without_redis = await report(callers, course, **fields)

    assert without_moment(before) == without_moment(after) == without_moment(without_redis)


async def equal_everywhere(
    callers: Dashboards, course: Course, expected: dashboard_pb2.GetCourseReportResponse, **fields: str
) -> None:
    """The answer and the file, while a flush is at work."""
    shown = await report(callers, course, **fields)
    assert expected.days == shown.days
    assert expected.engagement_funnel == shown.engagement_funnel
    assert expected.not_counted == shown.not_counted
    request = dashboard_pb2.ExportCourseReportRequest(course_id=course.course_id, **fields)  # type: ignore[arg-type] # fields of a message
    who = [("authorization", f"Bearer {token(course.creator)}")]
    file = await callers.stub.ExportCourseReport(request, metadata=who)
    lines = file.data.decode("utf-8-sig").splitlines()[1:]
    assert [day.lecture_views for day in expected.days] == [int(line.split(",")[-1]) for line in lines]
