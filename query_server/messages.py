"""The answers as messages. Pure.

Counts saturate at 32 bits: JSON prints larger integers as strings, which callers do not expect.
"""

from collections.abc import Sequence
from typing import Any

from course_analytics.v1 import dashboard_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from query_server.courses import Summary
from query_server.funnel import Dashboard, Funnel
from query_server.heatmap import SEGMENT_SECONDS, Heatmap, Segment
from query_server.merge import Hot
from query_server.outline import Lecture, Outline
from query_server.report import Day, Overview, Refused
from query_server.reports import Report
from query_server.sketches import STANDARD_ERROR

MAX_INT32 = 2**31 - 1
MOST_DAYS_WITH_FUNNEL = 92


def as_of(hot: Hot) -> Timestamp:
    """When Redis was read, by its clock."""
    return Timestamp(seconds=hot.seconds, nanos=hot.microseconds * 1000)


def dashboard_message(
    dashboard: Dashboard, outline: Outline, moment: Timestamp
) -> dashboard_pb2.GetCourseDashboardResponse:
    """The answer of GetCourseDashboard."""
    return dashboard_pb2.GetCourseDashboardResponse(
        overview=dashboard_pb2.Overview(
            total_views=int32(dashboard.total_views),
            unique_active_users=int32(dashboard.users),
            total_watch_time_seconds=dashboard.watch_seconds,
            average_watch_time_seconds=dashboard.average_watch_seconds,
            drop_off_rate=dashboard.drop_off_rate,
            most_watched_lecture=most_watched(dashboard.most_watched, dashboard.funnel, outline),
            as_of=moment,
        ),
        engagement_funnel=funnel_steps(dashboard.funnel, outline),
    )


def most_watched(place: int | None, funnel: Funnel, outline: Outline) -> dashboard_pb2.MostWatchedLecture | None:
    """The lecture at a place of the funnel."""
    if place is None:
        return None
    return dashboard_pb2.MostWatchedLecture(
        lecture_id=outline[place].lecture_id,
        title=outline[place].title,
        views=int32(funnel.views[place]),
        watch_time_seconds=funnel.watch_seconds[place],
    )


def funnel_steps(funnel: Funnel, outline: Outline) -> Any:  # noqa: ANN401 - to the type checker they have to be messages
    """Each FunnelStep as a dict, which the enclosing message accepts too, in half the time."""
    columns = (funnel.views, funnel.watch_seconds, funnel.retention_rates, funnel.drop_off_rates)
    return [
        {
            "lecture_id": lecture_id,
            "title": title,
            "views": min(views, MAX_INT32),  # inline: a call would cost as much as the rest
            "watch_time_seconds": watched,
            "retention_rate": kept,
            "drop_off_rate": lost,
        }
        for (lecture_id, title), views, watched, kept, lost in zip(outline, *columns, strict=True)
    ]


def heatmap_message(
    heatmap: Heatmap, lecture: Lecture, recorded_since: str, moment: Timestamp
) -> dashboard_pb2.GetLectureHeatmapResponse:
    """The answer of GetLectureHeatmap."""
    drop = heatmap.largest_drop
    return dashboard_pb2.GetLectureHeatmapResponse(
        lecture_id=lecture.lecture_id,
        title=lecture.title,
        segment_seconds=SEGMENT_SECONDS,
        duration_seconds=heatmap.duration,
        playbacks=int32(heatmap.playbacks),
        segments=_segments(heatmap.segments),
        most_rewatched=[
            dashboard_pb2.Stretch(
                from_seconds=stretch.start,
                to_seconds=stretch.end,
                passes=stretch.passes,
                views=int32(stretch.views),
            )
            for stretch in heatmap.most_rewatched
        ],
        largest_drop=dashboard_pb2.Drop(at_seconds=drop.at, lost_rate=drop.lost_rate) if drop else None,
        recorded_since=recorded_since,
        as_of=moment,
    )


def report_message(report: Report) -> dashboard_pb2.GetCourseReportResponse:
    """The answer of GetCourseReport."""
    today = report.today
    return dashboard_pb2.GetCourseReportResponse(
        range=dashboard_pb2.ReportRange(
            from_day=report.stretch.first,
            to_day=report.stretch.last,
            days=len(report.stretch),
            day_zone=report.zone,
            recorded_since=report.recorded_since,
            final=report.final,
        ),
        overview=_overview(report.overview, report.outline),
        previous=_overview(report.previous, report.outline) if report.previous else None,
        days=[_numbers(day) for day in report.days],
        today=dashboard_pb2.Today(**_numbers(today), not_counted=not_counted(today.refused)),
        engagement_funnel=funnel_steps(report.overview.funnel, report.outline) if has_funnel(report) else [],
        not_counted=not_counted(report.refused),
        as_of=Timestamp(seconds=report.seconds, nanos=report.microseconds * 1000),
    )


def courses_message(courses: Sequence[Summary], next_page_token: str) -> dashboard_pb2.ListCoursesResponse:
    """The answer of ListCourses."""
    return dashboard_pb2.ListCoursesResponse(
        courses=[
            dashboard_pb2.CourseSummary(
                course_id=course.course_id,
                title=course.title,
                total_views=int32(course.views),
                unique_active_users=int32(course.users),
                total_watch_time_seconds=course.watch_seconds,
                last28_days=_last_days(course),
            )
            for course in courses
        ],
        next_page_token=next_page_token,
    )


def has_funnel(report: Report) -> bool:
    """Whether the range is short enough to show each lecture."""
    return len(report.stretch) <= MOST_DAYS_WITH_FUNNEL


def not_counted(refused: Refused) -> list[dashboard_pb2.NotCounted]:
    """What was not counted, in the order of the reasons; skips unknown reasons."""
    return [
        dashboard_pb2.NotCounted(reason=value, events=int32(refused[name][0]), seconds=refused[name][1])
        for name, value in dashboard_pb2.NotCounted.Reason.items()
        if name in refused
    ]


def _overview(overview: Overview, outline: Outline) -> dashboard_pb2.ReportOverview:
    return dashboard_pb2.ReportOverview(
        course_views=int32(overview.course_views),
        unique_users=int32(overview.users),
        unique_users_standard_error=STANDARD_ERROR,
        watch_time_seconds=overview.watch_seconds,
        average_watch_time_seconds=overview.average_watch_seconds,
        lecture_views=int32(overview.lecture_views),
        drop_off_rate=overview.drop_off_rate,
        most_watched_lecture=most_watched(overview.most_watched, overview.funnel, outline),
    )


def _segments(segments: Sequence[Segment]) -> Any:  # noqa: ANN401 - dicts, as in `funnel_steps`
    return [
        {
            "start_seconds": start,
            "views": min(views, MAX_INT32),
            "watched_seconds": watched,
            "retention_rate": kept,
            "passes": passes,
        }
        for start, _, views, watched, kept, passes in segments
    ]


def _last_days(course: Summary) -> Any:  # noqa: ANN401 - dicts, as in `funnel_steps`
    return [{"day": day, "lecture_views": min(views, MAX_INT32)} for day, views in course.last_days]


def _numbers(day: Day) -> Any:  # noqa: ANN401 - a dict, as in `funnel_steps`: what ReportDay and Today share
    return {
        "day": day.day,
        "course_views": min(day.course_views, MAX_INT32),
        "unique_users": min(day.users, MAX_INT32),
        "watch_time_seconds": day.watch_seconds,
        "lecture_views": min(day.lecture_views, MAX_INT32),
    }


def int32(count: int) -> int:
    """The count, or the largest that fits into a message."""
    return min(count, MAX_INT32)
