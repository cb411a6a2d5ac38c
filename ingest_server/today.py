"""Today, for an event that is counted now."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from shared.data.days import day_of, users_end


@dataclass(frozen=True, slots=True)
class Day:
    """A day YYYY-MM-DD, and when its users expire, in seconds since the epoch."""

    name: str
    users_expire: int


class Today:
    """Returns the day in a time zone; `now` is a clock in seconds since the epoch.

    Days begin at whole seconds in every zone, so it computes the day once a second, not for every event.
    """

    def __init__(self, zone: ZoneInfo, now: Callable[[], float] = time.time) -> None:
        self._zone = zone
        self._now = now
        self._second: int | None = None
        self._day = Day("", 0)

    def __call__(self) -> Day:
        """The day of this moment."""
        second = int(self._now())
        if second != self._second:
            self._second = second
            name = day_of(second, self._zone)
            if name != self._day.name:
                self._day = Day(name, users_end(name, self._zone))
        return self._day


UTC_TODAY = Today(ZoneInfo("UTC"))
