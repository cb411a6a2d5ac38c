"""One table for all programs: a field's path, and the same field read back from the document."""

from typing import Any

import pytest

from shared.data.counters import (
    COURSE_VIEWS,
    LECTURE_VIEWS,
    LECTURE_WATCH_TIME,
    UnknownCounter,
    add_fields,
    counts_of_document,
    document_path,
    fields_of,
)

LECTURE = "650000000000000000000011"


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("course_views", "totalViews"),
        (f"lecture_views:{LECTURE}", f"lectureStats.{LECTURE}.views"),
        (f"lecture_watchtime:{LECTURE}", f"lectureStats.{LECTURE}.totalWatchTime"),
    ],
)
def test_every_field_has_its_path(field: str, path: str) -> None:
    assert path == document_path(field)


def test_the_counters_name_their_fields() -> None:
    fields = [COURSE_VIEWS.field(), LECTURE_VIEWS.field(LECTURE), LECTURE_WATCH_TIME.field(LECTURE)]
    assert ["course_views", f"lecture_views:{LECTURE}", f"lecture_watchtime:{LECTURE}"] == fields


@pytest.mark.parametrize("field", ["", "batch", "course_views:x", "lecture_views", "lecture_views:", "likes:x"])
def test_what_is_no_counter_has_no_path(field: str) -> None:
    with pytest.raises(UnknownCounter):
        document_path(field)


def test_a_document_is_read_under_the_fields_it_was_written_from() -> None:
    document = {"totalViews": 7, "lectureStats": {LECTURE: {"views": 3, "totalWatchTime": 40}}, "recentBatches": ["A"]}
    expected = {"course_views": 7, f"lecture_views:{LECTURE}": 3, f"lecture_watchtime:{LECTURE}": 40}
    assert expected == fields_of(counts_of_document(document))


@pytest.mark.parametrize("document", [{}, {"totalViews": None, "lectureStats": None}, {"lectureStats": {}}])
def test_what_a_document_has_not_is_zero(document: dict[str, Any]) -> None:
    assert {"course_views": 0} == fields_of(counts_of_document(document))


@pytest.mark.parametrize("count", ["many", None, [1], float("nan"), float("inf")])
def test_what_is_no_number_counts_as_zero(count: object) -> None:
    assert {"course_views": 0} == fields_of(counts_of_document({"totalViews": count}))


def test_a_number_that_another_driver_stored_as_a_double_is_a_count() -> None:
    assert {"course_views": 5} == fields_of(counts_of_document({"totalViews": 5.0}))


def test_a_hash_is_added_to_a_document_under_the_same_names() -> None:
    counts = counts_of_document({"totalViews": 7, "lectureStats": {LECTURE: {"views": 3, "totalWatchTime": 40}}})
    add_fields(counts, {"course_views": 1, f"lecture_views:{LECTURE}": 2, "lecture_views:new": 4})
    expected = {"course_views": 8, f"lecture_views:{LECTURE}": 5, f"lecture_watchtime:{LECTURE}": 40}
    assert {**expected, "lecture_views:new": 4} == fields_of(counts)


@pytest.mark.parametrize("field", ["", "batch", "lecture_views", "lecture_views:", "likes:x"])
def test_a_field_that_is_no_counter_adds_nothing(field: str) -> None:
    counts = counts_of_document({})
    add_fields(counts, {field: 1})
    assert {"course_views": 0} == fields_of(counts)
