"""Which days a report is about. Pure."""

from dataclasses import dataclass

from course_analytics.v1 import dashboard_pb2

from shared.data.days import day_after, days_between, every_day, is_day
from shared.serving.errors import InvalidRequest, Violation

Request = dashboard_pb2.GetCourseReportRequest

DEFAULT = Request.LAST_28_DAYS
PRESETS: dict[int, int] = {Request.LAST_7_DAYS: 7, Request.LAST_28_DAYS: 28, Request.LAST_90_DAYS: 90}
MOST_DAYS = 366
FIRST_POSSIBLE = "1970-01-01"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Whole days, from the first to the last."""

    first: str
    last: str

    def __len__(self) -> int:
        return days_between(self.first, self.last) + 1

    def days(self) -> list[str]:
        """Every day of it."""
        return every_day(self.first, self.last)

    def before(self) -> "Stretch":
        """The equally long stretch right before it."""
        return Stretch(day_after(self.first, -len(self)), day_after(self.first, -1))


def check_form(period: int, from_day: str, to_day: str) -> None:
    """Raises InvalidRequest for fields that are wrong on any day."""
    violations = []
    if period not in {Request.PERIOD_UNSPECIFIED, *PRESETS}:
        violations.append(Violation("period", "must be LAST_7_DAYS, LAST_28_DAYS or LAST_90_DAYS"))
    for field, day in (("fromDay", from_day), ("toDay", to_day)):
        if day and not is_day(day):
            violations.append(Violation(field, "must be a day, written YYYY-MM-DD"))
    if violations:
        raise InvalidRequest(violations)


def stretch_of(period: int, from_day: str, to_day: str, *, today: str, zone: str) -> Stretch:
    """The requested days; `check_form` has checked the fields.

    Raises InvalidRequest, which names the last possible day.
    """
    if not from_day and not to_day:
        return Stretch(day_after(today, -PRESETS[period or DEFAULT]), day_after(today, -1))
    wrong = _wrong(period, from_day, to_day, today)
    if wrong is not None:
        last = f"the last possible day is {day_after(today, -1)} ({zone})"
        raise InvalidRequest([Violation(wrong.field, f"{wrong.description}; {last}")])
    return Stretch(from_day, to_day)


def _wrong(period: int, from_day: str, to_day: str, today: str) -> Violation | None:
    """The first thing that is wrong."""
    if period:
        return Violation("period", "must not be given together with days")
    if not (from_day and to_day):
        given, lacking = ("fromDay", "toDay") if from_day else ("toDay", "fromDay")
        return Violation(lacking, f"must be given together with {given}")
    rules = [
        (from_day > to_day, Violation("toDay", "must not be before fromDay")),
        (to_day >= today, Violation("toDay", "must be past")),
        (from_day < FIRST_POSSIBLE, Violation("fromDay", f"must not be before {FIRST_POSSIBLE}")),
        (days_between(from_day, to_day) >= MOST_DAYS, Violation("fromDay", f"a range has at most {MOST_DAYS} days")),
    ]
    return next((violation for is_broken, violation in rules if is_broken), None)
