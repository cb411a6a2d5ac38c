"""Merges what both stores have of a tally: every count exactly once, wherever a flush has got to. Pure."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from shared.data.tallies import COURSE, COURSE_VIEWS, Counts, Kind, count_of


@dataclass(frozen=True, slots=True)
class Batch:
    """Counts that Redis holds, by field, and the id under which a flush adds them to the document."""

    id: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Hot:
    """A tally in Redis at one moment: `seconds` since the epoch and `microseconds`, by the clock of Redis.

    `flushed_batch` is the batch that a flush cleared last. A course has the estimate of its HyperLogLog, `users`; a day
    has its bytes, `sketch`, because reports unite days.
    """

    batches: Sequence[Batch]
    flushed_batch: str | None
    users: int
    seconds: int
    microseconds: int
    sketch: bytes = b""
    is_empty: bool = False  # Redis has no hash of it, not even one that is not shown


@dataclass(frozen=True, slots=True)
class HotTallies:
    """Tallies of one course in Redis, by name. Redis has nothing of a missing one: all of it is in MongoDB.

    `first_day` is the course's first day with unflushed counts, even if it is not among them; `unsaved` are days whose
    users are not all in MongoDB.
    """

    tallies: Mapping[str, Hot]
    first_day: str | None = None
    unsaved: Set[str] = frozenset()


NOTHING = Hot((), None, 0, 0, 0, is_empty=True)
"""A tally of which Redis has nothing."""


@dataclass(frozen=True, slots=True)
class Totals:
    """A course's counts, and its distinct users."""

    counts: Counts
    users: int

    @property
    def views(self) -> int:
        """Of the course's page."""
        return int(self.counts[COURSE_VIEWS.name][""])


def is_consistent(hot: Hot, document: Mapping[str, Any]) -> bool:
    """Whether the document has every count that has left Redis; if not, it was read too early."""
    return hot.flushed_batch is None or hot.flushed_batch in applied(document)


def are_consistent(hot: Mapping[str, Hot], documents: Mapping[str, Mapping[str, Any]]) -> bool:
    """The same for several tallies, by name. A tally without a document may be missing from `documents`."""
    return all(is_consistent(each, documents.get(name, {})) for name, each in hot.items())


def counts_of(kind: Kind, hot: Hot, document: Mapping[str, Any]) -> Counts:
    """The document's counts plus those of every batch that it does not have yet; never negative."""
    counts = kind.counts_of(document)
    for batch in missing(hot, document):
        kind.add_fields(counts, batch.counts)
    for items in counts.values():
        if (
            items and min(items.values()) < 0
        ):  # the platform wrote it; a sum is clamped, so that a flush changes nothing
            items.update({item: 0 for item, count in items.items() if count < 0})
    return counts


def totals_of(hot: Hot, analytics: Mapping[str, Any]) -> Totals:
    """A course's totals."""
    users = max(0, hot.users, int(count_of(analytics.get("uniqueActiveUsers"))))
    return Totals(counts_of(COURSE, hot, analytics), users)


def missing(hot: Hot, document: Mapping[str, Any]) -> Sequence[Batch]:
    """The batches that the document does not have yet."""
    if not hot.batches:
        return ()
    known = applied(document)
    return [batch for batch in hot.batches if batch.id not in known]


def applied(document: Mapping[str, Any]) -> Sequence[str]:
    """The batches that the document has; none if the field is not a list of strings."""
    listed = document.get("recentBatches")
    return [each for each in listed if type(each) is str] if isinstance(listed, list) else ()
