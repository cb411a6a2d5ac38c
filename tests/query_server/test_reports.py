"""Reports from real stores, through a real server."""

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import pytest
from bson import ObjectId
from course_analytics.v1 import dashboard_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.asynchronous.database import AsyncDatabase

from shared.data.days import day_after, start_of
from shared.stores.mongo import Document
from tests.query_server.conftest import (
    NOON,
    TODAY,
    Dashboards,
    recorded,
    report,
    reports_at,
    token,
)
from tests.query_server.diary import DAYS, Diary, diaries, document_of, total
from tests.query_server.platform import Course, Platform

Request = dashboard_pb2.GetCourseReportRequest


async def write(platform: Platform, course: Course, diary: Diary) -> None:
    """The events of the diary, each where its batch is."""
    names = {lecture: course.lectures[number] for number, lecture in enumerate(("a" * 24, "b" * 24, "c" * 24))}

    def renamed(counted: Mapping[str, int]) -> dict[str, int]:
        return {":".join(names.get(part, part) for part in name.split(":")): count for name, count in counted.items()}

    for day, places in diary.batches().items():
        stored = document_of(type(places["cold"])(renamed(places["cold"] + places["both"])))
        saved = await platform.day_users(course, day, diary.users(day, places=("cold", "both")))
        await platform.stored(course, day, "cold", "both", **stored, **saved)
        await platform.day_users(course, day, diary.users(day))
        for place in ("counting", "flushing", "quarantined"):
            if places[place]:
                await platform.tally(course, day, place, place, renamed(places[place]))
        if places["both"] and not places["flushing"]:
            await platform.tally(course, day, "flushing", "both", renamed(places["both"]))


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(diaries(), st.lists(st.integers(0, DAYS - 1), min_size=2, max_size=2))
async def test_a_report_of_any_range_is_what_a_list_of_the_events_says(
    platform: Platform, database: AsyncDatabase[Document], redis_url: str, diary: Diary, ends: list[int]
) -> None:
    course = await platform.add_course(["A", "B"], ["C"])
    await write(platform, course, diary)
    await recorded(platform, day_after(diary.first, -1))
    first, last = sorted(ends)
    shown_days = diary.days[first : last + 1]
    now = start_of(day_after(diary.first, DAYS), diary.zone)

    async with reports_at(redis_url, database, now, diary.zone) as callers:
        shown = await report(callers, course, from_day=shown_days[0], to_day=shown_days[-1])
        again = await report(callers, course, from_day=shown_days[0], to_day=shown_days[-1])

    assert shown == again
    assert [
        (day, counted["course_views"], total(counted, "lecture_watchtime"), total(counted, "lecture_views"))
        for day in shown_days
        for counted in [diary.counted(day)]
    ] == [(day.day, day.course_views, day.watch_time_seconds, day.lecture_views) for day in shown.days]
    counted = diary.counted(*shown_days)
    assert [
        (counted[f"lecture_views:{lecture}"], counted[f"lecture_watchtime:{lecture}"])
        for lecture in ("a" * 24, "b" * 24, "c" * 24)
    ] == [(step.views, step.watch_time_seconds) for step in shown.engagement_funnel]
    reason = dashboard_pb2.NotCounted.Reason.Name
    assert {
        name.partition(":")[2]: (count, counted[name.replace("counted", "counted_seconds")])
        for name, count in counted.items()
        if name.startswith("not_counted:")
    } == {reason(each.reason): (each.events, each.seconds) for each in shown.not_counted}
    # Of so few users a HyperLogLog is off by one at most.
    assert len(diary.users(*shown_days)) == pytest.approx(shown.overview.unique_users, abs=1)
    for day in shown.days:
        assert len(diary.users(day.day)) == pytest.approx(day.unique_users, abs=1)


async def test_a_report_has_a_range_its_days_and_today_apart(platform: Platform, reports: Dashboards) -> None:
    course = await platform.add_course(["A", "B"])
    a, b = course.lectures
    await recorded(platform, "2026-11-19")
    stats = {a: {"views": 4, "totalWatchTime": 40}, b: {"views": 1, "totalWatchTime": 2}}
    await platform.stored(
        course, "2026-11-25", "A", totalViews=3, lectureViews=5, watchTime=42, lectureStats=stats, uniqueActiveUsers=3
    )
    await platform.stored(course, "2026-11-20", "A", totalViews=1)
    await platform.tally(course, TODAY, "counting", "B", {"course_views": 9, "not_counted:OVERLOADED": 2})

    shown = await report(reports, course, period=Request.LAST_7_DAYS)

    expected_range = dashboard_pb2.ReportRange(
        from_day="2026-11-19",
        to_day="2026-11-25",
        days=7,
        day_zone="UTC",
        recorded_since="2026-11-19",
        final=False,
    )
    assert expected_range == shown.range
    assert [f"2026-11-{day}" for day in range(19, 26)] == [day.day for day in shown.days]
    assert dashboard_pb2.ReportOverview(
        course_views=4,
        unique_users=3,
        unique_users_standard_error=0.0081,
        watch_time_seconds=42,
        average_watch_time_seconds=14,
        lecture_views=5,
        drop_off_rate=0.75,
        most_watched_lecture=dashboard_pb2.MostWatchedLecture(lecture_id=a, title="A", views=4, watch_time_seconds=40),
    ) == (shown.overview)
    assert not shown.HasField("previous")
    refused = dashboard_pb2.NotCounted(reason=dashboard_pb2.NotCounted.OVERLOADED, events=2)
    assert dashboard_pb2.Today(day=TODAY, course_views=9, not_counted=[refused]) == shown.today
    assert (NOON, 250_000_000) == (shown.as_of.seconds, shown.as_of.nanos)


