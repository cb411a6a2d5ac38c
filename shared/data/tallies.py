"""The tallies: named sets of counters, each of which is one hash in Redis and one document in MongoDB.

This table has for each kind its name, collection, unique key and counters, and the place of each counter in the
document. Nothing outside of it knows how many kinds there are: ingest names what it increments, the flusher turns a
taken hash into an update, and the query server reads both stores as the same `Counts`. A new counter is a new row.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from bson import Decimal128, ObjectId

# The numbers of a tally: by the counter's name, then by item (a lecture, a reason, a segment). A counter that has no
# items has its number under "". Not by field: building the fields' names and finding some of them again took 80 µs
# for each 200 lectures.
# All of them are whole, unless the platform has stored a fraction.
Counts = dict[str, dict[str, float]]

# The largest number that MongoDB adds to without turning it into another type.
LARGEST = 2**63 - 1

_LECTURE = re.compile(r"[0-9a-f]{24}")
_REASON = re.compile(r"[A-Z][A-Z_]{0,31}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,4}")


class UnknownCounter(ValueError):
    """The field of a hash is not a counter of the tally's kind."""


@dataclass(frozen=True, slots=True)
class Counter:
    """A row of the table.

    In a Redis hash its field is `name`, or `name:<item>`. In a document it is at `parent.<item>.leaf`, at
    `parent.<item>` without a leaf, and at `parent` without items. `total` is the path of the sum over all items, if the
    document has one.
    """

    name: str
    parent: str
    leaf: str = ""
    item: re.Pattern[str] | None = None
    total: str = ""

    def field(self, item: str = "") -> str:
        """Its field in a Redis hash."""
        return f"{self.name}:{item}" if self.item else self.name

    def path(self, item: str = "") -> str:
        """Its path in a document."""
        before, after = self.around()
        return f"{before}{item}{after}"

    def around(self) -> tuple[str, str]:
        """What its path has before and after the item."""
        return (f"{self.parent}." if self.item else self.parent, f".{self.leaf}" if self.leaf else "")

    def has(self, item: str) -> bool:
        """Whether that is one of its items; a counter without items has only ""."""
        return self.item.fullmatch(item) is not None if self.item else item == ""

    def fields(self) -> str:
        """The pattern of its fields in a Redis hash."""
        return f"{self.name}:(?:{self.item.pattern})" if self.item else self.name


COURSE_VIEWS = Counter("course_views", "totalViews")
LECTURE_VIEWS = Counter("lecture_views", "lectureStats", "views", _LECTURE)
LECTURE_WATCH_TIME = Counter("lecture_watchtime", "lectureStats", "totalWatchTime", _LECTURE)  # whole seconds
NOT_COUNTED = Counter("not_counted", "notCounted", "events", _REASON)
NOT_COUNTED_SECONDS = Counter("not_counted_seconds", "notCounted", "seconds", _REASON)

# Days also have the sums over their lectures, so that a list of days need not read every lecture.
DAY_LECTURE_VIEWS = Counter("lecture_views", "lectureStats", "views", _LECTURE, total="lectureViews")
DAY_LECTURE_WATCH_TIME = Counter("lecture_watchtime", "lectureStats", "totalWatchTime", _LECTURE, total="watchTime")

PLAYBACKS = Counter("playbacks", "playbacks")
SEGMENT_WATCHED = Counter("segment_watched", "segments", "watched", _NUMBER)  # tenths of a second
SEGMENT_VIEWS = Counter("segment_views", "segments", "views", _NUMBER)
DURATION = Counter("duration", "durations", "", _NUMBER)  # playbacks, by the duration that their player reports


class Kind:
    """What the tallies of one kind have in common.

    `key` is the document's unique field: `courseId`, or `_id`, which then is the tally's name. `item` is the field that
    repeats the second part of the name. `window` is the number of batch ids in a document. Only kinds with users have
    a sketch of them.
    """

    def __init__(
        self, name: str, collection: str, counters: Iterable[Counter], *, key: str, item: str, window: int, users: bool
    ) -> None:
        self.name = name
        self.collection = collection
        self.counters = {counter.name: counter for counter in counters}
        self.key = key
        self.item = item
        self.window = window
        self.users = users
        field = "|".join(counter.fields() for counter in self.counters.values())
        self._field, self._lines = re.compile(field), re.compile(f"(?:(?:{field})\n)*+")
        self._places = {counter.name: (*counter.around(), counter.total) for counter in self.counters.values()}

    def has(self, field: str) -> bool:
        """Whether a field of a hash is a counter of the kind."""
        return self._field.fullmatch(field) is not None

    def has_all(self, fields: Collection[str]) -> bool:
        """Whether all are counters of the kind. One look at all takes half the time of one at each."""
        lines = "\n".join([*fields, ""])
        return self._lines.fullmatch(lines) is not None and lines.count("\n") == len(fields)

    def counter_of(self, field: str) -> tuple[Counter, str]:
        """The counter of a hash field, and its item. Raises UnknownCounter."""
        if not self.has(field):
            raise UnknownCounter(field)
        name, _, item = field.partition(":")
        return self.counters[name], item

    def increments(self, fields: Mapping[str, int]) -> dict[str, int]:
        """What a taken hash adds to its document, by path. Raises UnknownCounter."""
        if not self.has_all(fields):
            raise UnknownCounter(next(field for field in fields if not self.has(field)))
        added: dict[str, int] = {}
        for field, count in fields.items():
            name, _, item = field.partition(":")
            before, after, total = self._places[name]
            added[f"{before}{item}{after}"] = count
            if total:
                added[total] = added.get(total, 0) + count
        return added

    def counts_of(self, document: Mapping[str, Any]) -> Counts:
        """Every number of a document. Anything else counts as 0, so that the rest stays readable."""
        counts: Counts = {}
        for counter in self.counters.values():
            held = document.get(counter.parent)
            if counter.item is None:
                counts[counter.name] = {"": count_of(held)}
            elif not counter.leaf:
                counts[counter.name] = {item: count_of(count) for item, count in items_of(held).items()}
            else:
                leaf = counter.leaf
                # Nearly every count is an int in a dict: checking that here saves two calls, 30 % of the time.
                counts[counter.name] = {
                    item: count
                    if type(leaves) is dict and type(count := leaves.get(leaf)) is int
                    else count_of(items_of(leaves).get(leaf))
                    for item, leaves in items_of(held).items()
                }
        return counts

    def add_fields(self, counts: Counts, fields: Mapping[str, int]) -> None:
        """Adds the fields of a Redis hash to the counts of a document. Skips fields that are not counters."""
        for field, count in fields.items():
            name, _, item = field.partition(":")
            items = counts.get(name)
            if items is not None and (item or self.counters[name].item is None):
                items[item] = items.get(item, 0) + count


