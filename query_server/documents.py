"""The queries to MongoDB: a course with its outline, and tallies, as stages of one aggregation. Pure.

Whatever the platform has stored, the answer has the requested shape: lists of references, and titles. The `_id` of a
tally's document is the tally's name; a course's totals have none.
"""

from collections.abc import Sequence

from bson import ObjectId

from shared.data.tallies import COURSE, DAY, LECTURE, Tally
from shared.serving.validation import MAX_LECTURES, is_object_id
from shared.stores.day_zone import DAYS_ID, RECORDED_SINCE
from shared.stores.mongo import ANALYTICS_SETTINGS, LECTURES, SECTIONS, Document

FIRST_DAY = "first day"
LIGHT = (
    "totalViews",
    "lectureViews",
    "watchTime",
    "uniqueActiveUsers",
    "usersSketchSavedAt",
    "notCounted",
    "recentBatches",
    "updatedAt",
)


def owned(course_id: str, user_id: str, *, outline: bool) -> list[Document]:
    """The course, with `mine`: whether it is the user's; with its outline if so, and if it is not `tooLarge`.

    The size is checked before anything is looked up, so that an enormous course delays no other caller.
    """
    mine = {"$in": ["$creator", {"$literal": _creators(user_id)}]}
    match = {"$match": {"_id": ObjectId(course_id)}}
    if not outline:
        return [match, {"$project": {"mine": mine}}]
    sections = {"$cond": [mine, _references("$sections"), []]}
    return [
        match,
        {"$project": {"mine": mine, "sections": sections}},
        _unless_too_large("sections", {"$size": "$sections"}),
        {"$set": {"sectionKeys": _keys("$sections")}},
        _lookup(SECTIONS, "sectionKeys", {"lectures": _references("$lectures", at_most=MAX_LECTURES + 1)}),
        _unless_too_large(SECTIONS_FOUND, {"$sum": {"$map": {"input": f"${SECTIONS_FOUND}", "in": _lectures_of_this}}}),
        {"$set": {"lectureKeys": _keys(_every_lecture)}},
        _lookup(LECTURES, "lectureKeys", {"lectureTitle": {"$cond": [_is_a_title, "$lectureTitle", None]}}),
        {"$unset": ["sectionKeys", "lectureKeys"]},
    ]


def created_by(user_id: str, after: str | None) -> Document:
    """The filter of a user's courses, all of them or those that are older than one of them."""
    older = {"$lt": ObjectId(after)} if after is not None else {}
    return {"creator": {"$in": _creators(user_id)}, "_id": {"$type": "objectId", **older}}


def listed(course_ids: Sequence[str], last_days: Sequence[str]) -> list[Document]:
    """The totals of courses; the lecture views of their days; and the installation's first day.

    Days come without their batches, which would be two thirds of what is sent.
    """
    stretches = [between(course_id, last_days[0], last_days[-1]) for course_id in course_ids]
    return [*totals_of(course_ids), _and(DAY.collection, {"$or": stretches}, {"lectureViews": 1}), _installation()]


def totals_of(course_ids: Sequence[str]) -> list[Document]:
    """The totals of courses, with their ids as `_id`."""
    fields = {"totalViews": 1, "uniqueActiveUsers": 1, "lectureStats": 1, "recentBatches": 1}
    # `$in` also matches an array that has one of the ids.
    asked = {"$in": [ObjectId(course_id) for course_id in course_ids], "$not": {"$type": "array"}}
    return [{"$match": {"courseId": asked}}, {"$project": {**fields, "_id": {"$toString": "$courseId"}}}]


def totals(course_id: str) -> Document:
    """A course's totals, without its sketch.

    Not a $lookup: the key is known, and MongoDB would pack the counts into an array of the course, 30 µs for 200
    lectures.
    """
    return _and(COURSE.collection, {"courseId": ObjectId(course_id)}, {"_id": 0, "usersSketch": 0})


def lecture(tally: Tally) -> Document:
    """A lecture's tally."""
    return _and(LECTURE.collection, {"_id": tally.name}, {"updatedAt": 0})


