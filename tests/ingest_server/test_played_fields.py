"""Which ranges and durations of a ping are refused, and which field is named; the segments of those that are not."""

import math

import pytest
from course_analytics.v1 import ingest_pb2
from hypothesis import given
from hypothesis import strategies as st

from ingest_server import segments, validation
from ingest_server.events import Played, Segment
from ingest_server.segments import tenths
from tests.ingest_server.client import Ranges
from tests.ingest_server.test_validation import USER, bad_fields_of_ping, ping

LAST = 43_200.0


def fields(*ranges: tuple[float, float], duration: float | None = None, watched: float = 300) -> dict[str, object]:
    played = [ingest_pb2.PlayedRange(from_seconds=start, to_seconds=end) for start, end in ranges]
    return {"played": played, "duration_seconds": duration, "watch_time_delta": watched}


def played_of(**fields: object) -> Played | None:
    return validation.telemetry(ping(**fields), USER).played


@pytest.mark.parametrize(
    ("ranges", "named"),
    [
        ([(0, 1), (1, 2), (3, 3)], ["played[2].toSeconds"]),
        ([(3, 2)], ["played[0].toSeconds"]),
        ([(0, LAST + 0.001)], ["played[0].toSeconds"]),
        ([(-0.001, 1)], ["played[0].fromSeconds"]),
        ([(math.nan, 1)], ["played[0].fromSeconds"]),
        ([(0, math.nan)], ["played[0].toSeconds"]),
        ([(0, math.inf)], ["played[0].toSeconds"]),
        ([(-1, -2), (0, 1), (2, 1)], ["played[0].fromSeconds", "played[0].toSeconds", "played[2].toSeconds"]),
    ],
)
def test_a_bad_bound_is_named(ranges: Ranges, named: list[str]) -> None:
    assert named == bad_fields_of_ping(**fields(*ranges))


def test_the_last_ten_seconds_of_twelve_hours_are_played() -> None:
    assert Played([Segment(4319, 100, is_view=True)], None) == played_of(**fields((LAST - 10, LAST)))


def test_at_most_16_ranges() -> None:
    assert played_of(**fields(*[(0, 1)] * 16)) is not None
    assert ["played"] == bad_fields_of_ping(**fields(*[(0, 1)] * 17))


def test_at_most_16_times_the_watch_time_and_a_second() -> None:
    assert played_of(**fields((0, 48), (0, 48), watched=5)) is not None
    assert ["played"] == bad_fields_of_ping(**fields((0, 48), (0, 48.1), watched=5))


def test_ranges_that_add_up_exactly_are_not_refused_for_their_fractions() -> None:
    assert played_of(**fields(*[(n + 0.1, n + 6.1) for n in range(16)], watched=5)) is not None


def test_at_most_128_segments() -> None:
    assert 128 == len((played_of(**fields((0, 1280))) or Played([], None)).segments)
    assert ["played"] == bad_fields_of_ping(**fields((0, 1280.1)))


@pytest.mark.parametrize("duration", [0.0, -1.0, LAST + 0.001, math.nan, math.inf])
def test_no_duration(duration: float) -> None:
    assert ["durationSeconds"] == bad_fields_of_ping(**fields(duration=duration))


def test_a_range_ends_at_most_a_second_beyond_the_duration() -> None:
    assert played_of(**fields((0, 601.6), duration=600.6)) is not None
    assert ["played[1].toSeconds"] == bad_fields_of_ping(**fields((0, 1), (0, 601.7), duration=600.6))


def test_what_is_wrong_elsewhere_is_named_as_well() -> None:
    named = bad_fields_of_ping(**fields((3, 2), duration=-1, watched=0), lecture_id="")
    assert ["lectureId", "watchTimeDelta", "played[0].toSeconds", "durationSeconds"] == named


@pytest.mark.parametrize(("duration", "counted"), [(None, None), (600.4, 600), (600.5, 601), (0.2, 1)])
def test_a_duration_is_rounded_to_seconds(duration: float | None, counted: int | None) -> None:
    played = played_of(**fields((0, 0.1), duration=duration))
    assert played is not None
    assert counted == played.duration


def test_a_ping_without_ranges_has_played_nothing_that_is_known() -> None:
    assert played_of(**fields(duration=600)) is None


bounds = st.floats(0, 1000)


@given(st.lists(st.tuples(bounds, bounds).map(lambda pair: (min(pair), max(pair) + 0.1)), min_size=1, max_size=4))
def test_the_segments_are_as_long_as_the_rounded_ranges(ranges: Ranges) -> None:
    played = played_of(**fields(*ranges))
    assert played is not None
    expected = sum(tenths(end) - tenths(start) for start, end in ranges)
    assert expected == sum(segment.tenths for segment in played.segments)


def test_the_ranges_of_a_ping_whose_watch_time_is_invalid_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[object] = []
    monkeypatch.setattr(segments, "cut", cut.append)
    assert ["watchTimeDelta"] == bad_fields_of_ping(**fields(*[(0, LAST)] * 16, watched=LAST))
    assert [] == cut
