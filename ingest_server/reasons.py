"""Why an event is not counted, in the words of `NotCounted.Reason`, and what its caller is told."""

from ingest_server.events import Refused
from shared.serving.errors import Implausible, ServiceError, SpoiltKey, UserLimit
from shared.serving.validation import is_object_id

# Redis decides on these, and counts them by itself: see record.lua.
DECIDED_BY_REDIS = {"IMPLAUSIBLE": Implausible, "USER_LIMIT": UserLimit}

# Somebody has put a key of another type in the place of the course's counters, where this would be counted.
SPOILT_KEY = "SPOILT_KEY"

# These are decided before, and known by the cause of the error. A store that is away is no reason: callers come again.
DECIDED_HERE = {"fields": "INVALID_FIELDS", "unknown_id": "UNKNOWN_LECTURE", "queue": "OVERLOADED"}


def error_of(reason: str) -> ServiceError:
    """What the caller of an event is told that Redis refused."""
    return SpoiltKey() if reason == SPOILT_KEY else DECIDED_BY_REDIS[reason]()


def refused(course_id: str, seconds: int, error: ServiceError) -> Refused | None:
    """The event as one that is not counted; None when the error is no reason, or the course no course's id."""
    reason = DECIDED_HERE.get(error.cause)
    return Refused(course_id, reason, seconds) if reason and is_object_id(course_id) else None
