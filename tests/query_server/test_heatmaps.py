"""The heatmap from real stores, through a real server."""

import grpc
import pytest
from bson import ObjectId
from course_analytics.v1 import dashboard_pb2

from tests.query_server.conftest import Dashboards, token
from tests.query_server.platform import Course, Platform

Heatmap = dashboard_pb2.GetLectureHeatmapResponse


async def heatmap(dashboards: Dashboards, course: Course, lecture: str, bearer: str | None = None) -> Heatmap:
    request = dashboard_pb2.GetLectureHeatmapRequest(course_id=course.course_id, lecture_id=lecture)
    bearer = bearer or token(course.creator)
    return await dashboards.stub.GetLectureHeatmap(request, metadata=[("authorization", f"Bearer {bearer}")])


async def test_a_heatmap_is_the_merge_of_both_stores(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["Welcome"])
    (lecture,) = course.lectures
    segments = {"0": {"watched": 300, "views": 3}, "1": {"watched": 50, "views": 1}}
    await platform.stored(course, lecture, "A", playbacks=3, segments=segments, durations={"15": 3})
    await platform.tally(course, lecture, "flushing", "A", {"playbacks": 1})  # the document has it already
    await platform.tally(
        course, lecture, "counting", "B", {"playbacks": 1, "segment_views:0": 1, "segment_watched:0": 100}
    )
    await platform.tally(course, lecture, "quarantined", "C", {"segment_watched:1": 25})
    await platform.database["analyticssettings"].insert_one({"_id": "days", "recordedSince": "2026-11-20"})

    shown = await heatmap(dashboards, course, lecture)

    expected = Heatmap(
        lecture_id=lecture,
        title="Welcome",
        segment_seconds=10,
        duration_seconds=15,
        playbacks=4,
        segments=[
            dashboard_pb2.Segment(start_seconds=0, views=4, watched_seconds=40, retention_rate=1, passes=1),
            dashboard_pb2.Segment(start_seconds=10, views=1, watched_seconds=7.5, retention_rate=0.25, passes=1.5),
        ],
        largest_drop=dashboard_pb2.Drop(at_seconds=10, lost_rate=0.75),
        recorded_since="2026-11-20",
        as_of=shown.as_of,
    )
    assert expected == shown


async def test_a_heatmap_of_a_lecture_that_nobody_watched_has_no_duration(
    platform: Platform, dashboards: Dashboards
) -> None:
    course = await platform.add_course(["Welcome"])
    shown = await heatmap(dashboards, course, course.lectures[0])
    assert (False, False, "") == (
        shown.HasField("duration_seconds"),
        shown.HasField("largest_drop"),
        shown.recorded_since,
    )


async def test_days_are_recorded_since_the_first_also_when_it_is_not_flushed(
    platform: Platform, dashboards: Dashboards
) -> None:
    course = await platform.add_course(["Welcome"])
    since = []
    await platform.database["analyticssettings"].insert_one({"_id": "days", "recordedSince": "2026-11-20"})
    for day, kind in (("2026-11-19", "stored"), ("2026-11-18", "counting"), ("2026-11-21", "counting")):
        if kind == "stored":
            await platform.stored(course, day)
        else:
            await platform.tally(course, day, kind, "A", {"course_views": 1})
        since.append((await heatmap(dashboards, course, course.lectures[0])).recorded_since)
    assert ["2026-11-19", "2026-11-18", "2026-11-18"] == since


@pytest.mark.parametrize(
    ("who", "lecture", "code"),
    [
        ("creator", "0" * 24, grpc.StatusCode.NOT_FOUND),
        ("creator", "no id", grpc.StatusCode.INVALID_ARGUMENT),
        ("somebody else", "0" * 24, grpc.StatusCode.PERMISSION_DENIED),
    ],
)
async def test_errors_are_those_of_a_dashboard_and_the_owner_comes_before_the_lecture(
    who: str, lecture: str, code: grpc.StatusCode, platform: Platform, dashboards: Dashboards
) -> None:
    course = await platform.add_course(["Welcome"])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await heatmap(dashboards, course, lecture, token(course.creator if who == "creator" else str(ObjectId())))
    assert code is refused.value.code()
