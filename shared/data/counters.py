"""The counters: what each is called in a Redis hash, and where its total lives in a course's MongoDB document.

All three programs read this one table: ingest to name what it increments, the flusher to turn a taken hash into an
update, the dashboard to read both stores as the same `Counts`. A new counter is a new row.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LECTURE_STATS = "lectureStats"

# The numbers of a course: by the counter's name, then by lecture id. A counter that a course has once has its under "".
# Not by field: putting the fields' names together and picking some out again took 80 µs for each 200 lectures.
Counts = dict[str, dict[str, int]]


class UnknownCounter(ValueError):
    """The field of a hash is no counter of this table."""


@dataclass(frozen=True, slots=True)
class CourseCounter:
    """A counter that a course has once."""

    name: str
    path: str

    def field(self) -> str:
        """Its field in a Redis hash."""
        return self.name


@dataclass(frozen=True, slots=True)
class LectureCounter:
    """A counter that each lecture of a course has."""

    name: str
    leaf: str

    def field(self, lecture_id: str) -> str:
        """Its field in a Redis hash."""
        return f"{self.name}:{lecture_id}"


COURSE_VIEWS = CourseCounter("course_views", "totalViews")
LECTURE_VIEWS = LectureCounter("lecture_views", "views")
LECTURE_WATCH_TIME = LectureCounter("lecture_watchtime", "totalWatchTime")  # whole seconds

_COURSE_COUNTERS = {counter.name: counter for counter in (COURSE_VIEWS,)}
_LECTURE_COUNTERS = {counter.name: counter for counter in (LECTURE_VIEWS, LECTURE_WATCH_TIME)}


def document_path(field: str) -> str:
    """The path in a `courseanalytics` document that a hash field is added to. Raises UnknownCounter."""
    name, _, lecture_id = field.partition(":")
    if lecture_id and name in _LECTURE_COUNTERS:
        return f"{LECTURE_STATS}.{lecture_id}.{_LECTURE_COUNTERS[name].leaf}"
    if not lecture_id and name in _COURSE_COUNTERS:
        return _COURSE_COUNTERS[name].path
    raise UnknownCounter(field)


def counts_of_document(document: Mapping[str, Any]) -> Counts:
    """Every total of a `courseanalytics` document.

    What is no number counts as 0: the flusher quarantines what cannot be added to it, and the rest stays readable.
    """
    counts = {counter.name: {"": count_of(document.get(counter.path))} for counter in _COURSE_COUNTERS.values()}
    stats = _fields(document.get(LECTURE_STATS))
    for counter in _LECTURE_COUNTERS.values():
        leaf = counter.leaf
        # Nearly every count is an int in a dict: seen here, it is spared two calls, 30 % of the time.
        counts[counter.name] = {
            lecture_id: count
            if type(leaves) is dict and type(count := leaves.get(leaf)) is int
            else count_of(_fields(leaves).get(leaf))
            for lecture_id, leaves in stats.items()
        }
    return counts


def add_fields(counts: Counts, fields: Mapping[str, int]) -> None:
    """Adds the fields of a Redis hash to the counts of a document. A field that is no counter is left out."""
    for field, count in fields.items():
        name, _, lecture_id = field.partition(":")
        of_lectures = counts.get(name)
        if of_lectures is not None and (lecture_id or name in _COURSE_COUNTERS):
            of_lectures[lecture_id] = of_lectures.get(lecture_id, 0) + count


def fields_of(counts: Counts) -> dict[str, int]:
    """The counts under the fields that a Redis hash has for them."""
    return {
        f"{name}:{lecture_id}" if lecture_id else name: count
        for name, of_lectures in counts.items()
        for lecture_id, count in of_lectures.items()
    }


def _fields(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def count_of(value: object) -> int:
    """A number that a document holds, 0 for anything else."""
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0
