"""The gRPC service: checks the caller and the days, queries, answers."""

import time
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pymongo
from bson import ObjectId
from course_analytics.v1 import platform_pb2
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from shared.data.days import day_after, day_of
from shared.data.tallies import LECTURE_VIEWS, LECTURE_WATCH_TIME
from shared.identity.auth import Caller
from shared.serving.errors import InvalidRequest, PermissionDenied, Unavailable, Violation
from shared.serving.methods import Context
from shared.serving.periods import Stretch, check_form, stretch_of
from shared.stores.mongo import COURSES
from warehouse import queries
from warehouse.queries import Numbers
from warehouse.record import UNIQUE_USERS
from warehouse.store import Store

READ_SCOPE = "analytics:read"
PAGE_SIZE, MAX_PAGE_SIZE = 20, 100
TITLE_SECONDS = 1.5
MAX_INT32 = 2**31 - 1

_Order = platform_pb2.ListTopCoursesRequest
ORDERS = {
    _Order.ORDER_UNSPECIFIED: LECTURE_VIEWS.name,
    _Order.VIEWS: LECTURE_VIEWS.name,
    _Order.WATCH_TIME: LECTURE_WATCH_TIME.name,
    _Order.USERS: UNIQUE_USERS,
}


class PlatformServicer:
    """Answers questions across all courses. `now` returns seconds since the epoch."""

    def __init__(
        self,
        store: Store,
        database: AsyncDatabase[dict[str, Any]],
        zone: ZoneInfo,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._database = database
        self._zone = zone
        self._now = now

    async def ListTopCourses(
        self, request: platform_pb2.ListTopCoursesRequest, caller: Caller, _context: Context
    ) -> platform_pb2.ListTopCoursesResponse:
        """The courses with the most views, watch time or users."""
        _permit(caller)
        stretch = self._days(request)
        if request.page_size < 0:
            raise InvalidRequest([Violation("pageSize", "must not be negative")])
        order = ORDERS.get(request.order_by)
        if order is None:
            raise InvalidRequest([Violation("orderBy", "is not one of the orders")])
        most = min(request.page_size or PAGE_SIZE, MAX_PAGE_SIZE)
        top = await queries.top_courses(self._store, stretch.first, stretch.last, order, most)
        titles = await self._titles([course_id for course_id, _ in top])
        courses = [
            platform_pb2.TopCourse(course_id=course_id, title=titles.get(course_id, ""), **_fields(numbers))
            for course_id, numbers in top
        ]
        return platform_pb2.ListTopCoursesResponse(from_day=stretch.first, to_day=stretch.last, courses=courses)

    async def GetPlatformReport(
        self, request: platform_pb2.GetPlatformReportRequest, caller: Caller, _context: Context
    ) -> platform_pb2.GetPlatformReportResponse:
        """The days of all courses together."""
        _permit(caller)
        stretch = self._days(request)
        before = stretch.before()
        found = await queries.by_day(self._store, stretch.first, stretch.last)
        nothing = Numbers(0, 0, 0, 0, 0)
        return platform_pb2.GetPlatformReportResponse(
            from_day=stretch.first,
            to_day=stretch.last,
            overview=_overview(await queries.overall(self._store, stretch.first, stretch.last)),
            previous=_overview(await queries.overall(self._store, before.first, before.last)),
            days=[
                platform_pb2.PlatformDay(day=day, courses=numbers.courses, **_fields(numbers))
                for day in stretch.days()
                for numbers in [found.get(day, nothing)]
            ],
        )

    def _days(self, request: platform_pb2.ListTopCoursesRequest | platform_pb2.GetPlatformReportRequest) -> Stretch:
        """The requested days. Named days may include today, with its numbers so far."""
        given = (request.period, request.from_day, request.to_day)
        check_form(*given)
        today = day_of(self._now(), self._zone)
        return stretch_of(*given, today=day_after(today) if request.to_day else today, zone=self._zone.key)

    async def _titles(self, course_ids: list[str]) -> dict[str, str]:
        try:
            with pymongo.timeout(TITLE_SECONDS):
                found = self._database[COURSES].find(
                    {"_id": {"$in": [ObjectId(course_id) for course_id in course_ids]}}, {"title": 1}
                )
                return {str(course["_id"]): _title(course.get("title")) async for course in found}
        except PyMongoError:
            raise Unavailable("MongoDB is out of reach", cause="mongodb") from None


def _permit(caller: Caller) -> None:
    if READ_SCOPE not in caller.scope:
        raise PermissionDenied(f"this needs a token with the scope {READ_SCOPE}")


def _title(value: object) -> str:
    return value if isinstance(value, str) else ""


def _overview(numbers: Numbers) -> platform_pb2.PlatformOverview:
    return platform_pb2.PlatformOverview(courses=numbers.courses, **_fields(numbers))


def _fields(numbers: Numbers) -> dict[str, Any]:
    """The fields that every message with sums has. Counts saturate, as everywhere."""
    return {
        "course_views": min(numbers.course_views, MAX_INT32),
        "lecture_views": min(numbers.lecture_views, MAX_INT32),
        "watch_time_seconds": numbers.watch_seconds,
        "user_days": min(numbers.user_days, MAX_INT32),
    }
