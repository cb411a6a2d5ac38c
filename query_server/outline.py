"""The lectures of a course, in course order. Pure."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from shared.stores.mongo import Document


class Lecture(NamedTuple):
    """A current lecture of a course; its title is empty while the platform has no document of it."""

    lecture_id: str
    title: str


Outline = tuple[Lecture, ...]


def outline_of(sections: list[Any], section_documents: list[Document], lecture_documents: list[Document]) -> Outline:
    """The lectures in the order of `sections`, the course's list of section ids; the documents come in any order.

    A section without a document is skipped. A lecture that is listed twice has its first place.
    """
    lists = {section["_id"]: section.get("lectures") or () for section in section_documents}
    titles = {lecture["_id"]: lecture.get("lectureTitle") or "" for lecture in lecture_documents}
    return tuple(Lecture(str(key), titles.get(key, "")) for key in dict.fromkeys(_in_order(sections, lists)))


def _in_order(sections: list[Any], lists: dict[Any, Any]) -> Iterator[Any]:
    for section in sections:
        yield from lists.get(section, ())
