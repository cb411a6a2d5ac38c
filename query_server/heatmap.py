"""The arithmetic of a heatmap: which parts of a lecture's video are watched, and where viewers stop. Pure."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shared.data.tallies import DURATION, PLAYBACKS, SEGMENT_VIEWS, SEGMENT_WATCHED, Counts

SEGMENT_SECONDS = 10
LONGEST_SECONDS = 43_200  # of a video: nothing beyond it is counted
TENTHS = 10  # watch time of segments is counted in tenths of a second

# A stretch is named if it has at least so many views and passes; at most so many stretches are named.
REWATCHED_VIEWS = 5
REWATCHED_PASSES = 1.5
STRETCHES = 5


class Segment(NamedTuple):
    """Ten seconds of the video, the last segment possibly less; `length` and `watched` in seconds."""

    start: int
    length: float
    views: int
    watched: float
    retention_rate: float
    passes: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring segments that were played again; its bounds in seconds."""

    start: float
    end: float
    passes: float
    views: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Where the most views are lost, in seconds, and their share of all playbacks."""

    at: int
    lost_rate: float


@dataclass(frozen=True, slots=True)
class Heatmap:
    """What an instructor sees of a lecture's video. `duration` is None while no player has reported one."""

    duration: int | None
    playbacks: int
    segments: Sequence[Segment]
    most_rewatched: Sequence[Stretch]
    largest_drop: Drop | None


def heatmap_of(counts: Counts) -> Heatmap:
    """The heatmap of a lecture's counts.

    A playback is counted no later than its first segment, so no segment has more views than there are playbacks, and no
    rate is above 1.
    """
    duration = _duration(counts[DURATION.name])
    views = _by_number(counts[SEGMENT_VIEWS.name])
    watched = _by_number(counts[SEGMENT_WATCHED.name])
    playbacks = int(counts[PLAYBACKS.name][""])
    last = max((*views, *watched, _segments_of(duration) - 1))
    segments = [
        _segment(number, duration, views.get(number, 0), watched.get(number, 0), playbacks)
        for number in range(last + 1)
    ]
    return Heatmap(duration, playbacks, segments, _most_rewatched(segments), _largest_drop(segments, playbacks))


def _duration(reported: Mapping[str, float]) -> int | None:
    """The duration that players report most often; of several, the longest."""
    seconds = {number: count for number, count in _by_number(reported, LONGEST_SECONDS + 1).items() if number}
    return max(seconds, key=lambda number: (seconds[number], number), default=None)


def _segments_of(duration: int | None) -> int:
    return -(-(duration or 0) // SEGMENT_SECONDS)


def _by_number(counts: Mapping[str, float], end: int = LONGEST_SECONDS // SEGMENT_SECONDS) -> dict[int, int]:
    """The counts by item number; skips items that are not numbers below `end`, and zeros."""
    return {
        number: int(count)
        for item, count in counts.items()
        if item.isdecimal() and len(item) <= 5 and (number := int(item)) < end and count >= 1
    }


def _segment(number: int, duration: int | None, views: int, tenths: int, playbacks: int) -> Segment:
    start = number * SEGMENT_SECONDS
    # Beyond the duration a segment has full length: the video was replaced by a shorter one.
    rest = duration - start if duration is not None else 0
    length = min(SEGMENT_SECONDS, rest) if rest > 0 else SEGMENT_SECONDS
    retention_rate = views / playbacks if playbacks else 0.0
    passes = tenths / (TENTHS * length * views) if views else 0.0
    return Segment(start, length, views, tenths / TENTHS, retention_rate, passes)


def _most_rewatched(segments: Sequence[Segment]) -> list[Stretch]:
    stretches = sorted(_stretches(segments), key=lambda stretch: (-stretch.passes, stretch.start))
    return stretches[:STRETCHES]


def _stretches(segments: Sequence[Segment]) -> Iterator[Stretch]:
    for is_rewatched, neighbours in itertools.groupby(segments, _is_rewatched):
        if is_rewatched:
            joined = list(neighbours)
            possible = sum(segment.length * segment.views for segment in joined)
            yield Stretch(
                start=joined[0].start,
                end=joined[-1].start + joined[-1].length,
                passes=sum(segment.watched for segment in joined) / possible,
                views=min(segment.views for segment in joined),
            )


def _is_rewatched(segment: Segment) -> bool:
    return segment.views >= REWATCHED_VIEWS and segment.passes >= REWATCHED_PASSES


def _largest_drop(segments: Sequence[Segment], playbacks: int) -> Drop | None:
    """The largest drop; of several, the first."""
    losses = [before.views - here.views for before, here in itertools.pairwise(segments)]
    largest = max(losses, default=0)
    if largest <= 0 or not playbacks:
        return None
    return Drop(segments[losses.index(largest) + 1].start, largest / playbacks)
