"""A report is what a plain list of the events says."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from query_server.merge import Batch, Hot
from query_server.outline import Lecture, Outline
from query_server.report import Day, HotDay, Refused, day_of, hot_days, overview_of, refused_in, sums_of
from tests.query_server.diary import LECTURES, REASONS, Diary, diaries, document_of, total

OUTLINE: Outline = tuple(Lecture(lecture, "") for lecture in LECTURES)


def stores(diary: Diary) -> list[HotDay]:
    """The days in both stores: a batch that is in both was applied and is not cleared yet."""
    hot, documents = {}, {}
    for day, places in diary.batches().items():
        in_redis = [Batch(place, places[place]) for place in ("counting", "flushing", "quarantined", "both")]
        hot[day] = Hot(in_redis, None, 0, 0, 0)
        applied = ["cold", "both"]
        documents[day] = document_of(places["cold"] + places["both"]) | {"recentBatches": applied}
    return hot_days(diary.days, str, hot, set(), documents)


def numbers(day: str, counted: Counter[str]) -> Day:
    refused: Refused = {
        reason: (counted[f"not_counted:{reason}"], counted[f"not_counted_seconds:{reason}"])
        for reason in REASONS
        if counted[f"not_counted:{reason}"]
    }
    views, watched = total(counted, "lecture_views"), total(counted, "lecture_watchtime")
    return Day(day, counted["course_views"], 0, watched, views, refused)


@given(diaries())
def test_every_day_is_what_its_events_say_wherever_they_are(diary: Diary) -> None:
    expected = [numbers(day, diary.counted(day)) for day in diary.days]
    assert expected == [day_of(day) for day in stores(diary)]


@given(diaries(), st.data())
def test_a_stretch_is_the_sum_of_its_days_and_every_lecture_is_right(diary: Diary, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, len(diary.days)))
    days = stores(diary)[:length]
    shown = [day_of(day) for day in days]

    overview = overview_of(shown, sums_of(days), OUTLINE)

    counted = diary.counted(*diary.days[:length])
    expected = numbers("", counted)
    assert (expected.course_views, expected.lecture_views, expected.watch_seconds) == (
        overview.course_views,
        overview.lecture_views,
        overview.watch_seconds,
    )
    assert [counted[f"lecture_views:{lecture}"] for lecture in LECTURES] == overview.funnel.views
    assert [counted[f"lecture_watchtime:{lecture}"] for lecture in LECTURES] == overview.funnel.watch_seconds
    assert expected.refused == refused_in(shown)


def test_users_of_a_day_are_those_of_its_document_until_somebody_new_has_come() -> None:
    day = HotDay("2026-11-25", Hot((), None, 0, 0, 0), {"uniqueActiveUsers": 7, "usersSketch": b"not read"})
    assert 7 == day_of(day).users


def test_a_stretch_never_has_fewer_users_than_its_largest_day() -> None:
    day = HotDay("2026-11-25", Hot((), None, 0, 0, 0), {"uniqueActiveUsers": 7})
    assert 7 == overview_of([day_of(day)], sums_of([day]), OUTLINE).users


def test_a_sum_that_the_platform_has_made_negative_is_shown_as_zero() -> None:
    day = HotDay("2026-11-25", Hot((Batch("A", {"course_views": 2}),), None, 0, 0, 0), {"totalViews": -3})
    assert 0 == day_of(day).course_views
