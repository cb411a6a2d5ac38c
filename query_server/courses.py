"""The list of an instructor's courses, read from both stores and merged."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from query_server import pages
from query_server.cold import ColdStore, Listed
from query_server.hot import HotStore
from query_server.merge import NOTHING, Hot, are_consistent, totals_of
from query_server.metrics import MERGE_SECONDS, REREADS
from query_server.reading import ask, deadline
from query_server.recorded import recorded_since
from query_server.report import HotDay, lecture_views_of
from shared.data import days
from shared.data.tallies import LECTURE_WATCH_TIME
from shared.stores.mongo import Document

DAYS = 28


@dataclass(frozen=True, slots=True)
class Summary:
    """A course in the list: its totals, and the lecture views of each of its last days, the oldest first."""

    course_id: str
    title: str
    views: int
    users: int
    watch_seconds: float
    last_days: Sequence[tuple[str, int]]


class Courses:
    """Lists courses."""

    def __init__(self, hot_store: HotStore, cold_store: ColdStore, zone: ZoneInfo, aside: Executor) -> None:
        self._hot_store = hot_store
        self._cold_store = cold_store
        self._zone = zone
        self._aside = aside

    async def page(self, user_id: str, page_size: int, page_token: str) -> tuple[Sequence[Summary], str]:
        """The page of the user's courses that the token names, newest first, and the token of the next page.

        Raises InvalidRequest, Unavailable, StoreRefuses.
        """
        size, after = pages.size_of(page_size), pages.last_of(page_token, user_id)
        until = deadline()
        found = await ask("MongoDB", self._cold_store.courses_of(user_id, after, size + 1), until)
        shown = found[:size]
        next_token = pages.token_after(shown[-1].course_id, user_id) if len(found) > size else ""
        if not shown:
            return [], next_token
        seconds, _ = await ask("Redis", self._hot_store.time(shown[0].course_id), until)
        today = days.day_of(seconds, self._zone)
        last_days = [days.day_after(today, -number) for number in range(DAYS, 0, -1)]
        hot, documents = await self._read([course.course_id for course in shown], last_days, until)
        loop = asyncio.get_running_loop()
        with MERGE_SECONDS.time():
            return await loop.run_in_executor(self._aside, _summaries, shown, last_days, hot, documents), next_token

    async def _read(
        self, course_ids: Sequence[str], last_days: Sequence[str], until: float
    ) -> tuple[Mapping[str, Hot], Mapping[str, Document]]:
        """The courses and their days in both stores, consistent with each other.

        Redis has nearly no day, and a count may be in both stores only for a day that it has. Only these days are read
        with their batches, after Redis, which is never too early.
        """
        found, hot = await asyncio.gather(
            ask("MongoDB", self._cold_store.tallies_of(course_ids, last_days), until),
            ask("Redis", self._hot_store.read_courses(course_ids, last_days), until),
        )
        in_redis = [name for name in hot.keys() - set(course_ids) if hot[name].batches or hot[name].flushed_batch]
        if in_redis:
            found |= await ask("MongoDB", self._cold_store.views_of_primary(in_redis), until)
        if not are_consistent({course_id: hot[course_id] for course_id in course_ids}, found):
            REREADS.inc()
            found |= await ask("MongoDB", self._cold_store.totals_of_primary(course_ids), until)
        return hot, found


def _summaries(
    courses: Sequence[Listed], last_days: Sequence[str], hot: Mapping[str, Hot], documents: Mapping[str, Document]
) -> list[Summary]:
    return [_summary(course, last_days, hot, documents) for course in courses]


def _summary(
    course: Listed, last_days: Sequence[str], hot: Mapping[str, Hot], documents: Mapping[str, Document]
) -> Summary:
    course_id = course.course_id
    totals = totals_of(hot.get(course_id, NOTHING), documents.get(course_id, {}))
    names = [f"{course_id}/{day}" for day in last_days]
    here = [
        HotDay(day, hot.get(name, NOTHING), documents.get(name, {})) for day, name in zip(last_days, names, strict=True)
    ]
    first = next((each.day for each in here if each.document or not each.hot.is_empty), None)
    since = recorded_since(documents, first)
    return Summary(
        course_id=course_id,
        title=course.title,
        views=totals.views,
        users=totals.users,
        watch_seconds=sum(totals.counts[LECTURE_WATCH_TIME.name].values()),
        last_days=[(each.day, lecture_views_of(each)) for each in here if since and each.day >= since],
    )
