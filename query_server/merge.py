"""What both stores say of a course, made one: every count in it exactly once, wherever a flush has got to. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.data.tallies import COURSE, Counts, count_of


@dataclass(frozen=True, slots=True)
class Batch:
    """Counts that Redis holds, by field, and the id under which a flush adds them to the document."""

    id: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Hot:
    """A course in Redis at one moment: `seconds` since the epoch and `microseconds`, by the clock of Redis.

    `flushed_batch` is the batch that a flush removed last, `users` the HyperLogLog's estimate.
    """

    batches: Sequence[Batch]
    flushed_batch: str | None
    users: int
    seconds: int
    microseconds: int


@dataclass(frozen=True, slots=True)
class Totals:
    """A course's counts, and its distinct users."""

    counts: Counts
    users: int


def is_consistent(hot: Hot, analytics: Mapping[str, Any]) -> bool:
    """Whether the document has every count that has left Redis; if not, it was read too early."""
    return hot.flushed_batch is None or hot.flushed_batch in _applied(analytics)


def totals_of(hot: Hot, analytics: Mapping[str, Any]) -> Totals:
    """The document's counts, and those of every batch that it does not hold yet."""
    counts = COURSE.counts_of(analytics)
    for batch in hot.batches:
        if batch.id not in _applied(analytics):
            COURSE.add_fields(counts, batch.counts)
    return Totals(counts, max(hot.users, count_of(analytics.get("uniqueActiveUsers"))))


def _applied(analytics: Mapping[str, Any]) -> Sequence[str]:
    applied: Sequence[str] = analytics.get("recentBatches") or ()
    return applied
