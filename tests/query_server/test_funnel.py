"""The arithmetic that the instructor sees."""

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from query_server.funnel import Dashboard, dashboard_of
from query_server.merge import Totals
from query_server.outline import Lecture, Outline
from shared.data.tallies import COURSE
from tests.query_server.platform import VIEWS, seconds, views

Numbers = Sequence[tuple[int, int]]

counts = st.integers(0, 3) | st.integers(0, 2**50)
lectures = st.lists(st.tuples(counts, counts), max_size=8)


def outline(length: int) -> Outline:
    return tuple(Lecture(f"{number:024x}", f"Lecture {number}") for number in range(length))


def dashboard(numbers: Numbers, *, users: int = 0, course_views: int = 0, gone: Numbers = ()) -> Dashboard:
    """Of a course whose lectures have so many views and seconds, `gone` those that have left it."""
    fields = {VIEWS: course_views}
    for lecture, (viewed, watched) in zip(outline(len(numbers) + len(gone)), [*numbers, *gone], strict=True):
        fields |= {views(lecture.lecture_id): viewed, seconds(lecture.lecture_id): watched}
    counts = COURSE.counts_of({})
    COURSE.add_fields(counts, fields)
    return dashboard_of(Totals(counts, users), outline(len(numbers)))


@given(lectures, counts)
def test_every_rate_is_a_number_from_0_to_1(numbers: Numbers, users: int) -> None:
    shown = dashboard(numbers, users=users)
    rates = [shown.drop_off_rate, *shown.funnel.retention_rates, *shown.funnel.drop_off_rates]
    assert all(0 <= rate <= 1 for rate in rates)
    assert math.isfinite(shown.average_watch_seconds)


@given(lectures)
def test_the_funnel_keeps_the_course_s_order_and_every_count(numbers: Numbers) -> None:
    funnel = dashboard(numbers).funnel
    assert list(numbers) == list(zip(funnel.views, funnel.watch_seconds, strict=True))


@given(lectures, lectures)
def test_total_watch_time_has_the_lectures_that_left_too(numbers: Numbers, gone: Numbers) -> None:
    expected = sum(watched for _, watched in [*numbers, *gone])
    assert expected == dashboard(numbers, gone=gone).watch_seconds


@given(lectures)
def test_the_most_watched_lecture_has_the_most_views_then_seconds_then_the_first_place(numbers: Numbers) -> None:
    most = dashboard(numbers).most_watched
    ranked = sorted((-viewed, -watched, place) for place, (viewed, watched) in enumerate(numbers) if viewed)
    assert (ranked[0][2] if ranked else None) == most


def test_a_lecture_that_left_the_course_is_never_the_most_watched() -> None:
    assert dashboard([(0, 0)], gone=[(9, 9)]).most_watched is None


def test_retention_is_the_share_of_the_first_lecture_s_views() -> None:
    assert [1, 0.5, 1] == dashboard([(4, 0), (2, 0), (8, 0)]).funnel.retention_rates


def test_drop_off_is_the_share_lost_since_the_previous_lecture() -> None:
    assert [0, 0.5, 0, 0.25] == dashboard([(4, 0), (2, 0), (8, 0), (6, 0)]).funnel.drop_off_rates


def test_the_overall_drop_off_compares_the_last_lecture_with_the_first() -> None:
    assert 0.25 == dashboard([(4, 0), (0, 0), (3, 0)]).drop_off_rate
    assert 0 == dashboard([(4, 0), (0, 0), (5, 0)]).drop_off_rate


def test_with_no_views_of_the_first_lecture_every_rate_is_0() -> None:
    shown = dashboard([(0, 0), (0, 0)])
    rates = [shown.drop_off_rate, *shown.funnel.retention_rates, *shown.funnel.drop_off_rates]
    assert [0.0] * 5 == rates


def test_the_average_is_per_user_and_0_without_users() -> None:
    assert 7.5 == dashboard([(1, 10), (1, 5)], users=2).average_watch_seconds
    assert 0 == dashboard([(1, 10), (1, 5)], users=0).average_watch_seconds


def test_a_course_without_lectures_has_an_overview_and_an_empty_funnel() -> None:
    shown = dashboard([], course_views=3)
    assert (3, [], 0) == (shown.total_views, shown.funnel.views, shown.drop_off_rate)
