"""A course in MongoDB: its owner, its outline and its flushed counts, read in one aggregation."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from pymongo import ReadPreference
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from query_server.outline import Outline, outline_of
from shared.expiring import ExpiringCache
from shared.stores.mongo import COURSE_ANALYTICS, COURSES, LECTURES, SECTIONS, Document

OUTLINE_SECONDS = 60
CACHED_ENTRIES = 200_000  # courses and lectures together, ~200 bytes each
# Longer than anyone here waits: a question that was given up need not be worked out to its end.
SERVER_LIMIT_MS = 2_000


@dataclass(frozen=True, slots=True)
class Course:
    """A course in MongoDB at one moment; its outline may be up to a minute old."""

    creator: object
    analytics: Mapping[str, Any]
    outline: Outline


class ColdStore:
    """The flushed counts, and the platform's own collections."""

    def __init__(self, database: AsyncDatabase[Document], now: Callable[[], float] = time.monotonic) -> None:
        self._courses = database[COURSES]
        self._primary_courses = self._courses.with_options(read_preference=ReadPreference.PRIMARY)
        self._now = now
        self._outlines: ExpiringCache[str, Outline] = ExpiringCache(CACHED_ENTRIES, now)

    async def read(self, course_id: str) -> Course | None:
        """The course, None if there is none. Raises PyMongoError."""
        return await self._read(self._courses, course_id)

    async def read_primary(self, course_id: str) -> Course | None:
        """The same from the primary, which has every count that a flush has taken out of Redis."""
        return await self._read(self._primary_courses, course_id)

    async def _read(self, courses: AsyncCollection[Document], course_id: str) -> Course | None:
        outline = self._outlines.get(course_id)
        key = ObjectId(course_id)
        stages = [*_course(key), *([] if outline is not None else _WITH_OUTLINE), _and_analytics(key)]
        cursor = await courses.aggregate(stages, maxTimeMS=SERVER_LIMIT_MS)
        documents = await cursor.to_list()
        course = next((document for document in documents if "_id" in document), None)
        analytics = next((document for document in documents if "_id" not in document), {})
        if course is None:
            return None
        if outline is None:
            outline = _outline_in(course)
            self._outlines.put(course_id, outline, until=self._now() + OUTLINE_SECONDS, weight=1 + len(outline))
        return Course(course.get("creator"), analytics, outline)


def _course(key: ObjectId) -> list[Document]:
    """The course with its creator and its sections' ids."""
    return [
        {"$match": {"_id": key}},
        {"$project": {"creator": 1, "sections": {"$ifNull": ["$sections", []]}}},
    ]


def _and_analytics(key: ObjectId) -> Document:
    """The course's flushed counts as a second document, the only one without an `_id`.

    Not a $lookup: the key is known, and MongoDB would pack the counts into an array of the course, 30 µs for 200
    lectures.
    """
    counts = [{"$match": {"courseId": key}}, {"$project": {"_id": 0, "usersSketch": 0}}]
    return {"$unionWith": {"coll": COURSE_ANALYTICS, "pipeline": counts}}


def _lookup(collection: str, local: str, fields: Document, into: str) -> Document:
    """A $lookup by `_id` of only these fields. The documents come in no particular order."""
    return {
        "$lookup": {
            "from": collection,
            "localField": local,
            "foreignField": "_id",
            "pipeline": [{"$project": fields}],
            "as": into,
        }
    }


_EVERY_LECTURE = {
    "$reduce": {
        "input": "$sectionDocuments.lectures",
        "initialValue": [],
        "in": {"$concatArrays": ["$$value", {"$ifNull": ["$$this", []]}]},
    }
}

# One look-up for all lectures: by section it would be one query a section.
_WITH_OUTLINE: list[Document] = [
    _lookup(SECTIONS, "sections", {"lectures": 1}, "sectionDocuments"),
    {"$set": {"lectureIds": _EVERY_LECTURE}},
    _lookup(LECTURES, "lectureIds", {"lectureTitle": 1}, "lectureDocuments"),
    {"$unset": "lectureIds"},
]


def _outline_in(document: Document) -> Outline:
    return outline_of(document["sections"], document["sectionDocuments"], document["lectureDocuments"])
