"""The gRPC service: checks the request, reads, merges, answers."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from course_analytics.v1 import dashboard_pb2
from google.api.httpbody_pb2 import HttpBody

from query_server import documents, messages, pages, spreadsheets
from query_server.cold import ColdStore, Course
from query_server.courses import Courses
from query_server.funnel import dashboard_of
from query_server.heatmap import heatmap_of
from query_server.hot import HotStore
from query_server.merge import Hot, counts_of, totals_of
from query_server.metrics import MERGE_SECONDS
from query_server.outline import Lecture, Outline
from query_server.reading import Question, deadline, read_both, read_course
from query_server.recorded import recorded_since
from query_server.reports import Reports, Request
from shared.data.tallies import LECTURE, lecture_tally
from shared.identity.auth import Caller
from shared.serving import periods
from shared.serving.errors import InvalidRequest, NotFound, Violation
from shared.serving.methods import Context
from shared.serving.validation import check_object_id

# A dashboard of this many lectures takes 2 ms; larger ones must not delay other calls.
MANY_LECTURES = 400

# The numbers of one moment for one caller: browsers and proxies must not cache them.
NO_STORE = ("cache-control", "no-store")


class DashboardServicer:
    """Shows instructors their own courses."""

    def __init__(
        self, hot_store: HotStore, cold_store: ColdStore, reports: Reports, courses: Courses, aside: Executor
    ) -> None:
        self._hot_store = hot_store
        self._cold_store = cold_store
        self._reports = reports
        self._courses = courses
        self._aside = aside

    async def GetCourseDashboard(
        self, request: dashboard_pb2.GetCourseDashboardRequest, caller: Caller, context: Context
    ) -> dashboard_pb2.GetCourseDashboardResponse:
        """The live numbers of one course."""
        _check_ids(courseId=request.course_id)
        hot, course = await read_course(self._hot_store, self._cold_store, request.course_id, caller.user_id)
        with MERGE_SECONDS.time():
            if len(course.outline) > MANY_LECTURES:
                answer = await asyncio.get_running_loop().run_in_executor(self._aside, _dashboard, hot, course)
            else:
                answer = _dashboard(hot, course)
        await context.send_initial_metadata([NO_STORE])
        return answer

    async def ListCourses(
        self, request: dashboard_pb2.ListCoursesRequest, caller: Caller, context: Context
    ) -> dashboard_pb2.ListCoursesResponse:
        """The caller's courses, a page at a time."""
        _check(lambda: pages.size_of(request.page_size), lambda: pages.last_of(request.page_token, caller.user_id))
        page = await self._courses.page(caller.user_id, request.page_size, request.page_token)
        await context.send_initial_metadata([NO_STORE])
        return messages.courses_message(*page)

    async def GetCourseReport(
        self, request: dashboard_pb2.GetCourseReportRequest, caller: Caller, context: Context
    ) -> dashboard_pb2.GetCourseReportResponse:
        """The numbers of a range of days, and of the equally long range right before it."""
        report = await self._report(request, caller)
        await context.send_initial_metadata([NO_STORE])
        return report

    async def GetLectureHeatmap(
        self, request: dashboard_pb2.GetLectureHeatmapRequest, caller: Caller, context: Context
    ) -> dashboard_pb2.GetLectureHeatmapResponse:
        """Which parts of a lecture's video are watched."""
        heatmap = await self._heatmap(request.course_id, request.lecture_id, caller.user_id)
        await context.send_initial_metadata([NO_STORE])
        return heatmap

    async def ExportCourseReport(
        self, request: dashboard_pb2.ExportCourseReportRequest, caller: Caller, context: Context
    ) -> HttpBody:
        """A table of the report as a file."""
        report = await self._report(request, caller, lambda: spreadsheets.check_table(request.table))
        table = spreadsheets.check_table(request.table)
        name = f"{request.course_id}-{table}-{report.range.from_day}-{report.range.to_day}"
        return await _attached(context, name, spreadsheets.report_file(report, table))

    async def ExportLectureHeatmap(
        self, request: dashboard_pb2.ExportLectureHeatmapRequest, caller: Caller, context: Context
    ) -> HttpBody:
        """The segments of the heatmap as a file."""
        heatmap = await self._heatmap(request.course_id, request.lecture_id, caller.user_id)
        name = f"{request.course_id}-{request.lecture_id}-heatmap"
        return await _attached(context, name, spreadsheets.heatmap_file(heatmap))

    async def _report(
        self, request: Request, caller: Caller, *checks: Callable[[], object]
    ) -> dashboard_pb2.GetCourseReportResponse:
        _check(
            lambda: _check_ids(courseId=request.course_id),
            lambda: periods.check_form(request.period, request.from_day, request.to_day),
            *checks,
        )
        return messages.report_message(await self._reports.read(request, caller.user_id))

    async def _heatmap(self, course_id: str, lecture_id: str, user_id: str) -> dashboard_pb2.GetLectureHeatmapResponse:
        _check_ids(courseId=course_id, lectureId=lecture_id)
        tally = lecture_tally(course_id, lecture_id)
        question = Question(course_id, user_id, [documents.lecture(tally), *documents.beginnings(course_id)])
        hot, course = await read_both(self._hot_store.read_lecture(tally), self._cold_store, question, deadline())
        lecture = _lecture(course.outline, lecture_id)
        with MERGE_SECONDS.time():
            counts = counts_of(LECTURE, hot.tallies[tally.name], course.documents.get(tally.name, {}))
            since = recorded_since(course.documents, hot.first_day)
            return messages.heatmap_message(heatmap_of(counts), lecture, since, messages.as_of(hot.tallies[tally.name]))


def _dashboard(hot: Hot, course: Course) -> dashboard_pb2.GetCourseDashboardResponse:
    dashboard = dashboard_of(totals_of(hot, course.analytics), course.outline)
    return messages.dashboard_message(dashboard, course.outline, messages.as_of(hot))


async def _attached(context: Context, name: str, data: bytes) -> HttpBody:
    await context.send_initial_metadata([NO_STORE, spreadsheets.disposition(name)])
    return HttpBody(content_type=spreadsheets.CONTENT_TYPE, data=data)


def _check(*checks: Callable[[], object]) -> None:
    """Runs all checks. Raises one InvalidRequest with the violations of all of them."""
    violations: list[Violation] = []
    for check in checks:
        try:
            check()
        except InvalidRequest as refused:
            violations += refused.violations
    if violations:
        raise InvalidRequest(violations)


def _check_ids(**ids: str) -> None:
    """Raises InvalidRequest, which names every malformed id."""
    violations = [check_object_id(field, value) for field, value in ids.items()]
    if any(violations):
        raise InvalidRequest([violation for violation in violations if violation is not None])


def _lecture(outline: Outline, lecture_id: str) -> Lecture:
    for lecture in outline:
        if lecture.lecture_id == lecture_id:
            return lecture
    raise NotFound("the course has no such lecture")
