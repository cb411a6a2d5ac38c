"""The gRPC service: which course; read, merge, answer."""

from course_analytics.v1 import dashboard_pb2

from query_server import documents, messages
from query_server.cold import ColdStore
from query_server.funnel import dashboard_of
from query_server.heatmap import heatmap_of
from query_server.hot import HotStore
from query_server.merge import counts_of, totals_of
from query_server.metrics import MERGE_SECONDS
from query_server.outline import Lecture, Outline
from query_server.reading import Question, deadline, read_both, read_course
from query_server.recorded import recorded_since
from query_server.reports import Reports
from shared.data.tallies import LECTURE, lecture_tally
from shared.identity.auth import Caller
from shared.serving.errors import InvalidRequest, NotFound
from shared.serving.methods import Context
from shared.serving.validation import check_object_id


class DashboardServicer:
    """Shows instructors their own courses."""

    def __init__(self, hot_store: HotStore, cold_store: ColdStore, reports: Reports) -> None:
        self._hot_store = hot_store
        self._cold_store = cold_store
        self._reports = reports

    async def GetCourseDashboard(
        self, request: dashboard_pb2.GetCourseDashboardRequest, caller: Caller, _context: Context
    ) -> dashboard_pb2.GetCourseDashboardResponse:
        """The live numbers of one course."""
        _check_ids(courseId=request.course_id)
        hot, course = await read_course(self._hot_store, self._cold_store, request.course_id, caller.user_id)
        with MERGE_SECONDS.time():
            dashboard = dashboard_of(totals_of(hot, course.analytics), course.outline)
            return messages.dashboard_message(dashboard, course.outline, messages.as_of(hot))

    async def GetCourseReport(
        self, request: dashboard_pb2.GetCourseReportRequest, caller: Caller, _context: Context
    ) -> dashboard_pb2.GetCourseReportResponse:
        """The numbers of a stretch of days, and of the equal stretch right before it."""
        _check_ids(courseId=request.course_id)
        return messages.report_message(await self._reports.read(request, caller.user_id))

    async def GetLectureHeatmap(
        self, request: dashboard_pb2.GetLectureHeatmapRequest, caller: Caller, _context: Context
    ) -> dashboard_pb2.GetLectureHeatmapResponse:
        """Where in a lecture's video its viewers are."""
        _check_ids(courseId=request.course_id, lectureId=request.lecture_id)
        return await self._heatmap(request.course_id, request.lecture_id, caller.user_id)

    async def _heatmap(self, course_id: str, lecture_id: str, user_id: str) -> dashboard_pb2.GetLectureHeatmapResponse:
        tally = lecture_tally(course_id, lecture_id)
        question = Question(course_id, user_id, [documents.lecture(tally), *documents.beginnings(course_id)])
        hot, course = await read_both(self._hot_store.read_lecture(tally), self._cold_store, question, deadline())
        lecture = _lecture(course.outline, lecture_id)
        with MERGE_SECONDS.time():
            counts = counts_of(LECTURE, hot.tallies[tally.name], course.documents.get(tally.name, {}))
            since = recorded_since(course.documents, hot.first_day)
            return messages.heatmap_message(heatmap_of(counts), lecture, since, messages.as_of(hot.tallies[tally.name]))


def _check_ids(**ids: str) -> None:
    """Raises InvalidRequest, which names all that are none."""
    violations = [check_object_id(field, value) for field, value in ids.items()]
    if any(violations):
        raise InvalidRequest([violation for violation in violations if violation is not None])


def _lecture(outline: Outline, lecture_id: str) -> Lecture:
    for lecture in outline:
        if lecture.lecture_id == lecture_id:
            return lecture
    raise NotFound("the course has no such lecture")
