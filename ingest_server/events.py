"""What a caller reports, once it has been found valid."""

from dataclasses import dataclass


@dataclass(slots=True)
class CourseView:
    """A user opened a course's page."""

    course_id: str
    user: bytes
    event_id: str | None


@dataclass(slots=True)
class Telemetry:
    """A user watched so many whole seconds of a lecture since the player's last ping."""

    course_id: str
    user: bytes
    event_id: str | None
    lecture_id: str
    seconds: int
    playback_id: str | None


Event = CourseView | Telemetry


# What a key of an event or playback id adds to its weight.
ID_WEIGHT = 4


def weight(event: Event) -> int:
    """What the event costs Redis, in units of about 4 µs: a plain one is 1, and each of its ids is a key of its own."""
    if isinstance(event, CourseView):
        return 1 if event.event_id is None else 1 + ID_WEIGHT
    return 1 + ID_WEIGHT * ((event.event_id is not None) + (event.playback_id is not None))
