"""The played ranges of a ping: their limits, and their segments. Pure."""

import math
from collections.abc import Iterator

from course_analytics.v1 import ingest_pb2

from ingest_server import segments
from ingest_server.events import Played, Segment
from shared.serving.errors import Violation

MAX_RANGES = 16
MAX_MEDIA_SECONDS = 43_200
MAX_SEGMENTS = 128

# Browsers play at most at this speed; a ping may have been sent a second late.
MAX_SPEED = 16
SLACK_SECONDS = 1

# Sums of decimal fractions: 0.1 + 0.2 is more than 0.3.
_ROUNDING = 1e-6


def of(request: ingest_pb2.TrackTelemetryRequest) -> Played:
    """The segments of a ping without violations."""
    duration = request.duration_seconds if request.HasField("duration_seconds") else None
    length = None if duration is None else segments.tenths(duration)
    played = [
        Segment(number, tenths, segments.is_view(number, tenths, length))
        for number, tenths in segments.cut(_in_tenths(request)).items()
    ]
    return Played(played, None if duration is None else max(1, math.floor(duration + 0.5)))


def violations(request: ingest_pb2.TrackTelemetryRequest) -> list[Violation]:
    """Everything that is wrong with the ranges and the duration of a ping."""
    found: list[Violation] = []
    last = float(MAX_MEDIA_SECONDS)
    if request.HasField("duration_seconds"):
        duration = request.duration_seconds
        if 0 < duration <= MAX_MEDIA_SECONDS:  # false for NaN
            last = duration + SLACK_SECONDS + _ROUNDING
        else:
            text = f"must be greater than 0 and at most {MAX_MEDIA_SECONDS:,} seconds"
            found.append(Violation("durationSeconds", text))
    if len(request.played) > MAX_RANGES:
        return [Violation("played", f"must be at most {MAX_RANGES} ranges"), *found]
    bounds = list(_bad_bounds(request, last))
    return [*(bounds or _bad_sums(request)), *found]


def _bad_bounds(request: ingest_pb2.TrackTelemetryRequest, last: float) -> Iterator[Violation]:
    for index, played in enumerate(request.played):
        start, end = played.from_seconds, played.to_seconds
        if not 0 <= start < MAX_MEDIA_SECONDS:
            text = f"must be at least 0 and less than {MAX_MEDIA_SECONDS:,} seconds"
            yield Violation(f"played[{index}].fromSeconds", text)
        if not 0 <= end <= MAX_MEDIA_SECONDS:
            yield Violation(f"played[{index}].toSeconds", f"must be at most {MAX_MEDIA_SECONDS:,} seconds")
        elif start >= end:
            yield Violation(f"played[{index}].toSeconds", "must be greater than fromSeconds")
        elif end > last:
            yield Violation(f"played[{index}].toSeconds", "must be at most 1 second beyond durationSeconds")


def _bad_sums(request: ingest_pb2.TrackTelemetryRequest) -> Iterator[Violation]:
    watched = request.watch_time_delta
    if not 0 < watched <= MAX_MEDIA_SECONDS:
        return  # nothing to compare with; its own violation is named already
    together = math.fsum(played.to_seconds - played.from_seconds for played in request.played)
    if together > MAX_SPEED * (watched + SLACK_SECONDS) + _ROUNDING:
        yield Violation("played", f"must be together at most {MAX_SPEED} * (watchTimeDelta + 1) seconds")
    elif len(segments.cut(_in_tenths(request))) > MAX_SEGMENTS:
        yield Violation("played", f"must be at most {MAX_SEGMENTS} segments of 10 seconds")


def _in_tenths(request: ingest_pb2.TrackTelemetryRequest) -> list[tuple[int, int]]:
    return [(segments.tenths(played.from_seconds), segments.tenths(played.to_seconds)) for played in request.played]
