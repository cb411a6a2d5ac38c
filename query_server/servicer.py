"""The gRPC service: who asks, for which course; read, merge, answer."""

from typing import Any

from course_analytics.v1 import dashboard_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from query_server.cold import ColdStore
from query_server.funnel import Dashboard, Funnel, dashboard_of
from query_server.hot import HotStore
from query_server.merge import totals_of
from query_server.metrics import MERGE_SECONDS
from query_server.outline import Outline
from query_server.reading import read_course
from shared.identity.auth import Caller
from shared.serving.errors import InvalidRequest
from shared.serving.methods import Context
from shared.serving.validation import MAX_LECTURES, TOO_MANY_LECTURES, check_object_id

MAX_INT32 = 2**31 - 1


class DashboardServicer:
    """Shows instructors their own courses."""

    def __init__(self, hot_store: HotStore, cold_store: ColdStore) -> None:
        self._hot_store = hot_store
        self._cold_store = cold_store

    async def GetCourseDashboard(
        self, request: dashboard_pb2.GetCourseDashboardRequest, caller: Caller, _context: Context
    ) -> dashboard_pb2.GetCourseDashboardResponse:
        """The live numbers of one course."""
        violation = check_object_id("courseId", request.course_id)
        if violation is not None:
            raise InvalidRequest([violation])
        hot, course = await read_course(self._hot_store, self._cold_store, request.course_id, caller.user_id)
        if len(course.outline) > MAX_LECTURES:
            raise InvalidRequest([TOO_MANY_LECTURES])
        with MERGE_SECONDS.time():
            dashboard = dashboard_of(totals_of(hot, course.analytics), course.outline)
            return _response(dashboard, course.outline, Timestamp(seconds=hot.seconds, nanos=hot.microseconds * 1000))


def _response(dashboard: Dashboard, outline: Outline, as_of: Timestamp) -> dashboard_pb2.GetCourseDashboardResponse:
    return dashboard_pb2.GetCourseDashboardResponse(
        overview=dashboard_pb2.Overview(
            total_views=_int32(dashboard.total_views),
            unique_active_users=_int32(dashboard.users),
            total_watch_time_seconds=dashboard.watch_seconds,
            average_watch_time_seconds=dashboard.average_watch_seconds,
            drop_off_rate=dashboard.drop_off_rate,
            most_watched_lecture=_most_watched(dashboard, outline),
            as_of=as_of,
        ),
        engagement_funnel=_funnel_steps(dashboard.funnel, outline),
    )


def _most_watched(dashboard: Dashboard, outline: Outline) -> dashboard_pb2.MostWatchedLecture | None:
    place = dashboard.most_watched
    if place is None:
        return None
    return dashboard_pb2.MostWatchedLecture(
        lecture_id=outline[place].lecture_id,
        title=outline[place].title,
        views=_int32(dashboard.funnel.views[place]),
        watch_time_seconds=dashboard.funnel.watch_seconds[place],
    )


def _funnel_steps(funnel: Funnel, outline: Outline) -> Any:  # noqa: ANN401 - to the type checker they have to be messages
    """Each FunnelStep as a dict, which the message around it takes as well, in half the time."""
    columns = (funnel.views, funnel.watch_seconds, funnel.retention_rates, funnel.drop_off_rates)
    return [
        {
            "lecture_id": lecture_id,
            "title": title,
            "views": min(views, MAX_INT32),  # in line: a call would cost as much as the rest
            "watch_time_seconds": watched,
            "retention_rate": kept,
            "drop_off_rate": lost,
        }
        for (lecture_id, title), views, watched, kept, lost in zip(outline, *columns, strict=True)
    ]


def _int32(count: int) -> int:
    """Saturated rather than refused: JSON prints wider integers as strings, which callers of numbers do not expect."""
    return min(count, MAX_INT32)