async def test_days_begin_when_recording_does_and_so_does_the_stretch_before(
    platform: Platform, reports: Dashboards
) -> None:
    course = await platform.add_course(["A"])
    shown = []
    for since in ("2026-11-22", "2026-11-12"):
        await recorded(platform, since)
        shown.append(await report(reports, course, period=Request.LAST_7_DAYS))
    assert [4, 7] == [len(each.days) for each in shown]
    assert [False, True] == [each.HasField("previous") for each in shown]
    assert [7, 7] == [each.range.days for each in shown]


async def test_the_stretch_before_is_what_a_report_of_it_says(platform: Platform, reports: Dashboards) -> None:
    course = await platform.add_course(["A"])
    await recorded(platform, "2026-01-01")
    stats = {course.lectures[0]: {"views": 4, "totalWatchTime": 40}}
    await platform.stored(course, "2026-11-12", "A", totalViews=3, lectureViews=4, watchTime=40, lectureStats=stats)
    await platform.tally(course, "2026-11-18", "counting", "B", {"course_views": 5})
    shown = await report(reports, course, period=Request.LAST_7_DAYS)
    before = await report(reports, course, from_day="2026-11-12", to_day="2026-11-18")
    assert (8, before.overview) == (shown.previous.course_views, shown.previous)


async def test_without_any_day_there_are_none_and_today_is_zero(platform: Platform, reports: Dashboards) -> None:
    course = await platform.add_course(["A"])
    shown = await report(reports, course)
    assert ("", [], 28) == (shown.range.recorded_since, list(shown.days), shown.range.days)
    assert dashboard_pb2.Today(day=TODAY) == shown.today
    assert 0.0081 == shown.overview.unique_users_standard_error


async def test_a_report_begins_with_a_day_that_is_in_redis_alone(platform: Platform, reports: Dashboards) -> None:
    course = await platform.add_course(["A"])
    await platform.tally(course, "2026-11-20", "counting", "B", {"course_views": 1})
    shown = await report(reports, course, period=Request.LAST_7_DAYS)
    assert ("2026-11-20", 6, 1) == (shown.range.recorded_since, len(shown.days), shown.overview.course_views)


async def test_the_funnel_is_of_at_most_92_days(platform: Platform, reports: Dashboards) -> None:
    course = await platform.add_course(["A"])
    await recorded(platform, "2025-01-01")
    stats = {course.lectures[0]: {"views": 4, "totalWatchTime": 40}}
    await platform.stored(course, "2026-11-25", "A", lectureViews=4, lectureStats=stats)
    short = await report(reports, course, from_day="2026-08-26", to_day="2026-11-25")
    longer = await report(reports, course, from_day="2026-08-25", to_day="2026-11-25")
    assert (92, 1, 93, 0) == (
        short.range.days,
        len(short.engagement_funnel),
        longer.range.days,
        len(longer.engagement_funnel),
    )
    assert 4 == longer.overview.most_watched_lecture.views


async def test_a_range_is_final_when_it_is_over_since_a_day_and_redis_holds_nothing_of_it(
    platform: Platform, reports: Dashboards
) -> None:
    course = await platform.add_course(["A"])
    await recorded(platform, "2026-11-01")

    async def final(last: str) -> bool:
        return (await report(reports, course, from_day="2026-11-20", to_day=last)).range.final

    assert (True, False) == (await final("2026-11-24"), await final("2026-11-25"))
    unsaved = f"unsaved_users:{platform.braces(course)}"
    await platform.redis.sadd(unsaved, f"{course.course_id}/2026-11-21")
    assert not await final("2026-11-24")
    await platform.redis.delete(unsaved)
    assert await final("2026-11-24")
    await platform.quarantined(course, "A", {}, reason="resurrected", item="2026-11-23")
    assert not await final("2026-11-24")


@pytest.mark.parametrize(
    ("who", "fields", "code"),
    [
        ("creator", {"period": 9}, grpc.StatusCode.INVALID_ARGUMENT),
        ("creator", {"from_day": TODAY, "to_day": TODAY}, grpc.StatusCode.INVALID_ARGUMENT),
        ("somebody else", {}, grpc.StatusCode.PERMISSION_DENIED),
    ],
)
async def test_errors_are_those_of_a_dashboard(
    who: str, fields: dict[str, Any], code: grpc.StatusCode, platform: Platform, reports: Dashboards
) -> None:
    course = await platform.add_course(["A"])
    bearer = token(course.creator if who == "creator" else str(ObjectId()))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await report(reports, course, bearer, **fields)
    assert code is refused.value.code()


async def test_today_is_the_day_of_redis_in_the_zone(
    platform: Platform, redis_url: str, database: AsyncDatabase[Document]
) -> None:
    course = await platform.add_course(["A"])
    zone = ZoneInfo("Asia/Kathmandu")
    shown = []
    for seconds in (start_of("2026-11-26", zone) - 1, start_of("2026-11-26", zone)):
        async with reports_at(redis_url, database, seconds, zone) as callers:
            shown.append((await report(callers, course)).today.day)
    assert ["2026-11-25", "2026-11-26"] == shown


async def test_every_bad_field_is_named(platform: Platform, reports: Dashboards) -> None:
    course = await platform.add_course(["A"])
    request = dashboard_pb2.ExportCourseReportRequest(course_id="no id", from_day="yesterday", table="nope")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await reports.stub.ExportCourseReport(request, metadata=[("authorization", f"Bearer {token(course.creator)}")])
    named = [part.partition(":")[0] for part in (refused.value.details() or "").split("; ")]
    assert ["courseId", "fromDay", "table"] == named
