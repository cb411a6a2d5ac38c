"""A plain list of events, and what a report of them has to say: counted in the simplest way there is."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from shared.data.days import day_after, day_of, start_of

LECTURES = ("a" * 24, "b" * 24, "c" * 24)
REASONS = ("REPEATED", "IMPLAUSIBLE", "OVERLOADED")
PLACES = ("cold", "both", "flushing", "counting", "quarantined")
ZONES = ("Asia/Kathmandu", "Asia/Kolkata", "Australia/Lord_Howe", "America/New_York", "UTC")
# Around the days on which clocks change in one of these zones: they have 23, 23.5, 24.5 or 25 hours.
BEGINNINGS = ("2026-03-06", "2026-10-30", "2026-04-03", "2026-10-02", "2026-12-29")
DAYS = 8


class Event(NamedTuple):
    """Where its batch is, when it came, and what was counted of it."""

    place: str
    seconds: float
    user: int
    counted: dict[str, int]


@dataclass
class Diary:
    """The events of a few days of one zone."""

    zone: ZoneInfo
    first: str
    events: Sequence[Event]
    days: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.days = [day_after(self.first, number) for number in range(DAYS)]

    def batches(self) -> dict[str, dict[str, Counter[str]]]:
        """What was counted, by day and place."""
        found: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        for event in self.events:
            found[self.day_of(event)][event.place].update(event.counted)
        return found

    def day_of(self, event: Event) -> str:
        return day_of(event.seconds, self.zone)

    def users(self, *days: str, places: Sequence[str] = PLACES) -> set[int]:
        """Who was counted on these days, in batches of these places."""
        counted = [event for event in self.events if not any(name.startswith("not_") for name in event.counted)]
        return {event.user for event in counted if self.day_of(event) in days and event.place in places}

    def counted(self, *days: str) -> Counter[str]:
        """Every counter of these days."""
        together: Counter[str] = Counter()
        for event in self.events:
            if self.day_of(event) in days:
                together.update(event.counted)
        return together


def total(counted: Counter[str], name: str) -> int:
    """The sum of a counter over its items."""
    return sum(count for field, count in counted.items() if field.partition(":")[0] == name)


def document_of(counted: Counter[str]) -> dict[str, Any]:
    """What the flusher makes of them, written out by hand."""
    stats: dict[str, dict[str, int]] = defaultdict(dict)
    refused: dict[str, dict[str, int]] = defaultdict(dict)
    for name, count in counted.items():
        counter, _, item = name.partition(":")
        match counter:
            case "lecture_views":
                stats[item]["views"] = count
            case "lecture_watchtime":
                stats[item]["totalWatchTime"] = count
            case "not_counted":
                refused[item]["events"] = count
            case "not_counted_seconds":
                refused[item]["seconds"] = count
    return {
        "totalViews": counted["course_views"],
        "lectureStats": dict(stats),
        "notCounted": dict(refused),
        "lectureViews": total(counted, "lecture_views"),
        "watchTime": total(counted, "lecture_watchtime"),
    }


@st.composite
def _counted(draw: st.DrawFn) -> dict[str, int]:
    kind = draw(st.sampled_from(["view", "ping", "ping", "refused"]))
    if kind == "view":
        return {"course_views": 1}
    seconds = draw(st.integers(1, 300))
    if kind == "ping":
        lecture = draw(st.sampled_from(LECTURES))
        return {f"lecture_views:{lecture}": 1, f"lecture_watchtime:{lecture}": seconds}
    reason = draw(st.sampled_from(REASONS))
    return {f"not_counted:{reason}": 1, f"not_counted_seconds:{reason}": seconds}


@st.composite
def diaries(draw: st.DrawFn) -> Diary:
    """Events at any moment of some days, most of them near a midnight."""
    zone = ZoneInfo(draw(st.sampled_from(ZONES)))
    first = draw(st.sampled_from(BEGINNINGS))
    midnights = [start_of(day_after(first, number), zone) for number in range(DAYS + 1)]
    near = st.tuples(st.sampled_from(midnights), st.sampled_from([-0.001, 0, 1, -1, 3_600, -3_600])).map(sum)
    moments = st.one_of(st.floats(midnights[0], midnights[-1] - 1), near)
    inside = moments.filter(lambda moment: midnights[0] <= moment < midnights[-1])
    events = st.builds(Event, st.sampled_from(PLACES), inside, st.integers(1, 40), _counted())
    return Diary(zone, first, draw(st.lists(events, max_size=60)))
