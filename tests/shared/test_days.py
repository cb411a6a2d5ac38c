"""A moment belongs to one day, and days follow each other without a gap, in every zone and across clock changes."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.data.days import day_after, day_of, every_day, start_of

ZONES = ["UTC", "Asia/Kathmandu", "Asia/Kolkata", "Australia/Lord_Howe", "America/New_York", "America/Sao_Paulo"]


@given(st.sampled_from(ZONES).map(ZoneInfo), st.floats(0, 4_000_000_000))
def test_a_moment_lies_between_the_starts_of_its_day_and_of_the_next(zone: ZoneInfo, seconds: float) -> None:
    day = day_of(seconds, zone)
    assert start_of(day, zone) <= seconds < start_of(day_after(day), zone)


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-08", 23), ("2026-11-01", 25), ("2026-11-02", 24)], ids=["spring", "autumn", "plain"]
)
def test_a_day_has_the_hours_that_a_clock_change_leaves_it(day: str, hours: int) -> None:
    zone = ZoneInfo("America/New_York")
    assert hours * 3600 == start_of(day_after(day), zone) - start_of(day, zone)


def test_a_day_ends_with_its_last_second() -> None:
    zone = ZoneInfo("Asia/Kathmandu")
    midnight = dt.datetime(2026, 11, 26, tzinfo=zone).timestamp()
    assert ["2026-11-25", "2026-11-26"] == [day_of(midnight - 0.001, zone), day_of(midnight, zone)]


def test_days_go_over_the_ends_of_months_and_years() -> None:
    assert ["2027-01-01", "2026-02-28"] == [day_after("2026-12-31"), day_after("2026-03-01", -1)]


def test_every_day_of_a_stretch_follows_the_one_before() -> None:
    shown = every_day("2027-12-30", "2028-03-02")
    assert ["2027-12-30", "2028-03-02"] == [shown[0], shown[-1]]
    assert shown[1:] == [day_after(day) for day in shown[:-1]]
    assert [] == every_day("2026-11-26", "2026-11-25")