def days(course_id: str, first: str, last: str) -> Document:
    """Days of a course, without the counts of single lectures and without sketches."""
    return _and(DAY.collection, between(course_id, first, last), dict.fromkeys(LIGHT, 1))


def whole_day(tally: Tally) -> Document:
    """A day with its sketch, without the counts of single lectures."""
    return _and(DAY.collection, {"_id": tally.name}, dict.fromkeys([*LIGHT, "usersSketch"], 1))


def between(course_id: str, first: str, last: str) -> Document:
    """The filter of the days from the first to the last."""
    return {"_id": {"$gte": f"{course_id}/{first}", "$lte": f"{course_id}/{last}"}}


def beginnings(course_id: str) -> list[Document]:
    """The first day of the installation and of the course, for `recorded_since`."""
    of_course: Document = {"_id": {"$gte": f"{course_id}/", "$lt": f"{course_id}0"}, "day": {"$type": "string"}}
    first: list[Document] = [
        {"$match": of_course},
        {"$sort": {"_id": 1}},
        {"$limit": 1},
        {"$project": {"_id": {"$literal": FIRST_DAY}, "day": 1}},
    ]
    return [
        {"$unionWith": {"coll": DAY.collection, "pipeline": first}},
        _installation(),
    ]


def _installation() -> Document:
    return _and(ANALYTICS_SETTINGS, {"_id": DAYS_ID}, {RECORDED_SINCE: 1})


def _creators(user_id: str) -> list[object]:
    """How the platform may have stored the user as a creator."""
    return [user_id, *([ObjectId(user_id)] if is_object_id(user_id) else [])]


def _and(collection: str, match: Document, fields: Document) -> Document:
    return {"$unionWith": {"coll": collection, "pipeline": [{"$match": match}, {"$project": fields}]}}


SECTIONS_FOUND = f"{SECTIONS}Found"
_lectures_of_this = {"$size": "$$this.lectures"}
_every_lecture: Document = {
    "$reduce": {
        "input": f"${SECTIONS_FOUND}.lectures",
        "initialValue": [],
        "in": {"$concatArrays": ["$$value", "$$this"]},
    }
}

# Anything else is none, and possibly no driver can decode it.
_is_a_title: Document = {"$or": [{"$isNumber": "$lectureTitle"}, {"$eq": [{"$type": "$lectureTitle"}, "string"]}]}


def _references(path: str, *, at_most: int | None = None) -> Document:
    """A list of ids; a document in place of an id stands for its `_id`. Anything but a list is empty."""
    listed: Document = {"$cond": [{"$isArray": path}, path, []]}
    if at_most is not None:
        listed = {"$slice": [listed, at_most]}
    return {"$map": {"input": listed, "in": {"$ifNull": ["$$this._id", "$$this"]}}}


def _keys(references: str | Document) -> Document:
    """The possible ids: a string of 24 digits stands for itself, or for the ObjectId that it spells."""
    spelled = {"$convert": {"input": "$$this", "to": "objectId", "onError": "$$this", "onNull": None}}
    return {"$setUnion": [references, {"$map": {"input": references, "in": spelled}}]}


def _unless_too_large(field: str, size: Document) -> Document:
    """Empties a list that exceeds the course's limit."""
    return {
        "$set": {
            "tooLarge": {"$or": ["$tooLarge", {"$gt": [size, MAX_LECTURES]}]},
            field: {"$cond": [{"$gt": [size, MAX_LECTURES]}, [], f"${field}"]},
        }
    }


def _lookup(collection: str, local: str, fields: Document) -> Document:
    """A $lookup by `_id` of only these fields, into `<collection>Found`. The documents come in no particular order.

    One lookup for all lectures: one by section would run a query for each section.
    """
    return {
        "$lookup": {
            "from": collection,
            "localField": local,
            "foreignField": "_id",
            "pipeline": [{"$project": fields}],
            "as": f"{collection}Found",
        }
    }
