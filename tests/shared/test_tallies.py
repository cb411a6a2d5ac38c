"""One table for all programs: a field's path, and the same field read back from the document."""

from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from shared.data.tallies import (
    COURSE,
    COURSE_VIEWS,
    DAY,
    KINDS,
    LECTURE,
    LECTURE_VIEWS,
    LECTURE_WATCH_TIME,
    Kind,
    UnknownCounter,
    course_tally,
    day_tally,
    fields_of,
    lecture_tally,
    tally_of,
)

COURSE_ID = "650000000000000000000001"
LECTURE_ID = "650000000000000000000011"
VIEWS, WATCH_TIME = LECTURE_VIEWS.field(LECTURE_ID), LECTURE_WATCH_TIME.field(LECTURE_ID)


@pytest.mark.parametrize(
    ("kind", "field", "paths"),
    [
        (COURSE, "course_views", ["totalViews"]),
        (COURSE, f"lecture_views:{LECTURE_ID}", [f"lectureStats.{LECTURE_ID}.views"]),
        (COURSE, f"lecture_watchtime:{LECTURE_ID}", [f"lectureStats.{LECTURE_ID}.totalWatchTime"]),
        (COURSE, "not_counted:REPEATED", ["notCounted.REPEATED.events"]),
        (COURSE, "not_counted_seconds:REPEATED", ["notCounted.REPEATED.seconds"]),
        (DAY, f"lecture_views:{LECTURE_ID}", [f"lectureStats.{LECTURE_ID}.views", "lectureViews"]),
        (DAY, f"lecture_watchtime:{LECTURE_ID}", [f"lectureStats.{LECTURE_ID}.totalWatchTime", "watchTime"]),
        (LECTURE, "playbacks", ["playbacks"]),
        (LECTURE, "segment_watched:7", ["segments.7.watched"]),
        (LECTURE, "segment_views:7", ["segments.7.views"]),
        (LECTURE, "duration:600", ["durations.600"]),
    ],
)
def test_every_field_has_its_paths(kind: Kind, field: str, paths: list[str]) -> None:
    assert dict.fromkeys(paths, 3) == kind.increments({field: 3})


def test_the_counters_name_their_fields() -> None:
    expected = ["course_views", f"lecture_views:{LECTURE_ID}", f"lecture_watchtime:{LECTURE_ID}"]
    assert expected == [COURSE_VIEWS.field(), VIEWS, WATCH_TIME]


def test_a_day_keeps_the_sums_over_its_lectures() -> None:
    other = LECTURE_VIEWS.field("650000000000000000000012")
    assert 5 == DAY.increments({VIEWS: 2, other: 3})["lectureViews"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    "field",
    ["", "batch", "course_views:x", "lecture_views", "lecture_views:", "likes:x", "playbacks:", "playbacks\nplaybacks"],
)
@pytest.mark.parametrize("suffix", ["", "\n"])
def test_an_unknown_counter_has_no_path(kind: Kind, field: str, suffix: str) -> None:
    with pytest.raises(UnknownCounter):
        kind.increments({field + suffix: 1})


@pytest.mark.parametrize("item", ["a.b", "$x", "", "A" * 24, f"{LECTURE_ID}.x"])
def test_an_item_that_would_be_another_path_is_not_a_counter(item: str) -> None:
    with pytest.raises(UnknownCounter):
        COURSE.increments({f"lecture_views:{item}": 1})


def test_a_document_is_read_under_the_fields_it_was_written_from() -> None:
    document = {
        "totalViews": 7,
        "lectureStats": {LECTURE_ID: {"views": 3, "totalWatchTime": 40}},
        "recentBatches": ["A"],
    }
    assert {"course_views": 7, VIEWS: 3, WATCH_TIME: 40} == fields_of(COURSE.counts_of(document))


