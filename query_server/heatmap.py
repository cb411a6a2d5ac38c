"""The arithmetic of a heatmap: which parts of a lecture's video are watched, and where viewers stop. Pure."""

import itertools
import re
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

_NUMBERS = {str(number): number for number in range(LONGEST_SECONDS // SEGMENT_SECONDS)}
_SECONDS = re.compile(r"[0-9]{1,5}")


class Segment(NamedTuple):
    """Ten seconds of the video, the last segment possibly less; `length` and `watched` in seconds."""

    start: int
    length: int
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
    views = _by_segment(counts[SEGMENT_VIEWS.name])
    watched = _by_segment(counts[SEGMENT_WATCHED.name])
    playbacks = int(counts[PLAYBACKS.name][""])
    number = max((*views, *watched, _segments_of(duration) - 1)) + 1
    segments = _segments([views.get(each, 0) for each in range(number)], watched, _lengths(number, duration), playbacks)
    return Heatmap(duration, playbacks, segments, _most_rewatched(segments), _largest_drop(segments, playbacks))


def _duration(reported: Mapping[str, float]) -> int | None:
    """The duration that players report most often; of several, the longest."""
    seconds = {int(item): count for item, count in reported.items() if _SECONDS.fullmatch(item) and count >= 1}
    possible = [each for each in seconds if 0 < each <= LONGEST_SECONDS]
    return max(possible, key=lambda each: (seconds[each], each), default=None)


def _segments_of(duration: int | None) -> int:
    return -(-(duration or 0) // SEGMENT_SECONDS)


def _by_segment(counts: Mapping[str, float]) -> dict[int, int]:
    """The counts by segment; skips items that are none, and zeros."""
    return {
        number: int(count)
        for item, count in counts.items()
        if count >= 1 and (number := _NUMBERS.get(item)) is not None
    }


def _lengths(number: int, duration: int | None) -> list[int]:
    """The lengths of so many segments in seconds: the last one of the video has the rest of it.

    Those beyond the duration have full length: the video was replaced by a shorter one.
    """
    lengths = [SEGMENT_SECONDS] * number
    if duration and (rest := duration % SEGMENT_SECONDS):
        lengths[duration // SEGMENT_SECONDS] = rest
    return lengths


def _segments(
    views: Sequence[int], watched: Mapping[int, int], lengths: Sequence[int], playbacks: int
) -> list[Segment]:
    """One comprehension: with a call for each segment, an hour of video would take twice as long."""
    return [
        Segment(
            SEGMENT_SECONDS * number,
            length,
            seen,
            (tenths := watched.get(number, 0)) / TENTHS,
            seen / playbacks if playbacks else 0.0,
            tenths / (TENTHS * length * seen) if seen else 0.0,
        )
        for number, (seen, length) in enumerate(zip(views, lengths, strict=True))
    ]


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
