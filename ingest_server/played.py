"""The played ranges of a ping: their limits, and their segments. Pure."""

import math
from collections.abc import Iterator, Sequence

from course_analytics.v1 import ingest_pb2

from ingest_server import segments
from ingest_server.events import Played, Segment
from shared.serving.errors import Violation

MAX_WATCH_SECONDS = 300  # of a ping

MAX_RANGES = 16
MAX_MEDIA_SECONDS = 43_200
MAX_SEGMENTS = 128

# Browsers play at most at this speed; a ping may have been sent a second late.
MAX_SPEED = 16
SLACK_SECONDS = 1

# Sums of decimal fractions: 0.1 + 0.2 is more than 0.3.
_ROUNDING = 1e-6

# From and to, in seconds.
Range = tuple[float, float]


def read(request: ingest_pb2.TrackTelemetryRequest) -> tuple[Played | None, list[Violation]]:
    """What a valid ping has played, None without ranges; and everything wrong with its ranges and its duration."""
    ranges = [(each.from_seconds, each.to_seconds) for each in request.played]
    duration, wrong = _duration(request) if request.HasField("duration_seconds") else (None, [])
    bad = _bad_ranges(ranges, duration, request.watch_time_delta)
    played: dict[int, int] = {}
    # The watch time bounds the ranges, and so the work: a ping without a valid one is refused anyway.
    if not bad and 0 < request.watch_time_delta <= MAX_WATCH_SECONDS:
        played = segments.cut((segments.tenths(start), segments.tenths(end)) for start, end in ranges)
    if len(played) > MAX_SEGMENTS:
        bad = [Violation("played", f"must be at most {MAX_SEGMENTS} segments of 10 seconds")]
    if bad or wrong or not ranges:
        return None, [*bad, *wrong]
    length = None if duration is None else segments.tenths(duration)
    cut = [Segment(number, tenths, segments.is_view(number, tenths, length)) for number, tenths in played.items()]
    return Played(cut, None if duration is None else max(1, math.floor(duration + 0.5))), []


def _duration(request: ingest_pb2.TrackTelemetryRequest) -> tuple[float | None, list[Violation]]:
    """The duration, or what is wrong with it."""
    duration = request.duration_seconds
    if 0 < duration <= MAX_MEDIA_SECONDS:  # false for NaN
        return duration, []
    return None, [Violation("durationSeconds", f"must be greater than 0 and at most {MAX_MEDIA_SECONDS:,} seconds")]


def _bad_ranges(ranges: Sequence[Range], duration: float | None, watched: float) -> list[Violation]:
    if len(ranges) > MAX_RANGES:
        return [Violation("played", f"must be at most {MAX_RANGES} ranges")]
    last = float(MAX_MEDIA_SECONDS) if duration is None else duration + SLACK_SECONDS + _ROUNDING
    bounds = list(_bad_bounds(ranges, last))
    # Without a valid watch time there is nothing to compare with; its own violation is named already.
    if bounds or not 0 < watched <= MAX_MEDIA_SECONDS:
        return bounds
    if math.fsum(end - start for start, end in ranges) > MAX_SPEED * (watched + SLACK_SECONDS) + _ROUNDING:
        return [Violation("played", f"must be together at most {MAX_SPEED} * (watchTimeDelta + 1) seconds")]
    return []


def _bad_bounds(ranges: Sequence[Range], last: float) -> Iterator[Violation]:
    for index, (start, end) in enumerate(ranges):
        if not 0 <= start < MAX_MEDIA_SECONDS:
            text = f"must be at least 0 and less than {MAX_MEDIA_SECONDS:,} seconds"
            yield Violation(f"played[{index}].fromSeconds", text)
        if not 0 <= end <= MAX_MEDIA_SECONDS:
            yield Violation(f"played[{index}].toSeconds", f"must be at most {MAX_MEDIA_SECONDS:,} seconds")
        elif start >= end:
            yield Violation(f"played[{index}].toSeconds", "must be greater than fromSeconds")
        elif end > last:
            yield Violation(f"played[{index}].toSeconds", "must be at most 1 second beyond durationSeconds")
