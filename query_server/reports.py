"""Reports: the days of a course, read from both stores and merged."""

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from course_analytics.v1 import dashboard_pb2

from query_server import documents
from query_server.cold import ColdStore, Course
from query_server.hot import HotStore
from query_server.merge import NOTHING, HotTallies
from query_server.metrics import MERGE_SECONDS
from query_server.outline import Outline
from query_server.reading import Question, ask, deadline, read_both
from query_server.recorded import recorded_since
from query_server.report import Day, Overview, Refused, refused_in
from query_server.stretches import Stretches
from shared.data import days
from shared.data.tallies import day_tally
from shared.serving import periods
from shared.serving.errors import Unavailable
from shared.serving.periods import Stretch

ONE_DAY_SECONDS = 86_400

Request = dashboard_pb2.GetCourseReportRequest | dashboard_pb2.ExportCourseReportRequest


@dataclass(frozen=True, slots=True)
class Report:
    """What an instructor sees of a stretch of days, as of the first read of Redis, by its clock."""

    stretch: Stretch
    zone: str
    recorded_since: str
    final: bool
    overview: Overview
    previous: Overview | None
    days: Sequence[Day]
    today: Day
    refused: Refused
    outline: Outline
    seconds: int
    microseconds: int


class Reports:
    """Reads reports."""

    def __init__(self, hot_store: HotStore, cold_store: ColdStore, stretches: Stretches, zone: ZoneInfo) -> None:
        self._hot_store = hot_store
        self._cold_store = cold_store
        self._stretches = stretches
        self._zone = zone

    async def read(self, request: Request, user_id: str) -> Report:
        """The requested report; `periods.check_form` has checked the fields.

        Raises InvalidRequest, and as `read_both` does.
        """
        until = deadline()
        course_id = request.course_id
        moment = await self._moment(course_id, user_id, until)
        today = days.day_of(moment[0], self._zone)
        stretch = periods.stretch_of(request.period, request.from_day, request.to_day, today=today, zone=self._zone.key)
        before = stretch.before()
        tally = day_tally(course_id, today)
        days_before, its_days = before.days(), stretch.days()
        stages = [
            documents.days(course_id, before.first, stretch.last),
            documents.whole_day(tally),
            *documents.beginnings(course_id),
        ]
        question = Question(course_id, user_id, stages)
        asked = self._hot_store.read_days(tally, [*days_before, *its_days])
        hot, course = await read_both(asked, self._cold_store, question, until)
        since = _first_day(hot, course)
        shown = [day for day in its_days if since and day >= since]
        with MERGE_SECONDS.time():
            in_range, overview = await self._stretches.add_up(shown, hot, course, until)
            previous = None
            if since and since <= before.first:
                _, previous = await self._stretches.add_up(days_before, hot, course, until)
            now = await self._stretches.day(today, hot, course)
        return Report(
            stretch=stretch,
            zone=self._zone.key,
            recorded_since=since,
            final=self._is_final(stretch, course_id, hot, moment[0]),
            overview=overview,
            previous=previous,
            days=in_range,
            today=now,
            refused=refused_in(in_range),
            outline=course.outline,
            seconds=moment[0],
            microseconds=moment[1],
        )

    async def _moment(self, course_id: str, user_id: str, until: float) -> tuple[int, int]:
        """The time of Redis. If Redis is away, PermissionDenied and NotFound still come first."""
        try:
            return await ask("Redis", self._hot_store.time(course_id), until)
        except Unavailable:
            await ask("MongoDB", self._cold_store.read(course_id, user_id), until)
            raise

    def _is_final(self, stretch: Stretch, course_id: str, hot: HotTallies, now: int) -> bool:
        """Whether every day ended 24 h ago and Redis has nothing of it: only a very late event could change it."""
        if now < days.start_of(days.day_after(stretch.last), self._zone) + ONE_DAY_SECONDS:
            return False
        names = [f"{course_id}/{day}" for day in stretch.days()]
        return all(hot.tallies.get(name, NOTHING).is_empty and name not in hot.unsaved for name in names)


def _first_day(hot: HotTallies, course: Course) -> str:
    in_redis = [name.partition("/")[2] for name, each in hot.tallies.items() if not each.is_empty]
    first_hot = min([*in_redis, *([hot.first_day] if hot.first_day else [])], default=None)
    return recorded_since(course.documents, first_hot)
