"""Course order, whatever order the documents come in."""

from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from query_server.outline import Lecture, outline_of
from shared.stores.mongo import Document

ONE, TWO, THREE, FOUR = (ObjectId() for _ in range(4))
FIRST, SECOND = ObjectId(), ObjectId()


def section(key: ObjectId, *lectures: ObjectId) -> Document:
    return {"_id": key, "lectures": list(lectures)}


def titled(*lectures: ObjectId) -> list[Document]:
    return [{"_id": lecture, "lectureTitle": f"Title of {lecture}"} for lecture in lectures]


def shown(*lectures: ObjectId) -> tuple[Lecture, ...]:
    return tuple(Lecture(str(lecture), f"Title of {lecture}") for lecture in lectures)


@given(
    st.permutations([section(FIRST, TWO, ONE), section(SECOND, THREE, FOUR)]),
    st.permutations(titled(ONE, TWO, THREE, FOUR)),
)
def test_lectures_come_in_course_order_whatever_order_the_documents_have(
    sections: list[Document], lectures: list[Document]
) -> None:
    assert shown(THREE, FOUR, TWO, ONE) == outline_of([SECOND, FIRST], sections, lectures)


def test_a_lecture_without_a_document_keeps_its_place_with_an_empty_title() -> None:
    expected = (*shown(ONE), Lecture(str(TWO), ""), *shown(THREE))
    assert expected == outline_of([FIRST], [section(FIRST, ONE, TWO, THREE)], titled(ONE, THREE))


def test_a_lecture_without_a_title_has_an_empty_one() -> None:
    assert (Lecture(str(ONE), ""),) == outline_of([FIRST], [section(FIRST, ONE)], [{"_id": ONE, "lectureTitle": None}])


def test_a_lecture_listed_twice_has_its_first_place() -> None:
    sections = [section(FIRST, ONE, TWO), section(SECOND, ONE, THREE)]
    assert shown(ONE, TWO, THREE) == outline_of([FIRST, SECOND], sections, titled(ONE, TWO, THREE))


def test_a_section_without_a_document_is_skipped() -> None:
    assert shown(ONE) == outline_of([SECOND, FIRST], [section(FIRST, ONE)], titled(ONE))


def test_a_section_without_lectures_is_empty() -> None:
    assert shown(ONE) == outline_of([SECOND, FIRST], [{"_id": SECOND}, section(FIRST, ONE)], titled(ONE))
