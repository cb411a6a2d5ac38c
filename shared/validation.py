"""The rules for ids that both servers take from callers."""

import re

from shared.errors import Violation

_OBJECT_ID = re.compile(r"[0-9a-f]{24}")


def is_object_id(value: str) -> bool:
    """Whether it is a course or lecture id: 24 lower-case hexadecimal digits."""
    return _OBJECT_ID.fullmatch(value) is not None


def check_object_id(field: str, value: str) -> Violation | None:
    """What is wrong with a course or lecture id, None for nothing."""
    return None if is_object_id(value) else Violation(field, "must be 24 lower-case hexadecimal digits")
