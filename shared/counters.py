"""The counters: what each is called in a Redis hash, and where its total lives in a course's MongoDB document.

All three programs read this one table: ingest to name what it increments, the flusher to turn a taken hash into an
update, the dashboard to read both stores as the same kind of mapping, from field to number. A new counter is a new row.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

LECTURE_STATS = "lectureStats"


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


def counts_of_document(document: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Every total of a `courseanalytics` document, under the field that a Redis hash has for it.

    What is no number counts as 0: the flusher quarantines what cannot be added to it, and the rest stays readable.
    """
    for course_counter in _COURSE_COUNTERS.values():
        yield course_counter.field(), count_of(document.get(course_counter.path))
    for lecture_id, stats in _fields(document.get(LECTURE_STATS)).items():
        leaves = _fields(stats)
        for counter in _LECTURE_COUNTERS.values():
            yield counter.field(lecture_id), count_of(leaves.get(counter.leaf))


def _fields(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def count_of(value: object) -> int:
    """A number that a document holds, 0 for anything else."""
    if type(value) is int:  # nearly always; a dashboard comes here twice a lecture
        return value
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0
