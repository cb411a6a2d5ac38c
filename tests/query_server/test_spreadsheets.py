"""Files for spreadsheets: the numbers of the answer, and nothing that runs."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from course_analytics.v1 import dashboard_pb2
from hypothesis import given
from hypothesis import strategies as st

from query_server.spreadsheets import heatmap_file, report_file
from tests.query_server.conftest import TODAY, Dashboards, recorded, report, token
from tests.query_server.platform import Course, Platform

Step = dashboard_pb2.FunnelStep
Report = dashboard_pb2.GetCourseReportResponse

NASTY = (
    '=HYPERLINK("http://x","y")',
    "+1",
    "-1",
    "@SUM(A1)",
    "\tx",
    "\rx",
    'a "b", c',
    "two\nlines",
    "עברית",
    "x" * 300,
)


def rows(data: bytes) -> list[list[str]]:
    assert data.startswith("\ufeff".encode())
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize("title", NASTY)
def test_a_title_survives_and_runs_nothing(title: str) -> None:
    data = report_file(Report(engagement_funnel=[Step(lecture_id="a" * 24, title=title, views=1)]), "funnel")
    (_, (_, shown, *_)) = rows(data)
    assert shown in {title, f"'{title}"}
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r"))


@given(st.lists(st.text(), max_size=4))
def test_any_titles_come_back_cell_by_cell(titles: Sequence[str]) -> None:
    steps = [Step(title=title.encode("utf-8", "replace").decode()) for title in titles]
    shown = [row[1] for row in rows(report_file(Report(engagement_funnel=steps), "funnel"))[1:]]
    assert [step.title for step in steps] == [
        title[1:] if title[:1] == "'" and title[1:2] in set("=+-@\t\r") else title for title in shown
    ]


def test_lines_end_as_rfc_4180_says_and_numbers_are_plain() -> None:
    segments = [dashboard_pb2.Segment(start_seconds=10, views=1234567, watched_seconds=0.5, retention_rate=1, passes=2)]
    data = heatmap_file(dashboard_pb2.GetLectureHeatmapResponse(segments=segments))
    expected = "\ufeffstartSeconds,views,watchedSeconds,retentionRate,passes\r\n10,1234567,0.5,1,2\r\n"
    assert expected.encode() == data


def asked(course: Course, **fields: Any) -> dashboard_pb2.ExportCourseReportRequest:
    return dashboard_pb2.ExportCourseReportRequest(course_id=course.course_id, **fields)


def metadata(course: Course) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token(course.creator)}")]


async def test_a_file_has_the_rows_of_the_answer(platform: Platform, reports: Dashboards) -> None:
    course = await platform.add_course(["A", "=B"])
    await recorded(platform, "2026-11-20")
    first = course.lectures[0]
    stats = {first: {"views": 4, "totalWatchTime": 40.5}}
    await platform.stored(course, "2026-11-25", "A", lectureViews=4, watchTime=40.5, lectureStats=stats)
    await platform.tally(course, "2026-11-24", "counting", "B", {"course_views": 1, "not_counted:OVERLOADED": 2})
    shown = await report(reports, course)

    tables = {}
    for table in ("", "days", "funnel", "notCounted"):
        call = reports.stub.ExportCourseReport(asked(course, table=table), metadata=metadata(course))
        tables[table] = rows((await call).data)

    assert tables["days"] == tables[""]
    assert [
        [day.day, f"{day.course_views}", f"{day.unique_users}", f"{day.watch_time_seconds:g}", f"{day.lecture_views}"]
        for day in shown.days
    ] == tables["days"][1:]
    assert [first, "A", "4", "40.5", "1", "0"] == tables["funnel"][1]
    assert "'=B" == tables["funnel"][2][1]
    assert [["reason", "events", "seconds"], ["OVERLOADED", "2", "0"]] == tables["notCounted"]


async def test_a_file_is_a_csv_attachment_that_is_never_cached(
    platform: Platform,
    reports: Dashboards,
) -> None:
    course = await platform.add_course(["A"])
    call = reports.stub.ExportCourseReport(
        asked(course, from_day="2026-11-01", to_day="2026-11-02"), metadata=metadata(course)
    )
    answered = dict(await call.initial_metadata())
    name = f"{course.course_id}-days-2026-11-01-2026-11-02.csv"
    assert f'attachment; filename="{name}"' == answered["content-disposition"]
    assert "no-store" == answered["cache-control"]
    assert "text/csv; charset=utf-8" == (await call).content_type


async def test_a_heatmap_is_a_file_too(platform: Platform, reports: Dashboards) -> None:
    course = await platform.add_course(["A"])
    (lecture,) = course.lectures
    await platform.stored(course, lecture, "A", playbacks=2, segments={"0": {"watched": 100, "views": 2}})
    request = dashboard_pb2.ExportLectureHeatmapRequest(course_id=course.course_id, lecture_id=lecture)
    call = reports.stub.ExportLectureHeatmap(request, metadata=metadata(course))
    assert ["0", "2", "10", "1", "0.5"] == rows((await call).data)[1]


async def test_no_answer_is_ever_cached(platform: Platform, reports: Dashboards) -> None:
    course = await platform.add_course(["A"])
    id_, who = course.course_id, metadata(course)
    calls: list[Any] = [
        reports.stub.GetCourseDashboard(dashboard_pb2.GetCourseDashboardRequest(course_id=id_), metadata=who),
        reports.stub.GetCourseReport(dashboard_pb2.GetCourseReportRequest(course_id=id_), metadata=who),
        reports.stub.ListCourses(dashboard_pb2.ListCoursesRequest(), metadata=who),
        reports.stub.GetLectureHeatmap(
            dashboard_pb2.GetLectureHeatmapRequest(course_id=id_, lecture_id=course.lectures[0]), metadata=who
        ),
    ]
    assert {"no-store"} == {dict(await call.initial_metadata())["cache-control"] for call in calls}


@pytest.mark.parametrize("fields", [{"table": "today"}, {"from_day": TODAY, "to_day": TODAY}])
async def test_a_table_that_there_is_not_is_refused(
    fields: dict[str, str],
    platform: Platform,
    reports: Dashboards,
) -> None:
    course = await platform.add_course(["A"])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await reports.stub.ExportCourseReport(asked(course, **fields), metadata=metadata(course))
    assert grpc.StatusCode.INVALID_ARGUMENT is refused.value.code()