@given(st.sampled_from(KINDS), st.data())
def test_what_a_hash_adds_to_an_empty_document_is_read_back(kind: Kind, data: st.DataObject) -> None:
    items = ["", LECTURE_ID, "0", "7", "360", "REPEATED"]
    counters = kind.counters.values()
    names = [counter.field(item) for counter in counters for item in items if counter.has(item)]
    fields = data.draw(st.dictionaries(st.sampled_from(names), st.integers(1, 10**9), min_size=1))
    document: dict[str, Any] = {}
    for path, count in kind.increments(fields).items():
        *parents, leaf = path.split(".")
        inner = document
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[leaf] = count
    assert fields == {field: count for field, count in fields_of(kind.counts_of(document)).items() if count}


@pytest.mark.parametrize("document", [{}, {"totalViews": None, "lectureStats": None}, {"lectureStats": {}}])
def test_what_a_document_has_not_is_zero(document: dict[str, Any]) -> None:
    assert {"course_views": 0} == fields_of(COURSE.counts_of(document))


def test_a_list_has_its_items_by_their_places() -> None:
    counts = LECTURE.counts_of({"segments": [{"watched": 5}, None, {"watched": 7}], "durations": [None, 3]})
    assert ({"0": 5, "2": 7}, {"1": 3}) == (counts["segment_watched"], counts["duration"])


@pytest.mark.parametrize("count", ["many", None, [1], float("nan"), float("inf")])
def test_anything_but_a_number_counts_as_zero(count: object) -> None:
    assert {"course_views": 0} == fields_of(COURSE.counts_of({"totalViews": count}))


def test_a_number_that_another_driver_stored_as_a_double_is_a_count() -> None:
    assert {"course_views": 5} == fields_of(COURSE.counts_of({"totalViews": 5.0}))


def test_a_hash_is_added_to_a_document_under_the_same_names() -> None:
    counts = COURSE.counts_of({"totalViews": 7, "lectureStats": {LECTURE_ID: {"views": 3, "totalWatchTime": 40}}})
    COURSE.add_fields(counts, {"course_views": 1, VIEWS: 2, "lecture_views:new": 4})
    assert {"course_views": 8, VIEWS: 5, WATCH_TIME: 40, "lecture_views:new": 4} == fields_of(counts)


@pytest.mark.parametrize("field", ["", "batch", "lecture_views", "lecture_views:", "likes:x"])
def test_an_unknown_field_adds_nothing(field: str) -> None:
    counts = COURSE.counts_of({})
    COURSE.add_fields(counts, {field: 1})
    assert {"course_views": 0} == fields_of(counts)


def test_a_name_says_which_tally_it_is() -> None:
    tallies = [course_tally(COURSE_ID), day_tally(COURSE_ID, "2026-11-26"), lecture_tally(COURSE_ID, LECTURE_ID)]
    assert tallies == [tally_of(tally.name) for tally in tallies]
    assert [COURSE_ID, f"{COURSE_ID}/2026-11-26", f"{COURSE_ID}/{LECTURE_ID}"] == [tally.name for tally in tallies]


@pytest.mark.parametrize(
    "name", ["", "x", COURSE_ID + "/", COURSE_ID + "/x", COURSE_ID + "/2026-11-26\n", COURSE_ID.upper() + "F"]
)
def test_any_other_name_is_not_a_tally(name: str) -> None:
    assert tally_of(name) is None


def test_a_document_is_found_by_its_unique_key_and_repeats_the_rest_of_its_name() -> None:
    day, lecture = day_tally(COURSE_ID, "2026-11-26"), lecture_tally(COURSE_ID, LECTURE_ID)
    assert {"courseId": ObjectId(COURSE_ID)} == course_tally(COURSE_ID).identity()
    assert {"_id": day.name} == day.identity()
    assert {"courseId": ObjectId(COURSE_ID), "day": "2026-11-26"} == day.repeated()
    assert {"courseId": ObjectId(COURSE_ID), "lectureId": ObjectId(LECTURE_ID)} == lecture.repeated()
