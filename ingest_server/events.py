"""The valid events that callers report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(slots=True)
class CourseView:
    """A user opened a course's page."""

    course_id: str
    user: bytes
    event_id: str | None


class Segment(NamedTuple):
    """The part played of one segment: tenths of a second of media time, and whether that counts as a view."""

    number: int
    tenths: int
    is_view: bool


@dataclass(slots=True)
class Played:
    """What a player has played since its last ping, and the duration of the video that it reports, in whole seconds."""

    segments: Sequence[Segment]
    duration: int | None


@dataclass(slots=True)
class Telemetry:
    """A user watched so many whole seconds of a lecture since the player's last ping."""

    course_id: str
    user: bytes
    event_id: str | None
    lecture_id: str
    seconds: int
    playback_id: str | None
    played: Played | None = None


Event = CourseView | Telemetry


class Refused(NamedTuple):
    """Events that are not counted: the reason, a name of `NotCounted.Reason`, and their watch time in whole seconds."""

    course_id: str
    reason: str
    seconds: int
    events: int = 1


# What an event or playback id, or a playback's bitmap, adds to the weight.
ID_WEIGHT = 1


def weight(event: Event) -> int:
    """The cost of the event in Redis, in units of about 4 µs: a plain one 1, more for each id and segment."""
    if isinstance(event, CourseView):
        return 1 if event.event_id is None else 1 + ID_WEIGHT
    plain = 1 + ID_WEIGHT * ((event.event_id is not None) + (event.playback_id is not None))
    if event.played is None:
        return plain
    bitmap = ID_WEIGHT if event.playback_id is not None else 0
    return plain + bitmap + len(event.played.segments)


def seconds_of(event: Event) -> int:
    """The whole seconds of watch time in an event."""
    return event.seconds if isinstance(event, Telemetry) else 0
