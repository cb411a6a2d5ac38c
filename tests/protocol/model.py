"""What a dashboard may show, known from what was acknowledged alone."""

from collections import Counter
from dataclasses import dataclass, field

from ingest_server.events import CourseView, Event
from shared.data.tallies import COURSE_VIEWS, LECTURE_VIEWS, LECTURE_WATCH_TIME, NOT_COUNTED, NOT_COUNTED_SECONDS


@dataclass
class Bounds:
    """The least and the most that a course may show: the same, until Redis loses something."""

    least: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)

    def add(self, gained: Counter[str]) -> None:
        """Counts what was acknowledged."""
        self.least.update(gained)
        self.most.update(gained)


class Rules:
    """The counting rules: what an event adds, by the ids that Redis has seen."""

    def __init__(self) -> None:
        self._seen: set[tuple[object, ...]] = set()

    def gain(self, event: Event) -> Counter[str]:
        """What the event adds to its course."""
        kind = type(event)
        if event.event_id and self._is_known(kind, event.user, event.course_id, event.event_id):
            return _repeated(event)
        if isinstance(event, CourseView):
            return Counter({COURSE_VIEWS.field(): 1})
        gained = Counter({LECTURE_WATCH_TIME.field(event.lecture_id): event.seconds})
        if not event.playback_id or not self._is_known(
            event.user, event.course_id, event.lecture_id, event.playback_id
        ):
            gained[LECTURE_VIEWS.field(event.lecture_id)] = 1
        return gained

    def forget(self) -> None:
        """Redis has lost its ids."""
        self._seen.clear()

    def _is_known(self, *identity: object) -> bool:
        known = identity in self._seen
        self._seen.add(identity)
        return known


def _repeated(event: Event) -> Counter[str]:
    """What an event adds that was counted before: nothing but that it came."""
    gained = Counter({NOT_COUNTED.field("REPEATED"): 1})
    if not isinstance(event, CourseView):
        gained[NOT_COUNTED_SECONDS.field("REPEATED")] = event.seconds
    return gained
