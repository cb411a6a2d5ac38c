"""From a request to an event, or to all of its violations. Pure."""

import math
import re

from course_analytics.v1 import ingest_pb2

from ingest_server import played
from ingest_server.events import ID_WEIGHT, CourseView, Event, Telemetry
from shared.serving.errors import InvalidRequest, Violation
from shared.serving.validation import check_object_id, is_object_id

MAX_EVENTS = 1_000
MAX_USER_BYTES = 256

Request = ingest_pb2.TrackCourseViewRequest | ingest_pb2.TrackTelemetryRequest

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def course_view(request: ingest_pb2.TrackCourseViewRequest, user: bytes) -> CourseView:
    """The view that the request reports. Raises InvalidRequest, naming every bad field."""
    course_id = request.course_id
    event_id = request.event_id if request.HasField("event_id") else None
    if not (is_object_id(course_id) and _is_token(event_id) and _is_user(request)):
        raise _refusal(
            check_object_id("courseId", course_id),
            _check_token("eventId", event_id),
            _check_user(request),
        )
    return CourseView(course_id, user, event_id)


def telemetry(request: ingest_pb2.TrackTelemetryRequest, user: bytes) -> Telemetry:
    """The ping that the request reports, its time in whole seconds. Raises InvalidRequest, naming every bad field."""
    course_id, lecture_id, delta = request.course_id, request.lecture_id, request.watch_time_delta
    event_id = request.event_id if request.HasField("event_id") else None
    playback_id = request.playback_id if request.HasField("playback_id") else None
    # Most pings have no played ranges.
    says_played = request.played or request.HasField("duration_seconds")
    what, bad_played = played.read(request) if says_played else (None, ())
    # Violations are worked out only if there are any: nearly every ping is valid.
    if not (
        is_object_id(course_id)
        and is_object_id(lecture_id)
        and _is_watch_time(delta)
        and _is_token(event_id)
        and _is_token(playback_id)
        and _is_user(request)
        and not bad_played
    ):
        raise _refusal(
            check_object_id("courseId", course_id),
            check_object_id("lectureId", lecture_id),
            _check_watch_time(delta),
            _check_token("eventId", event_id),
            _check_token("playbackId", playback_id),
            _check_user(request),
            *bad_played,
        )
    return Telemetry(course_id, user, event_id, lecture_id, _whole(delta), playback_id, what)


def event(request: ingest_pb2.Event, user: bytes) -> Event:
    """The event at one position of a batch. Raises InvalidRequest, in the words of the event's own call."""
    match request.WhichOneof("event"):
        case "telemetry":
            return telemetry(request.telemetry, user)
        case "course_view":
            return course_view(request.course_view, user)
    raise _refusal(Violation("event", "must be a courseView or a telemetry"))


def named_user(request: Request) -> str | None:
    """The user that a request names, None for the caller."""
    return request.user_id if request.HasField("user_id") else None


def seconds_of(request: Request) -> int:
    """The whole seconds of a refused ping; 0 for an invalid watch time, and for a course view."""
    if isinstance(request, ingest_pb2.TrackTelemetryRequest) and _is_watch_time(request.watch_time_delta):
        return _whole(request.watch_time_delta)
    return 0


def least_weight(request: Request) -> int:
    """The least weight of an event if it is valid, see `events.weight`."""
    weight = 1 + ID_WEIGHT * request.HasField("event_id")
    if isinstance(request, ingest_pb2.TrackTelemetryRequest):
        weight += ID_WEIGHT * request.HasField("playback_id")
    return weight


def of_event(request: ingest_pb2.Event) -> Request:
    """The request inside a batch's event; an empty one when there is none."""
    return request.telemetry if request.HasField("telemetry") else request.course_view


def _whole(seconds: float) -> int:
    return math.floor(seconds + 0.5)


def _refusal(*problems: Violation | None) -> InvalidRequest:
    return InvalidRequest([problem for problem in problems if problem is not None])


def _is_user(request: Request) -> bool:
    return not request.HasField("user_id") or 1 <= len(request.user_id.encode()) <= MAX_USER_BYTES


def _check_user(request: Request) -> Violation | None:
    return None if _is_user(request) else Violation("userId", f"must have 1 to {MAX_USER_BYTES} bytes")


def _is_token(value: str | None) -> bool:
    return value is None or _TOKEN.fullmatch(value) is not None


def _check_token(field: str, value: str | None) -> Violation | None:
    return None if _is_token(value) else Violation(field, "must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -")


def _is_watch_time(seconds: float) -> bool:
    return 0 < seconds <= played.MAX_WATCH_SECONDS  # false for NaN


def _check_watch_time(seconds: float) -> Violation | None:
    if _is_watch_time(seconds):
        return None
    return Violation("watchTimeDelta", f"must be greater than 0 and at most {played.MAX_WATCH_SECONDS} seconds")
