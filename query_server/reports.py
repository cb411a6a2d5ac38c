"""Reports: the days of a course, read from both stores and put together."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar
from zoneinfo import ZoneInfo

from course_analytics.v1 import dashboard_pb2

from query_server import documents
from query_server.cold import ColdStore, Course
from query_server.hot import HotStore
from query_server.merge import NOTHING, HotTallies, are_consistent
from query_server.metrics import MERGE_SECONDS
from query_server.outline import Outline
from query_server.reading import Question, ask, deadline, read_both
from query_server.recorded import recorded_since
from query_server.report import Day, HotDay, Overview, Refused, Sums, day_of, hot_days, overview_of, refused_in, sums_of
from shared.data import days
from shared.data.tallies import day_tally
from shared.expiring import ExpiringCache
from shared.serving import periods
from shared.serving.periods import Stretch
from shared.stores.mongo import Document

ONE_DAY_SECONDS = 86_400
CACHED_LECTURES = 200_000  # of all stretches that are kept together, ~200 bytes each
KEPT_SECONDS = 3_600

Request = dashboard_pb2.GetCourseReportRequest | dashboard_pb2.ExportCourseReportRequest
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Report:
    """What an instructor sees of a stretch of days. The moment is that of the first look at Redis, by its clock."""

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
    """Reads reports. What takes long to add up leaves the event loop; closed stretches are kept until they change."""

    def __init__(
        self,
        hot_store: HotStore,
        cold_store: ColdStore,
        zone: ZoneInfo,
        aside: Executor,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hot_store = hot_store
        self._cold_store = cold_store
        self._zone = zone
        self._aside = aside
        self._now = now
        self._sums: ExpiringCache[tuple[str, bytes], Sums] = ExpiringCache(CACHED_LECTURES, now)

    async def read(self, request: Request, user_id: str) -> Report:
        """The report that is asked for. Raises InvalidRequest, and as `read_both` does."""
        until = deadline()
        periods.check_form(request.period, request.from_day, request.to_day)
        course_id = request.course_id
        moment = await ask("Redis", self._hot_store.time(course_id), until)
        today = days.day_of(moment[0], self._zone)
        stretch = periods.stretch_of(request.period, request.from_day, request.to_day, today=today, zone=self._zone.key)
        before = stretch.before()
        tally = day_tally(course_id, today)
        tallies = [tally, *(day_tally(course_id, day) for day in (*before.days(), *stretch.days()))]
        stages = [
            documents.days(course_id, before.first, stretch.last),
            documents.whole_day(tally),
            *documents.beginnings(course_id),
        ]
        question = Question(course_id, user_id, stages)
        hot, course = await read_both(self._hot_store.read_days([tally], tallies), self._cold_store, question, until)
        since = _first_day(hot, course)
        shown = [day for day in stretch.days() if since and day >= since]
        with MERGE_SECONDS.time():
            in_range, overview = await self._overview(shown, hot, course, until)
            previous = None
            if since and since <= before.first:
                _, previous = await self._overview(before.days(), hot, course, until)
        (today_hot,) = _hot_days([today], hot, course.documents, course_id)
        return Report(
            stretch=stretch,
            zone=self._zone.key,
            recorded_since=since,
            final=self._is_final(stretch, course_id, hot, moment[0]),
            overview=overview,
            previous=previous,
            days=in_range,
            today=await self._away(lambda: day_of(today_hot)),
            refused=refused_in(in_range),
            outline=course.outline,
            seconds=moment[0],
            microseconds=moment[1],
        )

    async def _overview(
        self, shown: Sequence[str], hot: HotTallies, course: Course, until: float
    ) -> tuple[Sequence[Day], Overview]:
        """The days and their overview, of documents that are read only where they have changed."""
        name = course.course_id
        if not shown:
            return [], overview_of([], Sums({}, {}, 0), course.outline)
        key = (name, course.documents.fingerprint(f"{name}/{day}" for day in shown))
        light = _hot_days(shown, hot, course.documents, name)
        kept = self._sums.get(key)
        if kept is not None and not await self._away(lambda: any(day.is_changing for day in light)):
            sums = kept
            numbers = await self._away(lambda: [day_of(day) for day in light])
        else:
            whole = _hot_days(shown, hot, await self._whole(shown, hot, name, until), name)
            numbers, sums, is_closed = await self._away(lambda: _added_up(whole, light))
            if is_closed:
                self._sums.put(key, sums, until=self._now() + KEPT_SECONDS, weight=1 + len(sums.views))
        return numbers, overview_of(numbers, sums, course.outline)

    async def _whole(
        self, shown: Sequence[str], hot: HotTallies, course_id: str, until: float
    ) -> Mapping[str, Document]:
        first, last = shown[0], shown[-1]
        found = await ask("MongoDB", self._cold_store.days(course_id, first, last), until)
        names = {f"{course_id}/{day}" for day in shown}
        if not are_consistent({name: each for name, each in hot.tallies.items() if name in names}, found):
            found = await ask("MongoDB", self._cold_store.days_of_primary(course_id, first, last), until)
        return found

    def _is_final(self, stretch: Stretch, course_id: str, hot: HotTallies, now: int) -> bool:
        """Every day is over since a day, and Redis has nothing of it: only a very late event could change it."""
        if now < days.start_of(days.day_after(stretch.last), self._zone) + ONE_DAY_SECONDS:
            return False
        names = [f"{course_id}/{day}" for day in stretch.days()]
        return all(hot.tallies.get(name, NOTHING).is_empty and name not in hot.unsaved for name in names)

    async def _away(self, work: Callable[[], Answer]) -> Answer:
        """Done in another thread, so that nobody else's call waits for it."""
        return await asyncio.get_running_loop().run_in_executor(self._aside, work)


def _added_up(whole: Sequence[HotDay], light: Sequence[HotDay]) -> tuple[list[Day], Sums, bool]:
    """The days, their sums, and whether these are sums of the documents that were read first, and of nothing else."""
    is_closed = not any(
        day.is_changing or day.document.get("recentBatches") != early.document.get("recentBatches")
        for day, early in zip(whole, light, strict=True)
    )
    return [day_of(day) for day in whole], sums_of(whole), is_closed


def _hot_days(wanted: Sequence[str], hot: HotTallies, found: Mapping[str, Document], course_id: str) -> list[HotDay]:
    return hot_days(wanted, lambda day: f"{course_id}/{day}", hot.tallies, hot.unsaved, found)


def _first_day(hot: HotTallies, course: Course) -> str:
    in_redis = [name.partition("/")[2] for name, each in hot.tallies.items() if not each.is_empty]
    first_hot = min([*in_redis, *([hot.first_day] if hot.first_day else [])], default=None)
    return recorded_since(course.documents, first_hot)
