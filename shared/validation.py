"""The rules for ids that both servers take from callers."""

import re

from shared.errors import Violation

_OBJECT_ID = re.compile(r"[0-9a-f]{24}")


def check_object_id(field: str, value: str) -> Violation | None:
    """What is wrong with a course or lecture id: 24 lower-case hexadecimal digits are required."""
    if _OBJECT_ID.fullmatch(value):
        return None
    return Violation(field, "must be 24 lower-case hexadecimal digits")
