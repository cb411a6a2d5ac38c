"""Which segments of a video a player has played. Pure.

A segment is 10 s of media time. Times are in tenths of a second, whole numbers: bounds are rounded before they are cut,
so the sum over the segments is the sum of the ranges.
"""

from collections.abc import Iterable

SEGMENT_TENTHS = 100

# A segment counts as viewed if so much of it was played in one ping.
VIEW_TENTHS = 10


def tenths(seconds: float) -> int:
    """The time, rounded half up to tenths of a second."""
    return int(seconds * 10 + 0.5)


def cut(ranges: Iterable[tuple[int, int]]) -> dict[int, int]:
    """The tenths played in each segment, by number; ranges are half-open, and overlaps count as played again."""
    played: dict[int, int] = {}
    for start, end in ranges:
        position = start
        while position < end:
            number = position // SEGMENT_TENTHS
            stop = min(end, (number + 1) * SEGMENT_TENTHS)
            played[number] = played.get(number, 0) + stop - position
            position = stop
    return played


def is_view(number: int, played: int, duration: int | None) -> bool:
    """Whether so many tenths of a segment count as a view: 1 s, or half of a last segment that is shorter than 1 s."""
    rest = SEGMENT_TENTHS if duration is None else duration - number * SEGMENT_TENTHS
    if 0 < rest < VIEW_TENTHS:
        return played * 2 >= rest
    return played >= VIEW_TENTHS
