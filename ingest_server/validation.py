"""From a request to an event, or to every reason why not. Pure."""

import math
import re

from course_analytics.v1 import ingest_pb2

from ingest_server.events import CourseView, Telemetry
from shared.errors import InvalidRequest, Violation
from shared.validation import check_object_id

MAX_WATCH_SECONDS = 300

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def course_view(request: ingest_pb2.TrackCourseViewRequest, user: bytes) -> CourseView:
    """The view that the request reports. Raises InvalidRequest, naming every bad field."""
    event_id = request.event_id if request.HasField("event_id") else None
    _refuse_any(check_object_id("courseId", request.course_id), _check_token("eventId", event_id))
    return CourseView(request.course_id, user, event_id)


def telemetry(request: ingest_pb2.TrackTelemetryRequest, user: bytes) -> Telemetry:
    """The ping that the request reports, its time in whole seconds. Raises InvalidRequest, naming every bad field."""
    event_id = request.event_id if request.HasField("event_id") else None
    playback_id = request.playback_id if request.HasField("playback_id") else None
    _refuse_any(
        check_object_id("courseId", request.course_id),
        check_object_id("lectureId", request.lecture_id),
        _check_watch_time(request.watch_time_delta),
        _check_token("eventId", event_id),
        _check_token("playbackId", playback_id),
    )
    seconds = math.floor(request.watch_time_delta + 0.5)
    return Telemetry(request.course_id, user, event_id, request.lecture_id, seconds, playback_id)


def _refuse_any(*checks: Violation | None) -> None:
    violations = [violation for violation in checks if violation is not None]
    if violations:
        raise InvalidRequest(violations)


def _check_token(field: str, value: str | None) -> Violation | None:
    if value is None or _TOKEN.fullmatch(value):
        return None
    return Violation(field, "must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -")


def _check_watch_time(seconds: float) -> Violation | None:
    if 0 < seconds <= MAX_WATCH_SECONDS:  # false for NaN
        return None
    return Violation("watchTimeDelta", f"must be greater than 0 and at most {MAX_WATCH_SECONDS} seconds")
