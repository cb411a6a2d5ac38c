"""Where in a video its viewers are: the arithmetic, over plain events."""

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from query_server.heatmap import Drop, Heatmap, Stretch, heatmap_of
from shared.data.tallies import Counts


def counts(
    *,
    playbacks: float = 0,
    views: dict[int, float] | None = None,
    watched: dict[int, float] | None = None,
    **durations: int,
) -> Counts:
    """Of a lecture; `watched` in tenths of a second, durations as `s600=3`."""
    return {
        "playbacks": {"": playbacks},
        "segment_views": {str(number): count for number, count in (views or {}).items()},
        "segment_watched": {str(number): count for number, count in (watched or {}).items()},
        "duration": {seconds[1:]: count for seconds, count in durations.items()},
    }


ranges = st.tuples(st.integers(0, 6_000), st.integers(1, 1_200)).map(lambda each: (each[0], each[0] + each[1]))
playbacks = st.lists(st.lists(ranges, max_size=8), max_size=6)


def counted(playbacks: list[list[tuple[int, int]]]) -> Counts:
    """What ingest counts of playbacks, each of which is some ranges in tenths of a second, one a ping."""
    watched: Counter[int] = Counter()
    views: Counter[int] = Counter()
    for each in playbacks:
        seen = set()
        for start, end in each:
            for number in range(start // 100, (end - 1) // 100 + 1):
                tenths = min(end, 100 * (number + 1)) - max(start, 100 * number)
                watched[number] += tenths
                if tenths >= 10:
                    seen.add(number)
        views.update(seen)
    return counts(playbacks=len(playbacks), views=dict(views), watched=dict(watched))


@given(playbacks)
def test_the_seconds_of_all_segments_are_the_seconds_that_were_played(each: list[list[tuple[int, int]]]) -> None:
    heatmap = heatmap_of(counted(each))
    played = sum(end - start for one in each for start, end in one)
    assert played == round(10 * sum(segment.watched for segment in heatmap.segments))


@given(playbacks)
def test_rates_are_shares_and_segments_have_no_gaps(each: list[list[tuple[int, int]]]) -> None:
    heatmap = heatmap_of(counted(each))
    assert all(0 <= segment.retention_rate <= 1 for segment in heatmap.segments)
    assert [10 * number for number in range(len(heatmap.segments))] == [segment.start for segment in heatmap.segments]


def test_what_was_watched_twice_has_two_passes() -> None:
    heatmap = heatmap_of(counted([[(0, 300), (0, 300)]]))
    assert [2.0, 2.0, 2.0] == [segment.passes for segment in heatmap.segments]


def test_what_a_playback_skips_is_not_marked() -> None:
    heatmap = heatmap_of(counted([[(0, 100), (6_100, 6_200)]]))
    assert {0, 61} == {number for number, segment in enumerate(heatmap.segments) if segment.views}


def test_an_unwatched_lecture_of_unknown_length_has_no_segments() -> None:
    assert Heatmap(None, 0, [], [], None) == heatmap_of(counts())


def test_a_video_has_all_its_segments_and_the_last_one_has_the_rest() -> None:
    heatmap = heatmap_of(counts(playbacks=1, views={0: 1, 2: 1}, watched={2: 60}, s24=1))
    assert (24, [10, 10, 4]) == (heatmap.duration, [segment.length for segment in heatmap.segments])
    assert 1.5 == heatmap.segments[2].passes


def test_a_segment_beyond_the_duration_has_full_length() -> None:
    heatmap = heatmap_of(counts(watched={3: 1}, s14=1))
    assert [10, 4, 10, 10] == [segment.length for segment in heatmap.segments]


def test_nothing_is_shown_of_zeros_and_of_what_is_beyond_the_longest_video() -> None:
    heatmap = heatmap_of(counts(views={0: 1, 1: 0, 4_320: 1}, watched={2: 0, 4_319: 1}))
    assert 4_320 == len(heatmap.segments)
    assert [0, 4_319] == [number for number, each in enumerate(heatmap.segments) if each.views or each.watched]
    assert 1 == len(heatmap_of(counts(views={0: 1, 1: 0}, watched={2: 0})).segments)


def test_the_duration_is_the_one_that_is_reported_most() -> None:
    assert 600 == heatmap_of(counts(s590=2, s600=3, s43201=9)).duration


def test_rewatched_neighbours_are_one_stretch_and_the_most_rewatched_comes_first() -> None:
    views = dict.fromkeys(range(10), 5.0)
    watched = dict.fromkeys(range(10), 500.0) | {2: 1000, 3: 750, 6: 1500, 8: 749}
    heatmap = heatmap_of(counts(playbacks=5, views=views, watched=watched))
    assert [Stretch(60, 70, 3.0, 5), Stretch(20, 40, 1.75, 5)] == heatmap.most_rewatched


def test_a_segment_that_few_have_seen_is_not_named() -> None:
    assert [] == heatmap_of(counts(playbacks=4, views={0: 4}, watched={0: 4000})).most_rewatched


def test_five_stretches_are_named_at_most_and_of_equals_the_first() -> None:
    numbers = range(0, 14, 2)
    heatmap = heatmap_of(counts(playbacks=5, views=dict.fromkeys(numbers, 5), watched=dict.fromkeys(numbers, 1000)))
    assert [0, 20, 40, 60, 80] == [stretch.start for stretch in heatmap.most_rewatched]


def test_the_largest_drop_is_where_most_views_are_lost() -> None:
    heatmap = heatmap_of(counts(playbacks=10, views={0: 10, 1: 8, 2: 3, 3: 3, 4: 2}))
    assert Drop(20, 0.5) == heatmap.largest_drop


def test_without_a_loss_there_is_no_drop() -> None:
    assert heatmap_of(counts(playbacks=2, views={0: 1, 1: 2})).largest_drop is None


def test_what_cannot_be_is_shown_as_it_is_stored() -> None:
    heatmap = heatmap_of(counts(playbacks=2, views={0: 4, 1: 1}))
    assert (2, [2.0, 0.5]) == (heatmap.playbacks, [segment.retention_rate for segment in heatmap.segments])


def test_without_playbacks_nobody_stays_and_nobody_leaves() -> None:
    heatmap = heatmap_of(counts(views={0: 4, 1: 2}))
    assert ([0.0, 0.0], None) == ([segment.retention_rate for segment in heatmap.segments], heatmap.largest_drop)


@given(
    st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False, min_value=0)),
    st.dictionaries(st.integers(0, 99_999).map(str), st.floats(0, 2.0**63)),
    st.floats(0, 2.0**63),
)
def test_whatever_is_stored_numbers_are_finite(
    odd: dict[str, float], numbers: dict[str, float], playbacks: float
) -> None:
    shown = heatmap_of(
        {
            "playbacks": {"": playbacks},
            "segment_views": odd | numbers,
            "segment_watched": numbers | odd,
            "duration": odd | numbers,
        }
    )
    rates = [rate for segment in shown.segments for rate in (segment.retention_rate, segment.passes)]
    if shown.largest_drop is not None:
        rates.append(shown.largest_drop.lost_rate)
    assert all(math.isfinite(rate) and rate >= 0 for rate in rates)
