"""The days of an installation, written YYYY-MM-DD: whole days of one time zone, the same for every program. Pure."""

import datetime as dt
import re
from zoneinfo import ZoneInfo

ONE_DAY = dt.timedelta(days=1)
USERS_KEPT_DAYS = 40
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def is_day(text: str) -> bool:
    """Whether it is a day of the calendar, written YYYY-MM-DD."""
    try:
        return _DAY.fullmatch(text) is not None and dt.date.fromisoformat(text) is not None
    except ValueError:
        return False


def day_of(seconds: float, zone: ZoneInfo) -> str:
    """The day of a moment, in seconds since the epoch."""
    return dt.datetime.fromtimestamp(seconds, zone).date().isoformat()


def day_after(day: str, days: int = 1) -> str:
    """The day so many days later; earlier when negative."""
    return (dt.date.fromisoformat(day) + days * ONE_DAY).isoformat()


def number_of(day: str) -> int:
    """The day's number; the next day's is one more."""
    return dt.date.fromisoformat(day).toordinal()


def days_between(first: str, last: str) -> int:
    """The number of days from the first to the last."""
    return number_of(last) - number_of(first)


def every_day(first: str, last: str) -> list[str]:
    """The days from the first to the last."""
    return [dt.date.fromordinal(number).isoformat() for number in range(number_of(first), number_of(last) + 1)]


def start_of(day: str, zone: ZoneInfo) -> float:
    """When a day begins, in seconds since the epoch: midnight, or the first moment that a clock change leaves."""
    date = dt.date.fromisoformat(day)
    return dt.datetime(date.year, date.month, date.day, tzinfo=zone).timestamp()


def users_end(day: str, zone: ZoneInfo) -> int:
    """When Redis forgets the users of a day, in seconds since the epoch: 40 days after the day is over."""
    return int(start_of(day_after(day, USERS_KEPT_DAYS + 1), zone))
