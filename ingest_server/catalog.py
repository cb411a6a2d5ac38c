"""Which courses and lectures exist: the platform's collections, read through a bounded cache.

Ingest must outlive MongoDB. While the catalog cannot be read, events are accepted unchecked; the wait for it is short,
and not repeated by every request.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pymongo
import structlog
from bson import ObjectId
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from ingest_server import metrics
from shared.expiring import ExpiringCache
from shared.metrics import MONGODB_ERRORS
from shared.serving.errors import InvalidRequest, NotFound
from shared.serving.validation import MAX_LECTURES, TOO_MANY_LECTURES
from shared.stores.mongo import COURSES, SECTIONS, Document

HIT_SECONDS = 300
MISS_SECONDS = 30
REFETCH_SECONDS = 10
FETCH_SECONDS = 0.2
OPEN_CIRCUIT_SECONDS = 5
CACHED_ENTRIES = 500_000  # courses and lectures together, ~100 bytes each
CACHED_MISSES = 100_000  # in a cache of their own: whoever asks for what does not exist drives out nothing that does

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Course:
    """What the cache knows of a course: its lectures, or that there is no such course; and when it was read.

    Of one that is too large it knows no lectures: so its pings take the way of those that are refused.
    """

    lectures: frozenset[str]
    exists: bool
    fetched: float
    too_large: bool = False

    def has(self, lecture_id: str | None) -> bool:
        """Whether there is such a course, with this lecture if one is named."""
        return self.exists and (lecture_id is None or lecture_id in self.lectures)

    def expires(self) -> float:
        """When it has to be read again."""
        return self.fetched + (HIT_SECONDS if self.exists else MISS_SECONDS)


class Catalog:
    """Answers whether a lecture exists. One request at a time is under way; what is asked meanwhile shares the next."""

    def __init__(self, database: AsyncDatabase[Document], now: Callable[[], float] = time.monotonic) -> None:
        self._courses = database[COURSES]
        self._now = now
        self._cache: ExpiringCache[str, Course] = ExpiringCache(CACHED_ENTRIES, now)
        self._misses: ExpiringCache[str, Course] = ExpiringCache(CACHED_MISSES, now)
        self._fetching: dict[str, asyncio.Task[bool]] = {}
        self._next: list[str] = []
        self._reading = asyncio.Lock()
        self._closed_again = 0.0

    def has(self, course_id: str, lecture_id: str | None = None) -> bool:
        """Whether it is known, without asking, that there is such a course, with this lecture if one is named."""
        course = self._cache.get(course_id)
        return course is not None and course.has(lecture_id)

    async def require(self, course_id: str, lecture_id: str | None = None) -> None:
        """Raises NotFound when the catalog does not have the course, or the course not the lecture.

        Raises InvalidRequest for a lecture of a course that is too large.
        """
        course = self._known(course_id)
        if course is None or self._may_be_out_of_date(course, lecture_id):
            reached = await self._fetch([course_id])
            course = self._known(course_id)
            if course is None or not reached:
                metrics.EVENTS_UNCHECKED.inc()
                return
        if not course.exists:
            raise NotFound(f"there is no course {course_id}")
        if not course.has(lecture_id):
            if course.too_large:
                raise InvalidRequest([TOO_MANY_LECTURES])
            raise NotFound(f"course {course_id} has no lecture {lecture_id}")

    def _known(self, course_id: str) -> Course | None:
        return self._cache.get(course_id) or self._misses.get(course_id)

    def _may_be_out_of_date(self, course: Course, lecture_id: str | None) -> bool:
        if not course.exists or course.too_large or course.has(lecture_id):
            return False
        return self._now() - course.fetched >= REFETCH_SECONDS

    async def load(self, lectures: Mapping[str, set[str]]) -> dict[str, Course]:
        """What is known of the courses of these lectures; what `require` would fetch one by one is fetched at once."""
        courses = {course_id: self._known(course_id) for course_id in lectures}
        missing = [
            course_id
            for course_id, course in courses.items()
            if course is None or any(self._may_be_out_of_date(course, lecture) for lecture in lectures[course_id])
        ]
        if missing:
            await self._fetch(missing)
            courses |= {course_id: self._known(course_id) for course_id in missing}
        return {course_id: course for course_id, course in courses.items() if course is not None}

    async def _fetch(self, course_ids: Sequence[str]) -> bool:
        """Reads the courses into the cache; False when the catalog is out of reach."""
        unasked = [course_id for course_id in course_ids if course_id not in self._fetching]
        if unasked and self._now() >= self._closed_again:
            self._ask(unasked)
        tasks = [self._fetching.get(course_id) for course_id in course_ids]
        waiting = {task for task in tasks if task is not None}
        if waiting:
            # Not gather(): a caller who goes away must not take the answer from the others.
            await asyncio.wait(waiting)
        return all(task is not None and task.result() for task in tasks)

    def _ask(self, course_ids: Sequence[str]) -> None:
        if self._next:
            task = self._fetching[self._next[0]]
        else:
            task = asyncio.create_task(self._read_next(self._now() + FETCH_SECONDS))
        self._next += course_ids
        self._fetching |= dict.fromkeys(course_ids, task)

    async def _read_next(self, give_up: float) -> bool:
        async with self._reading:
            course_ids, self._next = self._next, []
            try:
                # Whoever waited for the one before waits no longer than others, and not at all when that one failed.
                left = give_up - self._now()
                return left > 0 and self._now() >= self._closed_again and await self._read(course_ids, left)
            finally:
                for course_id in course_ids:
                    del self._fetching[course_id]

    async def _read(self, course_ids: Sequence[str], seconds: float) -> bool:
        try:
            with pymongo.timeout(seconds), metrics.FETCH_SECONDS.time():
                cursor = await self._courses.aggregate(_lectures_of(course_ids))
                found = await cursor.to_list()
        except PyMongoError as error:
            if self._now() >= self._closed_again:
                log.warning("catalog out of reach, events are accepted unchecked", reason=str(error))
            self._closed_again = self._now() + OPEN_CIRCUIT_SECONDS
            MONGODB_ERRORS.inc()
            metrics.COURSES_FAILED.inc(len(course_ids))
            return False
        listed = {str(document["_id"]): document["lectures"] for document in found}
        for course_id in course_ids:
            course = _course_of(listed.get(course_id), fetched=self._now())
            # One that was there takes its own place, as one that is gone.
            cache = self._cache if course.exists or self._cache.get(course_id) else self._misses
            cache.put(course_id, course, until=course.expires(), weight=1 + len(course.lectures))
            (metrics.COURSES_FOUND if course.exists else metrics.COURSES_MISSING).inc()
        metrics.CATALOG_ENTRIES.set(self._cache.weight)
        return True


def _course_of(sections: Sequence[object] | None, fetched: float) -> Course:
    """What to remember of a course whose sections list these lectures; None when there is no course.

    What is no list holds no lectures. The platform's data are not ours, and other courses share the answer.
    """
    if sections is None:
        return Course(frozenset(), exists=False, fetched=fetched)
    lectures = [str(lecture) for ids in sections if isinstance(ids, list) for lecture in ids]
    if len(lectures) > MAX_LECTURES:
        return Course(frozenset(), exists=True, fetched=fetched, too_large=True)
    return Course(frozenset(lectures), exists=True, fetched=fetched)


def _lectures_of(course_ids: Sequence[str]) -> list[Document]:
    """The ids of each course's lectures, one list a section; no document where there is no such course."""
    section_lectures = [{"$project": {"_id": 0, "lectures": 1}}]
    return [
        {"$match": {"_id": {"$in": [ObjectId(course_id) for course_id in course_ids]}}},
        {
            "$lookup": {
                "from": SECTIONS,
                "localField": "sections",
                "foreignField": "_id",
                "as": "sections",
                "pipeline": section_lectures,
            }
        },
        {"$project": {"lectures": "$sections.lectures"}},
    ]
