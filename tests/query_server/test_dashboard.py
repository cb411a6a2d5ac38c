"""What the instructor sees, from real stores through a real server."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest
from bson import Int64, ObjectId
from course_analytics.v1 import dashboard_pb2

from shared.data import keys
from tests.query_server.conftest import Dashboards, token
from tests.query_server.platform import VIEWS, Platform, seconds, views


async def test_every_field_is_the_merge_of_both_stores(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["Welcome", "Basics"], ["Outlook"])
    welcome, basics, outlook = course.lectures
    stats = {welcome: {"views": 6, "totalWatchTime": 60}, basics: {"views": 3, "totalWatchTime": 45}}
    await platform.flushed(course, "A", lectures=stats, totalViews=10, uniqueActiveUsers=2)
    await platform.counting(course, "B", {VIEWS: 1, views(welcome): 2, seconds(welcome): 10, views(outlook): 1})
    await platform.visited_by(course, "ann", "bob", "eve", "kim")

    shown = await dashboards.of(course)

    expected = dashboard_pb2.GetCourseDashboardResponse(
        overview=dashboard_pb2.Overview(
            total_views=11,
            unique_active_users=4,
            total_watch_time_seconds=115,
            average_watch_time_seconds=28.75,
            drop_off_rate=0.875,
            most_watched_lecture=dashboard_pb2.MostWatchedLecture(
                lecture_id=welcome, title="Welcome", views=8, watch_time_seconds=70
            ),
            as_of=shown.overview.as_of,
        ),
        engagement_funnel=[
            dashboard_pb2.FunnelStep(
                lecture_id=welcome, title="Welcome", views=8, watch_time_seconds=70, retention_rate=1, drop_off_rate=0
            ),
            dashboard_pb2.FunnelStep(
                lecture_id=basics,
                title="Basics",
                views=3,
                watch_time_seconds=45,
                retention_rate=0.375,
                drop_off_rate=0.625,
            ),
            dashboard_pb2.FunnelStep(
                lecture_id=outlook,
                title="Outlook",
                views=1,
                watch_time_seconds=0,
                retention_rate=0.125,
                drop_off_rate=1 - 1 / 3,
            ),
        ],
    )
    assert expected == shown


async def test_a_course_that_nobody_has_seen_has_an_overview_of_zeros(
    platform: Platform, dashboards: Dashboards
) -> None:
    course = await platform.add_course(["Welcome"])
    shown = await dashboards.of(course)
    assert dashboard_pb2.Overview(as_of=shown.overview.as_of) == shown.overview
    assert shown.HasField("overview")
    assert [course.lectures[0]] == [step.lecture_id for step in shown.engagement_funnel]


async def test_a_course_without_sections_has_an_empty_funnel(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course()
    await platform.database["courses"].update_one({}, {"$unset": {"sections": 1}})
    await platform.counting(course, "A", {VIEWS: 1})
    shown = await dashboards.of(course)
    assert (1, []) == (shown.overview.total_views, list(shown.engagement_funnel))


async def test_as_of_is_the_time_by_the_clock_of_redis(platform: Platform, dashboards: Dashboards) -> None:
    def moment(time: tuple[int, int]) -> datetime:
        return datetime.fromtimestamp(time[0], UTC) + timedelta(microseconds=time[1])

    course = await platform.add_course()
    before = moment(await platform.redis.time())
    as_of = (await dashboards.of(course)).overview.as_of.ToDatetime(UTC)
    assert before <= as_of <= moment(await platform.redis.time())


async def test_a_lecture_that_left_the_course_is_in_the_totals_and_not_in_the_funnel(
    platform: Platform, dashboards: Dashboards
) -> None:
    course = await platform.add_course(["Welcome"])
    gone, gone_later = str(ObjectId()), str(ObjectId())
    await platform.flushed(course, "A", lectures={gone: {"views": 9, "totalWatchTime": 20}}, uniqueActiveUsers=10)
    await platform.counting(course, "B", {views(gone_later): 9, seconds(gone_later): 30})
    shown = await dashboards.of(course)
    assert (50, 5) == (shown.overview.total_watch_time_seconds, shown.overview.average_watch_time_seconds)
    assert course.lectures == [step.lecture_id for step in shown.engagement_funnel]
    assert not shown.overview.HasField("most_watched_lecture")


async def test_a_lecture_whose_document_is_missing_keeps_its_place(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["Welcome", "Basics", "Outlook"])
    await platform.database["lectures"].delete_one({"lectureTitle": "Basics"})
    shown = await dashboards.of(course)
    assert ["Welcome", "", "Outlook"] == [step.title for step in shown.engagement_funnel]


async def test_counts_that_are_being_flushed_are_shown(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course()
    await platform.flushed(course, "A", totalViews=100)
    await platform.flushing(course, "B", {VIEWS: 20})
    await platform.counting(course, "C", {VIEWS: 3})
    assert 123 == (await dashboards.of(course)).overview.total_views


async def test_counts_that_are_in_the_document_and_not_cleared_yet_are_shown_once(
    platform: Platform, dashboards: Dashboards
) -> None:
    course = await platform.add_course()
    await platform.flushed(course, "A", "B", totalViews=120)
    await platform.flushing(course, "B", {VIEWS: 20})
    await platform.counting(course, "C", {VIEWS: 3})
    assert 123 == (await dashboards.of(course)).overview.total_views


async def test_counts_that_mongodb_would_not_take_are_shown(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["Welcome"])
    await platform.quarantined(course, "A", {VIEWS: 1, seconds(course.lectures[0]): 5})
    await platform.quarantined(course, "B", {VIEWS: 20, seconds(course.lectures[0]): 7})
    await platform.flushed(course, "C", totalViews=300)
    shown = await dashboards.of(course)
    assert (321, 12) == (shown.overview.total_views, shown.overview.total_watch_time_seconds)


async def test_counts_that_mongodb_took_after_all_are_shown_once(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course()
    await platform.quarantined(course, "A", {VIEWS: 1})
    await platform.flushed(course, "A", totalViews=1)
    assert 1 == (await dashboards.of(course)).overview.total_views


async def test_counts_that_came_back_with_an_older_redis_are_not_shown_again(
    platform: Platform, dashboards: Dashboards
) -> None:
    course = await platform.add_course()
    await platform.quarantined(course, "A", {VIEWS: 1}, reason="resurrected")
    await platform.flushed(course, totalViews=1)  # A is so long ago that the document has forgotten its id
    assert 1 == (await dashboards.of(course)).overview.total_views


async def test_a_field_that_is_not_a_count_is_left_out(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["Welcome"])
    await platform.counting(course, "A", {VIEWS: 2})
    await platform.redis.hset(platform.key("course_counters", course), views(course.lectures[0]), "many")
    assert 2 == (await dashboards.of(course)).overview.total_views


async def test_users_are_the_saved_number_when_redis_has_lost_them(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course()
    await platform.flushed(course, "A", uniqueActiveUsers=3)
    await platform.visited_by(course, "ann")
    assert 3 == (await dashboards.of(course)).overview.unique_active_users


async def test_counts_saturate_and_the_rates_do_not(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["Welcome", "Basics"])
    first, second = course.lectures
    big, half = Int64(2**40), Int64(2**39)
    stats = {first: {"views": big, "totalWatchTime": big}, second: {"views": half, "totalWatchTime": 0}}
    await platform.flushed(course, "A", lectures=stats, totalViews=big, uniqueActiveUsers=big)
    shown = await dashboards.of(course)
    overview = shown.overview
    assert [2**31 - 1] * 3 == [overview.total_views, overview.unique_active_users, overview.most_watched_lecture.views]
    assert (2**40, 0.5) == (overview.total_watch_time_seconds, shown.engagement_funnel[1].retention_rate)


@pytest.mark.parametrize("lectures", [1_000, 5_000])
async def test_a_course_may_have_thousands_of_lectures(
    lectures: int, platform: Platform, dashboards: Dashboards
) -> None:
    titles = [f"Lecture {number}" for number in range(lectures)]
    course = await platform.add_course(*(titles[start : start + 50] for start in range(0, lectures, 50)))
    await platform.counting(course, "A", {views(lecture): 1 for lecture in course.lectures})
    shown = await dashboards.of(course)
    assert titles == [step.title for step in shown.engagement_funnel]
    assert {1} == {step.views for step in shown.engagement_funnel}


@pytest.mark.parametrize(
    "course_id",
    ["", "0" * 23, "0" * 25, "A" * 24, "g" * 24, "0" * 24 + "\n", " " + "0" * 23, "{" + "0" * 22 + "}"],
)
async def test_a_malformed_course_id_is_refused(course_id: str, dashboards: Dashboards) -> None:
    refused = await dashboards.refusal(course_id, token("ann"))
    assert (grpc.StatusCode.INVALID_ARGUMENT, "courseId: must be 24 lower-case hexadecimal digits") == (
        refused.code(),
        refused.details(),
    )


async def test_keys_and_fields_of_another_type_hold_nothing_and_the_rest_is_shown(
    platform: Platform, dashboards: Dashboards
) -> None:
    course = await platform.add_course(["Welcome"])
    await platform.flushed(course, "A", totalViews=10)
    await platform.database["courseanalytics"].update_many({}, {"$set": {"uniqueActiveUsers": "many"}})
    partition = keys.partition_of(course.course_id)
    for key in (keys.course_users, keys.course_counters, keys.quarantined_counters, keys.flushing_counters):
        await platform.redis.set(key(partition, course.course_id), "garbage")

    shown = await dashboards.of(course)

    assert (10, 0) == (shown.overview.total_views, shown.overview.unique_active_users)
