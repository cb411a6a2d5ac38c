"""Why an event is not counted, as names of `NotCounted.Reason`, and its caller's error."""

from collections.abc import Iterable, Iterator

from ingest_server.events import Refused
from shared.serving.errors import Implausible, ServiceError, SpoiltKey, UserLimit
from shared.serving.validation import is_object_id

# Redis decides on these, and counts them itself: see record.lua.
DECIDED_BY_REDIS = {"IMPLAUSIBLE": Implausible, "USER_LIMIT": UserLimit}

# A key of another type has replaced the course's counters, where this would be counted.
SPOILT_KEY = "SPOILT_KEY"

# The server decides on these; the error's cause names them. An unavailable store is not a reason: callers retry.
DECIDED_HERE = {"fields": "INVALID_FIELDS", "unknown_id": "UNKNOWN_LECTURE", "queue": "OVERLOADED"}


def error_of(reason: str) -> ServiceError:
    """The error for the caller of an event that Redis refused."""
    return SpoiltKey() if reason == SPOILT_KEY else DECIDED_BY_REDIS[reason]()


def refused(course_id: str, seconds: int, error: ServiceError, events: int = 1) -> Refused | None:
    """Events that are not counted; None if the error is not a reason, or the course id is malformed."""
    reason = DECIDED_HERE.get(error.cause)
    return Refused(course_id, reason, seconds, events) if reason and is_object_id(course_id) else None


def all_refused(events: Iterable[tuple[str, int]], error: ServiceError) -> Iterator[Refused | None]:
    """The events of a call, each a course and its whole seconds, that are refused for the same reason."""
    sums: dict[str, list[int]] = {}
    for course_id, seconds in events:
        own = sums.setdefault(course_id, [0, 0])
        own[0] += 1
        own[1] += seconds
    for course_id, (number, seconds) in sums.items():
        yield refused(course_id, seconds, error, number)
