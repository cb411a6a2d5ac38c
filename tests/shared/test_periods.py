"""Presets and ranges of days."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.data.days import day_of, start_of
from shared.serving.errors import InvalidRequest
from shared.serving.periods import PRESETS, Request, Stretch, check_form, stretch_of

ZONES = [
    ZoneInfo(name)
    for name in (
        "Asia/Kathmandu",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "America/New_York",
        "UTC",
        "America/Sao_Paulo",
    )
]
# Clocks change on some of these days: they have 23, 23.5, 24.5 or 25 hours.
days = st.dates(dt.date(2015, 1, 1), dt.date(2027, 12, 31)).map(dt.date.isoformat)


def refusal(period: int, first: str, last: str) -> str:
    def asked() -> Stretch:
        check_form(period, first, last)
        return stretch_of(period, first, last, today="2026-11-26", zone="UTC")

    with pytest.raises(InvalidRequest) as refused:
        asked()
    return str(refused.value)


@given(st.sampled_from(ZONES), days, st.sampled_from(sorted(PRESETS.items())), st.sampled_from(["first", "last"]))
def test_a_preset_is_whole_days_that_end_yesterday_at_every_moment_of_today(
    zone: ZoneInfo, today: str, preset: tuple[int, int], moment: str
) -> None:
    seconds = start_of(today, zone)
    if moment == "last":
        tomorrow = dt.date.fromisoformat(today) + dt.timedelta(days=1)
        seconds = start_of(tomorrow.isoformat(), zone) - 1
    period, number = preset

    stretch = stretch_of(period, "", "", today=day_of(seconds, zone), zone=zone.key)

    yesterday = (dt.date.fromisoformat(today) - dt.timedelta(days=1)).isoformat()
    assert (number, number, yesterday) == (len(stretch), len(set(stretch.days())), stretch.days()[-1])


@given(days, st.integers(1, 366))
def test_the_stretch_before_is_equal_adjacent_and_disjoint(first: str, number: int) -> None:
    last = (dt.date.fromisoformat(first) + dt.timedelta(days=number - 1)).isoformat()
    stretch = Stretch(first, last)
    before = stretch.before()
    together = before.days() + stretch.days()
    assert (number, number) == (len(before), len(stretch))
    dates = [dt.date.fromisoformat(day) for day in together]
    assert [dates[0] + dt.timedelta(days=each) for each in range(2 * number)] == dates


def test_without_anything_it_is_the_last_28_days() -> None:
    assert Stretch("2026-10-29", "2026-11-25") == stretch_of(0, "", "", today="2026-11-26", zone="UTC")


def test_the_longest_range_has_366_days_and_the_last_possible_one_is_yesterday() -> None:
    assert 366 == len(stretch_of(0, "2025-11-25", "2026-11-25", today="2026-11-26", zone="UTC"))
    assert "fromDay: a range has at most 366 days" in refusal(0, "2025-11-24", "2026-11-25")


@pytest.mark.parametrize(
    ("period", "first", "last", "complaint"),
    [
        (Request.LAST_7_DAYS, "2026-11-01", "2026-11-02", "period: must not be given together with days"),
        (Request.LAST_7_DAYS, "", "2026-11-02", "period: must not be given together with days"),
        (0, "2026-11-01", "", "toDay: must be given together with fromDay"),
        (0, "", "2026-11-01", "fromDay: must be given together with toDay"),
        (0, "2026-11-02", "2026-11-01", "toDay: must not be before fromDay"),
        (0, "2026-11-02", "2026-11-26", "toDay: must be past"),
        (0, "1969-12-31", "1970-01-31", "fromDay: must not be before 1970-01-01"),
    ],
)
def test_an_impossible_period_is_refused_with_the_last_possible_day(
    period: int, first: str, last: str, complaint: str
) -> None:
    assert f"{complaint}; the last possible day is 2026-11-25 (UTC)" == refusal(period, first, last)


@pytest.mark.parametrize("day", ["2026-02-29", "20261101", "2026-W01-1", "2026-1-1", "٢٠٢٦-01-01", "2026-11-01\n"])
def test_a_malformed_day_is_named(day: str) -> None:
    assert "fromDay: must be a day, written YYYY-MM-DD" == refusal(0, day, "2026-11-25")


def test_an_unknown_period_is_named() -> None:
    assert "period: must be LAST_7_DAYS, LAST_28_DAYS or LAST_90_DAYS" == refusal(7, "", "")
