"""Courses in the platform's own collections: a demo course, and the writer that tests use for theirs."""

from collections.abc import Mapping
from dataclasses import dataclass

from bson import ObjectId
from pymongo.database import Database


@dataclass(frozen=True, slots=True)
class Lecture:
    """A lecture; the id is 24 lower-case hexadecimal digits, here and below."""

    id: str
    title: str


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a course, its lectures in order."""

    id: str
    lectures: tuple[Lecture, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """A course, its sections in order; `creator` is the instructor's user id, an object id too."""

    id: str
    title: str
    creator: str
    sections: tuple[Section, ...]

    @property
    def lectures(self) -> tuple[Lecture, ...]:
        """All lectures in course order."""
        return tuple(lecture for section in self.sections for lecture in section.lectures)


DEMO_COURSE = Course(
    id="650000000000000000000001",
    title="Distributed systems, gently",
    creator="650000000000000000000099",
    sections=(
        Section(
            id="650000000000000000000010",
            lectures=(
                Lecture("650000000000000000000011", "Why machines disagree"),
                Lecture("650000000000000000000012", "Time without clocks"),
                Lecture("650000000000000000000013", "Messages that get lost"),
                Lecture("650000000000000000000014", "Retries and idempotence"),
            ),
        ),
        Section(
            id="650000000000000000000020",
            lectures=(
                Lecture("650000000000000000000021", "Replicas and quorums"),
                Lecture("650000000000000000000022", "Locks that expire"),
                Lecture("650000000000000000000023", "Exactly once, honestly"),
                Lecture("650000000000000000000024", "What to measure"),
            ),
        ),
    ),
)


def write_course(database: Database[Mapping[str, object]], course: Course) -> None:
    """Writes a course as the platform stores it; writing it again changes nothing."""
    for lecture in course.lectures:
        upsert(database, "lectures", lecture.id, {"lectureTitle": lecture.title})
    for section in course.sections:
        upsert(database, "sections", section.id, {"lectures": [ObjectId(each.id) for each in section.lectures]})
    sections = [ObjectId(section.id) for section in course.sections]
    document = {"title": course.title, "creator": ObjectId(course.creator), "sections": sections}
    upsert(database, "courses", course.id, document)


def upsert(database: Database[Mapping[str, object]], collection: str, key: str, fields: Mapping[str, object]) -> None:
    """Writes one document, or overwrites it."""
    database[collection].replace_one({"_id": ObjectId(key)}, fields, upsert=True)
