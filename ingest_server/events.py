"""What a caller reports, once it has been found valid."""

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
    """What was played of one segment: tenths of a second of media time, and whether that is a view of it."""

    number: int
    tenths: int
    is_view: bool


@dataclass(slots=True)
class Played:
    """What a player has played since its last ping, and how long it says that the video is, in whole seconds."""

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
    """Events that are not counted: why not, in a word of `NotCounted.Reason`, and their watch time in whole seconds."""

    course_id: str
    reason: str
    seconds: int
    events: int = 1


# What an event or playback id adds to the weight, and a playback's bitmap.
ID_WEIGHT = 2


def weight(event: Event) -> int:
    """What the event costs Redis, in units of about 4 µs: a plain one is 1, each id 2, and each segment 1."""
    if isinstance(event, CourseView):
        return 1 if event.event_id is None else 1 + ID_WEIGHT
    plain = 1 + ID_WEIGHT * ((event.event_id is not None) + (event.playback_id is not None))
    if event.played is None:
        return plain
    bitmap = ID_WEIGHT if event.playback_id is not None else 0
    return plain + bitmap + len(event.played.segments)


def seconds_of(event: Event) -> int:
    """The whole seconds that an event says were watched."""
    return event.seconds if isinstance(event, Telemetry) else 0
