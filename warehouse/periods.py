"""Which days a request means. Pure."""

import datetime as dt

from course_analytics.v1 import dashboard_pb2

from shared.data.days import day_after
from shared.serving.errors import InvalidRequest, Violation

MAX_DAYS = 366

_Request = dashboard_pb2.GetCourseReportRequest
_DAYS = {
    _Request.PERIOD_UNSPECIFIED: 28,
    _Request.LAST_7_DAYS: 7,
    _Request.LAST_28_DAYS: 28,
    _Request.LAST_90_DAYS: 90,
}


def days_of(period: int, from_day: str, to_day: str, *, today: str) -> tuple[str, str]:
    """First and last day of a period that ends yesterday, or of a range of past days. Raises InvalidRequest."""
    yesterday = day_after(today, -1)
    if not from_day and not to_day:
        if period not in _DAYS:
            raise InvalidRequest([Violation("period", "is not one of the periods")])
        return day_after(today, -_DAYS[_Request.Period.ValueType(period)]), yesterday
    problems = []
    if period:
        problems.append(Violation("period", "is given beside days: give one of both"))
    problems += [
        Violation(name, "must be a day, YYYY-MM-DD")
        for name, day in (("fromDay", from_day), ("toDay", to_day))
        if not _is_day(day)
    ]
    if not problems and from_day > to_day:
        problems.append(Violation("toDay", "is before fromDay"))
    if not problems and to_day > yesterday:
        problems.append(Violation("toDay", f"is not past: the last possible day is {yesterday}"))
    if not problems and day_after(from_day, MAX_DAYS) <= to_day:
        problems.append(Violation("toDay", f"is more than {MAX_DAYS} days after fromDay"))
    if problems:
        raise InvalidRequest(problems)
    return from_day, to_day


def _is_day(text: str) -> bool:
    try:
        return dt.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
