"""Ranges are cut into segments of 10 s, and nothing is lost by it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_server.segments import cut, is_view, tenths

bounds = st.floats(0, 43_200, allow_nan=False)
ranges = st.lists(st.tuples(bounds, bounds).map(lambda pair: (tenths(min(pair)), tenths(max(pair)))), max_size=16)


@given(ranges)
def test_the_sum_over_the_segments_is_the_sum_of_the_ranges(ranges: list[tuple[int, int]]) -> None:
    assert sum(end - start for start, end in ranges) == sum(cut(ranges).values())


@given(ranges)
def test_every_moment_that_was_played_is_in_its_own_segment(ranges: list[tuple[int, int]]) -> None:
    for number, played in cut(ranges).items():
        first, end = number * 100, number * 100 + 100
        assert played == sum(max(0, min(stop, end) - max(start, first)) for start, stop in ranges)


@given(ranges)
def test_no_segment_is_named_in_which_nothing_was_played(ranges: list[tuple[int, int]]) -> None:
    assert all(played > 0 for played in cut(ranges).values())


def test_a_range_ends_before_the_segment_that_begins_at_its_end() -> None:
    assert {0: 100} == cut([(0, 100)])
    assert {0: 1, 1: 1} == cut([(99, 101)])


def test_what_was_skipped_is_in_no_segment() -> None:
    assert {0: 50, 60: 50} == cut([(0, 50), (6050, 6100)])


def test_a_part_that_was_played_twice_counts_twice() -> None:
    assert {0: 200} == cut([(0, 100), (0, 100)])


@pytest.mark.parametrize(("seconds", "expected"), [(0.04, 0), (0.05, 1), (0.25, 3), (9.96, 100), (43_200, 432_000)])
def test_bounds_are_rounded_half_up_to_tenths(seconds: float, expected: int) -> None:
    assert expected == tenths(seconds)


@pytest.mark.parametrize(
    ("played", "duration", "expected"),
    [
        (10, None, True),
        (9, None, False),
        (10, 605, True),
        (9, 700, False),
        (4, 608, True),  # half of a rest of 0.8 s
        (3, 608, False),
        (10, 600, True),  # beyond the end, where there is no rest
        (9, 600, False),
    ],
)
def test_a_view_is_one_second_or_half_of_a_shorter_rest(played: int, duration: int | None, *, expected: bool) -> None:
    assert expected == is_view(6, played, duration)
