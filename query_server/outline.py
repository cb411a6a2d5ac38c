"""The lectures of a course, in course order. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from bson import Decimal128, Int64, ObjectId

from shared.serving.validation import is_object_id
from shared.stores.mongo import Document


class Lecture(NamedTuple):
    """A current lecture of a course; its title is empty if the platform has no document of it."""

    lecture_id: str
    title: str


Outline = tuple[Lecture, ...]


def outline_of(
    sections: Sequence[object], section_documents: Sequence[Document], lecture_documents: Sequence[Document]
) -> Outline:
    """The lectures in the order of `sections`, the course's list of section ids; the documents come in any order.

    Ids are ObjectIds or their strings; anything else is skipped, and so is a section without a document. A lecture that
    is listed twice keeps its first place.
    """
    lists = {key_of(section["_id"]): section.get("lectures") or () for section in section_documents}
    titles = {key_of(lecture["_id"]): title_of(lecture.get("lectureTitle")) for lecture in lecture_documents}
    ids = dict.fromkeys(map(key_of, _in_order(sections, lists)))
    return tuple(Lecture(lecture_id, titles.get(lecture_id, "")) for lecture_id in ids if is_object_id(lecture_id))


def key_of(reference: object) -> str:
    """The text of an id, the same for an ObjectId and its string; for anything else its representation."""
    if isinstance(reference, ObjectId):
        return str(reference)
    if type(reference) is str:
        return reference.lower() if ObjectId.is_valid(reference) else reference
    return repr(reference)


def title_of(title: Any) -> str:  # noqa: ANN401 - whatever the platform has stored
    """The title as text: a number counts as a title; anything else gives no title."""
    if type(title) is str:
        return title
    return str(title) if type(title) in {int, float, Int64, Decimal128} else ""


def _in_order(sections: Sequence[object], lists: dict[str, Any]) -> Iterator[object]:
    for section in sections:
        yield from lists.get(key_of(section), ())
