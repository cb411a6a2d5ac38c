"""`python -m flusher migrate`: makes the `courseanalytics` that a platform wrote before usable, one course at a time.

Afterwards each course has one document, whose `courseId` is an ObjectId and whose numbers are whole. The command names
what it does not understand, and leaves it alone. Repeating it changes nothing. The planning is pure.
"""

import math
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from bson import Decimal128, ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.read_concern import ReadConcern

from flusher.steps.shape import MOST
from shared.data.tallies import COURSE, COURSE_VIEWS, LECTURE_VIEWS, LECTURE_WATCH_TIME
from shared.stores.mongo import Document

_OBJECT_ID = re.compile(r"[0-9a-f]{24}", re.IGNORECASE)
_USERS = "uniqueActiveUsers"
_EPOCH = "epoch"


class NotUnderstood(Exception):
    """Something in a document is ambiguous; the text names it and says what helps."""


@dataclass(frozen=True, slots=True)
class Step:
    """The changes for a course's documents: one is kept and gets `changes`, the others are deleted.

    `because` gives the reasons in words.
    """

    kept: Any
    removed: Sequence[Any]
    changes: Mapping[str, Any]
    because: Sequence[str]


def plan(documents: Sequence[Document]) -> Step | None:
    """The changes for all documents of one course; None if there is nothing to do. Raises NotUnderstood."""
    ours = [document for document in documents if _EPOCH in document]
    if len(ours) > 1:
        raise NotUnderstood("a flusher has written to several of its documents: merge them by hand")
    kept = ours[0] if ours else min(documents, key=lambda document: str(document["_id"]))
    because: list[str] = []
    changes: dict[str, Any] = {}
    if not isinstance(kept["courseId"], ObjectId):
        changes["courseId"] = ObjectId(kept["courseId"])
        because.append("its courseId is a string and becomes an ObjectId")
    if len(documents) > 1:
        because.append(f"{len(documents)} documents become one, with the sums of their counts")
    merged = _merged(documents)
    changes |= {path: number for path, number in merged.items() if _at(kept, path) != number}
    if set(changes) - {"courseId"} and len(documents) == 1:
        because.append("a number is not stored as a whole one, and becomes one")
    removed = [document["_id"] for document in documents if document is not kept]
    return Step(kept["_id"], removed, changes, because) if changes or removed else None


def _merged(documents: Iterable[Document]) -> dict[str, int]:
    """The sum of every counter, by path; for users the largest number, because nobody knows who is in both."""
    sums: defaultdict[str, int] = defaultdict(int)
    for document in documents:
        for path, value in _numbers(document):
            number = _whole(path, value)
            sums[path] = max(sums[path], number) if path == _USERS else sums[path] + number
    return dict(sums)


def _numbers(document: Document) -> Iterator[tuple[str, object]]:
    for path in (COURSE_VIEWS.path(), _USERS):
        if path in document:
            yield path, document[path]
    for lecture_id, leaves in _lectures(document).items():
        for counter in (LECTURE_VIEWS, LECTURE_WATCH_TIME):
            if counter.leaf in leaves:
                yield counter.path(lecture_id), leaves[counter.leaf]


def _lectures(document: Document) -> Document:
    name = LECTURE_VIEWS.parent
    lectures = document.get(name, {})
    if not isinstance(lectures, dict):
        raise NotUnderstood(f"{name} is no map of lectures but {_shown(lectures)}")
    for lecture_id, leaves in lectures.items():
        if not LECTURE_VIEWS.has(lecture_id):
            raise NotUnderstood(f"{name} has the key {_shown(lecture_id)}, which is no lecture's id")
        if not isinstance(leaves, dict):
            raise NotUnderstood(f"{name}.{lecture_id} is no map of counts but {_shown(leaves)}")
    return lectures


def _whole(path: str, value: object) -> int:
    """The value as a whole number; seconds are rounded half up, like pings. Raises NotUnderstood."""
    number = value.to_decimal() if isinstance(value, Decimal128) else value
    if isinstance(number, bool) or not isinstance(number, int | float | Decimal) or not math.isfinite(number):
        raise NotUnderstood(f"{path} is {_shown(value)}, and not a number")
    rounded = math.floor(Fraction(number) + Fraction(1, 2))
    if number < 0 or (rounded != number and not path.endswith(LECTURE_WATCH_TIME.leaf)):
        raise NotUnderstood(f"{path} is {_shown(value)}, and not a whole number of 0 or more")
    if rounded > MOST:
        raise NotUnderstood(f"{path} is {_shown(value)}, and larger than a count may be")
    return rounded


def _at(document: Document, path: str) -> object:
    found: Any = document
    for name in path.split("."):
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found if type(found) is not float else None  # a double without a fraction becomes an integer


def _shown(value: object) -> str:
    return repr(value)[:60]


def course_of(document: Document) -> str | None:
    """The id of a document's course, as 24 lower-case digits; None if its `courseId` is not an id."""
    course_id = document.get("courseId")
    if isinstance(course_id, ObjectId):
        return str(course_id)
    return course_id.lower() if isinstance(course_id, str) and _OBJECT_ID.fullmatch(course_id) else None


async def migrate(database: AsyncDatabase[Document], *, apply: bool) -> AsyncIterator[tuple[bool, str]]:
    """For each course that needs a change: whether the change is understood, and what is done, in words.

    Writes only with `apply`. Each course is one transaction, so a concurrent flush or a crash does no harm.
    Raises PyMongoError.
    """
    collection = database[COURSE.collection]
    courses: defaultdict[str, list[Any]] = defaultdict(list)
    async for document in collection.find({}, {"courseId": 1}):
        course_id = course_of(document)
        if course_id is None:
            yield (
                False,
                f"the document {document['_id']!r} has the courseId {_shown(document.get('courseId'))}: left alone",
            )
        else:
            courses[course_id].append(document["_id"])
    for course_id, ids in courses.items():
        try:
            step = await _carry_out(collection, ids, apply=apply)
        except NotUnderstood as problem:
            yield False, f"course {course_id}: left alone, because {problem}"
        else:
            if step is not None:
                yield True, f"course {course_id}: {'; '.join(step.because)}"


async def _carry_out(collection: AsyncCollection[Document], ids: Sequence[Any], *, apply: bool) -> Step | None:
    async def once(session: AsyncClientSession) -> Step | None:
        step = plan(await collection.find({"_id": {"$in": list(ids)}}, session=session).sort("_id").to_list())
        if step and apply:
            await collection.delete_many({"_id": {"$in": list(step.removed)}}, session=session)
            if step.changes:
                await collection.update_one({"_id": step.kept}, {"$set": dict(step.changes)}, session=session)
        return step

    async with collection.database.client.start_session() as session:
        return await session.with_transaction(once, read_concern=ReadConcern("snapshot"))
