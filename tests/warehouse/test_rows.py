"""Every counter of every tally has one row, and the newest one counts, whatever comes how often in which order."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.data.tallies import COURSE, DAY, KINDS, LECTURE, course_tally, day_tally, lecture_tally
from warehouse.changes import field_of, totals_of, totals_of_update
from warehouse.record import Malformed, Record
from warehouse.rows import NO_DAY, Key, Rows, add, key_of, live

COURSE_ID, LECTURE_ID = "650000000000000000000001", "650000000000000000000011"
DAY_NAME, LECTURE_NAME = f"{COURSE_ID}/2026-11-26", f"{COURSE_ID}/{LECTURE_ID}"


@pytest.mark.parametrize(
    ("tally", "field", "key"),
    [
        (COURSE_ID, "course_views", Key("course", "course_views", COURSE_ID, "", NO_DAY, 0)),
        (COURSE_ID, f"lecture_views:{LECTURE_ID}", Key("course", "lecture_views", COURSE_ID, LECTURE_ID, NO_DAY, 0)),
        (COURSE_ID, "unique_users", Key("course", "unique_users", COURSE_ID, "", NO_DAY, 0)),
        (DAY_NAME, "not_counted:REPEATED", Key("day", "not_counted:REPEATED", COURSE_ID, "", "2026-11-26", 0)),
        (
            DAY_NAME,
            f"lecture_watchtime:{LECTURE_ID}",
            Key("day", "lecture_watchtime", COURSE_ID, LECTURE_ID, "2026-11-26", 0),
        ),
        (LECTURE_NAME, "playbacks", Key("lecture", "playbacks", COURSE_ID, LECTURE_ID, NO_DAY, 0)),
        (LECTURE_NAME, "segment_watched:7", Key("lecture", "segment_watched", COURSE_ID, LECTURE_ID, NO_DAY, 7)),
        (LECTURE_NAME, "duration:600", Key("lecture", "duration", COURSE_ID, LECTURE_ID, NO_DAY, 600)),
    ],
)
def test_every_counter_has_its_row(tally: str, field: str, key: Key) -> None:
    assert key == key_of(tally, field)


@pytest.mark.parametrize(
    ("tally", "field"),
    [("x", "course_views"), (COURSE_ID, "likes"), (LECTURE_NAME, "unique_users"), (COURSE_ID, "playbacks")],
)
def test_an_unknown_counter_has_no_row(tally: str, field: str) -> None:
    with pytest.raises(Malformed):
        key_of(tally, field)


FIELDS = {
    course_tally(COURSE_ID): ["course_views", f"lecture_views:{LECTURE_ID}", "not_counted:REPEATED", "unique_users"],
    day_tally(COURSE_ID, "2026-11-26"): [f"lecture_watchtime:{LECTURE_ID}", "not_counted_seconds:REPEATED"],
    lecture_tally(COURSE_ID, LECTURE_ID): ["playbacks", "segment_views:3", "segment_watched:3", "duration:60"],
}


@pytest.mark.parametrize("tally", FIELDS, ids=lambda tally: tally.kind.name)
def test_a_path_of_a_document_is_the_field_that_it_was_written_from(tally: Any) -> None:
    for field in FIELDS[tally]:
        paths = ["uniqueActiveUsers"] if field == "unique_users" else [*tally.kind.increments({field: 1})]
        assert field == field_of(tally.kind, paths[0])


@pytest.mark.parametrize("path", ["recentBatches.0", "epoch", "lectureStats", "lectureStats.x.views", "lectureViews"])
def test_another_path_is_not_a_counter(path: str) -> None:
    assert [None, None, None] == [field_of(kind, path) for kind in KINDS]


def test_a_first_touch_arrives_as_a_whole_subdocument() -> None:
    changed = {"lectureStats": {LECTURE_ID: {"views": 3}}, f"lectureStats.{LECTURE_ID}.totalWatchTime": 40}
    expected = {f"lecture_views:{LECTURE_ID}": 3, f"lecture_watchtime:{LECTURE_ID}": 40}
    assert (expected, []) == totals_of(COURSE, changed)


@pytest.mark.parametrize("odd", [-1, 1.5, "7", None, True, float("nan")])
def test_only_whole_numbers_are_totals(odd: object) -> None:
    assert ({}, ["course_views"]) == totals_of(COURSE, {"totalViews": odd})


def test_a_whole_double_is_a_total() -> None:
    assert ({"course_views": 7}, []) == totals_of(COURSE, {"totalViews": 7.0})


VIEWS, SECONDS = f"lecture_views:{LECTURE_ID}", f"lecture_watchtime:{LECTURE_ID}"


@pytest.mark.parametrize(
    ("kind", "updated", "removed"),
    [
        (DAY, {}, ["lectureStats"]),
        (LECTURE, {}, ["segments.3.views"]),
        (COURSE, {"lectureStats": {LECTURE_ID: {"views": 3}}}, []),
        (COURSE, {"lectureStats": 5}, []),
        (COURSE, {f"lectureStats.{LECTURE_ID}": 5}, []),
        (COURSE, {f"lectureStats.{LECTURE_ID}": {"views": {"x": 1}}}, []),
        (COURSE, {f"lectureStats.{LECTURE_ID}.views": {"x": 1}}, []),
        (COURSE, {"totalViews": {"x": 1}}, []),
        (LECTURE, {"durations": {"60": 1}}, []),
    ],
)
def test_where_several_counters_may_be_gone_the_document_must_be_read(
    kind: Any, updated: dict[str, Any], removed: list[str]
) -> None:
    assert totals_of_update(kind, updated, removed) is None


def test_an_items_first_touch_says_all_of_it() -> None:
    updated = {f"lectureStats.{LECTURE_ID}": {"views": 3}, "epoch": 7, "__v": 1}
    assert ({VIEWS: 3, SECONDS: 0}, []) == totals_of_update(COURSE, updated, ["recentBatches"])


@pytest.mark.parametrize("day", ["2026-13-01", "2026-02-30", "1970-01-01", "2150-01-01", "0000-00-00"])
def test_a_day_that_no_row_can_hold_is_refused(day: str) -> None:
    with pytest.raises(Malformed):
        key_of(f"{COURSE_ID}/{day}", "course_views")


def test_no_total_can_pass_for_a_clearing() -> None:
    with pytest.raises(Malformed):
        add({}, Record(COURSE_ID, 5, {"cleared": 1}))


HISTORY = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["course_views", "unique_users", f"lecture_views:{LECTURE_ID}"]), st.integers(1, 9)),
        st.just(("clear", 0)),
    ),
    max_size=20,
)


@given(HISTORY, st.randoms(use_true_random=False), st.data())
def test_repeats_losses_and_any_order_end_equal_after_a_snapshot(
    history: list[tuple[str, int]], order: random.Random, data: st.DataObject
) -> None:
    """Each change says what a counter is from then on; `clear` is a document that was replaced by an empty one."""
    document: dict[str, int] = {}
    records = []
    for at, (field, count) in enumerate(history, start=1):
        if field == "clear":
            document = {}
            records.append(Record(COURSE_ID, at, cleared=True))
        else:
            document[field] = document.get(field, 0) + count
            records.append(Record(COURSE_ID, at, {field: document[field]}))
    arrived = data.draw(st.lists(st.sampled_from(records), max_size=40)) if records else []
    arrived.append(Record(COURSE_ID, len(history) + 1, document, cleared=True))
    order.shuffle(arrived)

    rows: Rows = {}
    for record in arrived:
        add(rows, record)

    assert {key_of(COURSE_ID, field): total for field, total in document.items()} == live(rows)


@given(HISTORY, st.randoms(use_true_random=False))
def test_without_losses_no_snapshot_is_needed(history: list[tuple[str, int]], order: random.Random) -> None:
    document: dict[str, int] = {}
    records = []
    for at, (field, count) in enumerate(history, start=1):
        if field == "clear":
            document = {}
            records.append(Record(COURSE_ID, at, cleared=True))
        else:
            document[field] = document.get(field, 0) + count
            records.append(Record(COURSE_ID, at, {field: document[field]}))
    arrived = records * 2
    order.shuffle(arrived)

    rows: Rows = {}
    for record in arrived:
        add(rows, record)

    assert {key_of(COURSE_ID, field): total for field, total in document.items()} == live(rows)
