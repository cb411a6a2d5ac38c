"""Which courses and lectures exist: the platform's collections, read through a bounded cache.

Ingest must outlive MongoDB. While the catalog cannot be read, events are accepted unchecked; the wait for it is short,
and not repeated by every request.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import pymongo
import structlog
from bson import ObjectId
from cachetools import TLRUCache
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from shared.errors import NotFound
from shared.mongo import COURSES, SECTIONS, Document

HIT_SECONDS = 300
MISS_SECONDS = 30
REFETCH_SECONDS = 10
FETCH_SECONDS = 0.2
OPEN_CIRCUIT_SECONDS = 5
CACHED_ENTRIES = 500_000  # courses and lectures together, ~100 bytes each

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Course:
    """What the cache knows of a course: its lectures, or that there is no such course; and when it was read."""

    lectures: frozenset[str]
    exists: bool
    fetched: float

    def expires(self, at: float) -> float:
        """When a cache that stored it at `at` forgets it."""
        return at + (HIT_SECONDS if self.exists else MISS_SECONDS)


class Catalog:
    """Answers whether a lecture exists; each course is fetched by one request at a time, whoever waits for it."""

    def __init__(self, database: AsyncDatabase[Document], now: Callable[[], float] = time.monotonic) -> None:
        self._courses = database[COURSES]
        self._now = now
        self._cache: TLRUCache[str, Course] = TLRUCache(
            maxsize=CACHED_ENTRIES,
            ttu=lambda _course_id, course, at: course.expires(at),
            timer=now,
            getsizeof=lambda course: 1 + len(course.lectures),
        )
        self._fetching: dict[str, asyncio.Task[Course | None]] = {}
        self._closed_again = 0.0

    async def require(self, course_id: str, lecture_id: str | None = None) -> None:
        """Raises NotFound when the catalog does not have the course, or the course not the lecture."""
        course = self._cache.get(course_id)
        if course is None or self._may_be_out_of_date(course, lecture_id):
            course = await self._fetch(course_id)
            if course is None:
                return  # out of reach: accepted unchecked
        if not course.exists:
            raise NotFound(f"there is no course {course_id}")
        if lecture_id is not None and lecture_id not in course.lectures:
            raise NotFound(f"course {course_id} has no lecture {lecture_id}")

    def _may_be_out_of_date(self, course: Course, lecture_id: str | None) -> bool:
        if not course.exists or lecture_id is None or lecture_id in course.lectures:
            return False
        return self._now() - course.fetched >= REFETCH_SECONDS

    async def _fetch(self, course_id: str) -> Course | None:
        task = self._fetching.get(course_id)
        if task is None:
            if self._now() < self._closed_again:
                return None
            task = self._fetching[course_id] = asyncio.create_task(self._read(course_id))
            task.add_done_callback(lambda _: self._fetching.pop(course_id, None))
        # A caller who goes away must not take the answer from the others.
        return await asyncio.shield(task)

    async def _read(self, course_id: str) -> Course | None:
        try:
            with pymongo.timeout(FETCH_SECONDS):
                cursor = await self._courses.aggregate(_lectures_of(course_id))
                found = await cursor.to_list()
        except PyMongoError as error:
            if self._now() >= self._closed_again:
                log.warning("catalog out of reach, events are accepted unchecked", reason=str(error))
            self._closed_again = self._now() + OPEN_CIRCUIT_SECONDS
            return None
        lectures = frozenset(str(lecture) for document in found for ids in document["lectures"] for lecture in ids)
        course = Course(lectures, exists=bool(found), fetched=self._now())
        if 1 + len(lectures) <= CACHED_ENTRIES:
            self._cache[course_id] = course
        return course


def _lectures_of(course_id: str) -> list[Document]:
    """The ids of a course's lectures, one list a section; no document at all where there is no course."""
    section_lectures = [{"$project": {"_id": 0, "lectures": 1}}]
    return [
        {"$match": {"_id": ObjectId(course_id)}},
        {
            "$lookup": {
                "from": SECTIONS,
                "localField": "sections",
                "foreignField": "_id",
                "as": "sections",
                "pipeline": section_lectures,
            }
        },
        {"$project": {"_id": 0, "lectures": "$sections.lectures"}},
    ]
