"""The id of a batch: unique, with the time of its first count."""

import re

_BORN = re.compile(r".*-([0-9a-f]{1,12})")  # more digits are not a time, and may be too large for a float


def batch_id(process: str, commit: int, now: float) -> str:
    """The id of batches that a commit starts: `<process>-<commit number>-<milliseconds since 1970, hexadecimal>`."""
    return f"{process}-{commit}-{int(now * 1000):x}"


def born(batch: str) -> float | None:
    """The time of the batch's first count, in seconds since the epoch; None for an id of another form."""
    match = _BORN.fullmatch(batch)
    return int(match[1], 16) / 1000 if match else None


def age(batch: str, now: float) -> float:
    """The age of the batch's first count in seconds; 0 for an id of another form, and for a clock that is ahead."""
    since = born(batch)
    return 0.0 if since is None else max(0.0, now - since)
