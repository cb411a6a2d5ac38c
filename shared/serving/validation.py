"""Validation rules of both servers: ids, and the size of a course."""

import re

from shared.serving.errors import Violation

_OBJECT_ID = re.compile(r"[0-9a-f]{24}")

# MongoDB's time for an update grows with the square of its counters. One of 10,000 lectures takes one to three seconds;
# a larger one would exceed the flusher's timeout, and its dashboard would delay all others.
MAX_LECTURES = 10_000
TOO_MANY_LECTURES = Violation(
    "courseId", f"the course has more than {MAX_LECTURES:,} lectures, which are not counted or shown"
)


def is_object_id(value: str) -> bool:
    """Whether it is a course or lecture id: 24 lower-case hexadecimal digits."""
    return _OBJECT_ID.fullmatch(value) is not None


def check_object_id(field: str, value: str) -> Violation | None:
    """What is wrong with a course or lecture id; None if it is valid."""
    return None if is_object_id(value) else Violation(field, "must be 24 lower-case hexadecimal digits")