COURSE = Kind(
    "course",
    "courseanalytics",
    (COURSE_VIEWS, LECTURE_VIEWS, LECTURE_WATCH_TIME, NOT_COUNTED, NOT_COUNTED_SECONDS),
    key="courseId",
    item="",
    window=32,
    users=True,
)
DAY = Kind(
    "day",
    "courseanalyticsdays",
    (COURSE_VIEWS, DAY_LECTURE_VIEWS, DAY_LECTURE_WATCH_TIME, NOT_COUNTED, NOT_COUNTED_SECONDS),
    key="_id",
    item="day",
    window=8,
    users=True,
)
LECTURE = Kind(
    "lecture",
    "lectureanalytics",
    (PLAYBACKS, SEGMENT_WATCHED, SEGMENT_VIEWS, DURATION),
    key="_id",
    item="lectureId",
    window=8,
    users=False,
)
KINDS = (COURSE, DAY, LECTURE)


_NAME = re.compile(r"(?P<course>[0-9a-f]{24})(?:/(?:(?P<lecture>[0-9a-f]{24})|(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})))?")


class Tally(NamedTuple):
    """One tally: its name in Redis' keys and dirty sets. `item` is its day or lecture, "" for a course."""

    name: str
    kind: Kind
    course_id: str
    item: str = ""

    def identity(self) -> dict[str, Any]:
        """The filter that finds its document."""
        return {self.kind.key: self.name if self.kind.key == "_id" else ObjectId(self.course_id)}

    def repeated(self) -> dict[str, Any]:
        """The parts of its name that its document repeats, from its first update on."""
        if not self.kind.item:
            return {}
        item = ObjectId(self.item) if self.kind is LECTURE else self.item
        return {"courseId": ObjectId(self.course_id), self.kind.item: item}


def course_tally(course_id: str) -> Tally:
    """A course's totals. The name is the course id."""
    return Tally(course_id, COURSE, course_id)


def day_tally(course_id: str, day: str) -> Tally:
    """A course's day, YYYY-MM-DD in the installation's zone."""
    return Tally(f"{course_id}/{day}", DAY, course_id, day)


def lecture_tally(course_id: str, lecture_id: str) -> Tally:
    """A lecture's segments."""
    return Tally(f"{course_id}/{lecture_id}", LECTURE, course_id, lecture_id)


def tally_of(name: str) -> Tally | None:
    """The tally of that name; None if there is no such tally."""
    parts = _NAME.fullmatch(name)
    if parts is None:
        return None
    if parts["lecture"]:
        return lecture_tally(parts["course"], parts["lecture"])
    return day_tally(parts["course"], parts["day"]) if parts["day"] else course_tally(parts["course"])


def fields_of(counts: Counts) -> dict[str, int]:
    """The counts by hash field, as whole numbers."""
    return {
        f"{name}:{item}" if item else name: int(count)
        for name, items in counts.items()
        for item, count in items.items()
    }


def items_of(value: object) -> Mapping[str, Any]:
    """What a document has below one of its fields, by name; below anything but a document or an array nothing."""
    if isinstance(value, list):  # `$inc` of `segments.0` adds to the first element of an array, if it is one
        return {str(place): held for place, held in enumerate(value) if held is not None}
    return value if isinstance(value, dict) else {}


def count_of(value: object) -> float:
    """A number of any of BSON's types, 0 for anything else; whole unless it has a fraction. It fits into 64 bits."""
    if type(value) is int and -LARGEST <= value <= LARGEST:  # nearly every one
        return value
    if isinstance(value, Decimal128):
        number = value.to_decimal()
        value = float(number) if number.is_finite() else None
    if not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    bounded = max(-LARGEST, min(value, LARGEST))
    return int(bounded) if bounded == int(bounded) else bounded
