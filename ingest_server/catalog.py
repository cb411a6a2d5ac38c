"""Which courses and lectures exist: the platform's collections, read through a bounded cache.

Ingest must outlive MongoDB. While the catalog cannot be read, events are accepted unchecked; the wait for it is short,
and not repeated by every request.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import bson
import structlog
from bson import CodecOptions, DatetimeConversion, ObjectId
from bson.errors import BSONError, InvalidBSON
from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from ingest_server import metrics
from shared.expiring import ExpiringCache
from shared.metrics import MONGODB_ERRORS
from shared.serving.errors import InvalidRequest, NotFound
from shared.serving.validation import MAX_LECTURES, TOO_MANY_LECTURES
from shared.stores.mongo import COURSES, SECTIONS, Document, within

HIT_SECONDS = 300
MISS_SECONDS = 30
REFETCH_SECONDS = 10
WAIT_SECONDS = 0.4  # for a course that is read after others
ANSWER_SECONDS = 0.2  # without a reply of MongoDB, callers stop waiting
READ_SECONDS = 2.0  # without a reply, MongoDB counts as unavailable
CURSOR_SECONDS = 30.0  # that MongoDB may work on all answers of one read
OPEN_CIRCUIT_SECONDS = 5
MAX_ASKED = 10_000  # courses that wait to be read
COURSES_A_READ = 500
COURSES_AN_ANSWER = 25
TOO_MANY_ENTRIES = 2 * MAX_LECTURES  # even if some lectures are listed twice; MongoDB does not send longer lists
CACHED_ENTRIES = 500_000  # courses and lectures together, ~100 bytes each
CACHED_MISSES = 100_000  # in a cache of their own: unknown ids must not evict known courses

# A malformed part of a document costs only that part.
ANY_VALUE: CodecOptions[Document] = CodecOptions(
    unicode_decode_error_handler="replace", datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
RAW: CodecOptions[Any] = cast("Any", ANY_VALUE).with_options(document_class=RawBSONDocument)
_ID = slice(9, 21)  # of an encoded document: its first field, an ObjectId, after the length, the type and the name

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Course:
    """What the cache knows of a course: its lectures, or that there is no such course; and when it was read.

    It has no lectures of a course that is too large, so that its pings are refused.
    """

    lectures: frozenset[str]
    exists: bool
    fetched: float
    too_large: bool = False

    def has(self, lecture_id: str | None) -> bool:
        """Whether there is such a course, with this lecture if one is named."""
        return self.exists and (lecture_id is None or lecture_id in self.lectures)

    def expires(self) -> float:
        """When it must be read again."""
        return self.fetched + (HIT_SECONDS if self.exists else MISS_SECONDS)


class Catalog:
    """Answers whether a lecture exists. One request is in flight; lookups that arrive meanwhile share the next."""

    def __init__(self, database: AsyncDatabase[Document], now: Callable[[], float] = time.monotonic) -> None:
        # Decoded one by one: others share the reply with a course that cannot be decoded.
        self._courses = cast("AsyncCollection[RawBSONDocument]", database.get_collection(COURSES, codec_options=RAW))
        self._now = now
        self._cache: ExpiringCache[str, Course] = ExpiringCache(CACHED_ENTRIES, now)
        self._misses: ExpiringCache[str, Course] = ExpiringCache(CACHED_MISSES, now)
        self._asked: dict[str, asyncio.Future[None]] = {}
        self._queue: deque[str] = deque()
        self._reading: asyncio.Task[None] | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._silent = False
        self._closed_again = 0.0

    def has(self, course_id: str, lecture_id: str | None = None) -> bool:
        """Whether the cache has such a course, with this lecture if one is named."""
        course = self._cache.get(course_id)
        return course is not None and course.has(lecture_id)

    async def require(self, course_id: str, lecture_id: str | None = None) -> None:
        """Raises NotFound when the catalog does not have the course, or the course not the lecture.

        Raises InvalidRequest for a lecture of a course that is too large.
        """
        course = self._known(course_id)
        if course is None or self._may_be_out_of_date(course, lecture_id):
            await self._fetch([course_id])
        self.check(course_id, lecture_id)

    def check(self, course_id: str, lecture_id: str | None) -> None:
        """Raises what `require` does, from the cache alone: accepts unchecked what could not be read."""
        course = self._known(course_id)
        if course is None or self._may_be_out_of_date(course, lecture_id):
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
        """The known courses of these lectures; fetches at once what `require` would fetch one by one."""
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

    async def _fetch(self, course_ids: Sequence[str]) -> None:
        """Reads the courses into the cache, if that succeeds in time."""
        unasked = [course_id for course_id in course_ids if course_id not in self._asked]
        if unasked and self._now() >= self._closed_again and not self._silent and len(self._asked) < MAX_ASKED:
            self._ask(unasked)
        waiting = [self._asked[course_id] for course_id in course_ids if course_id in self._asked]
        if waiting:
            # Not gather(): a cancelled caller must not take the answer from the others.
            await asyncio.wait(waiting, timeout=WAIT_SECONDS)
        else:
            await asyncio.sleep(0)  # a caller who retries often must not delay the answer

    def _ask(self, course_ids: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        for course_id in course_ids:
            self._asked[course_id] = loop.create_future()
            self._queue.append(course_id)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_all())

    async def _read_all(self) -> None:
        while self._queue:
            chunk = [self._queue.popleft() for _ in range(min(len(self._queue), COURSES_A_READ))]
            self._heard()
            try:
                await self._read(chunk)
            except (PyMongoError, BSONError, TimeoutError) as error:
                self._open_circuit(error)
            finally:
                self._stop_listening()

    async def _read(self, course_ids: Sequence[str]) -> None:
        """Caches the courses one by one as they arrive, so that none is wasted if a later one takes too long."""
        missing = dict.fromkeys(course_ids)
        with metrics.FETCH_SECONDS.time():
            asked = self._courses.aggregate(_lectures_of(course_ids), batchSize=COURSES_AN_ANSWER)
            cursor = await within(asked, READ_SECONDS, abandoned=CURSOR_SECONDS)
            while documents := await within(cursor.to_list(COURSES_AN_ANSWER), READ_SECONDS):
                self._heard()
                for document in documents:
                    course_id = document.raw[_ID].hex()
                    del missing[course_id]
                    try:
                        self._remember(course_id, _course_of(bson.decode(document.raw, ANY_VALUE), fetched=self._now()))
                    except InvalidBSON:
                        metrics.COURSES_FAILED.inc()
                        self._answer([course_id])
        for course_id in missing:
            self._remember(course_id, Course(frozenset(), exists=False, fetched=self._now()))
        metrics.CATALOG_ENTRIES.set(self._cache.weight)

    def _remember(self, course_id: str, course: Course) -> None:
        # A course that was deleted keeps its place in the cache, as a missing one.
        cache = self._cache if course.exists or self._cache.get(course_id) else self._misses
        cache.put(course_id, course, until=course.expires(), weight=1 + len(course.lectures))
        (metrics.COURSES_FOUND if course.exists else metrics.COURSES_MISSING).inc()
        self._answer([course_id])

    def _answer(self, course_ids: Iterable[str]) -> None:
        for course_id in course_ids:
            asked = self._asked.pop(course_id, None)
            if asked is not None:
                asked.set_result(None)

    def _heard(self) -> None:
        """Records that MongoDB answers, or has just been asked."""
        self._stop_listening()
        self._silence = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._fall_silent)

    def _stop_listening(self) -> None:
        self._silent = False
        if self._silence is not None:
            self._silence.cancel()

    def _fall_silent(self) -> None:
        """Ends all waiting for some time; a read in flight still fills the cache when it arrives."""
        self._silent = True
        self._give_up()

    def _open_circuit(self, error: Exception) -> None:
        if self._now() >= self._closed_again:
            reason = str(error) or f"no answer for {READ_SECONDS} s"
            log.warning("catalog out of reach, events are accepted unchecked", reason=reason)
        self._closed_again = self._now() + OPEN_CIRCUIT_SECONDS
        MONGODB_ERRORS.inc()
        self._give_up()

    def _give_up(self) -> None:
        metrics.COURSES_FAILED.inc(len(self._asked))
        self._queue.clear()
        self._answer(list(self._asked))


def _course_of(document: Document, fetched: float) -> Course:
    """What to cache of a course.

    The data belongs to the platform, and other courses share the reply: anything that is not a lecture's id is skipped.
    """
    if document["lectures"] is None:
        return Course(frozenset(), exists=True, fetched=fetched, too_large=True)
    found = {lecture for ids in document["lectures"] if isinstance(ids, list) for lecture in map(_id_of, ids)}
    lectures = frozenset(lecture for lecture in found if lecture is not None)
    if len(lectures) > MAX_LECTURES:
        return Course(frozenset(), exists=True, fetched=fetched, too_large=True)
    return Course(lectures, exists=True, fetched=fetched)


def _id_of(reference: object) -> str | None:
    """The id in a reference: an ObjectId, its string, or the document itself."""
    if isinstance(reference, dict):
        reference = reference.get("_id")
    if isinstance(reference, ObjectId):
        return str(reference)
    return str(ObjectId(reference)) if isinstance(reference, str) and ObjectId.is_valid(reference) else None


def _lectures_of(course_ids: Sequence[str]) -> list[Document]:
    """The ids of each course's lectures, one list a section, None for too many; no document if there is no course.

    A section is named by its id, as an ObjectId or a string, or stands in the course as a document.
    """
    listed = {"$cond": [{"$isArray": "$sections"}, "$sections", []]}
    section_id = {"$ifNull": ["$$this._id", "$$this"]}
    entries = {
        "$sum": {"$map": {"input": "$lectures", "in": {"$cond": [{"$isArray": "$$this"}, {"$size": "$$this"}, 0]}}}
    }
    as_object_id = {"$convert": {"input": section_id, "to": "objectId", "onError": None, "onNull": None}}
    return [
        {"$match": {"_id": {"$in": [ObjectId(course_id) for course_id in course_ids]}}},
        {
            "$project": {
                "ids": {"$map": {"input": listed, "in": as_object_id}},
                "embedded": {"$map": {"input": listed, "in": {"$ifNull": ["$$this.lectures", None]}}},
            }
        },
        {
            "$lookup": {
                "from": SECTIONS,
                "localField": "ids",
                "foreignField": "_id",
                "as": "sections",
                "pipeline": [{"$project": {"_id": 0, "lectures": {"$ifNull": ["$lectures", None]}}}],
            }
        },
        {"$project": {"lectures": {"$concatArrays": ["$sections.lectures", "$embedded"]}}},
        {"$project": {"lectures": {"$cond": [{"$gt": [entries, TOO_MANY_ENTRIES]}, None, "$lectures"]}}},
    ]
