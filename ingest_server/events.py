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
