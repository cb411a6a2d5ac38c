"""What both stores say of a course, made one: every count in it exactly once, wherever a flush has got to. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.counters import counts_of_document
from shared.keys import BATCH, RESURRECTED


@dataclass(frozen=True, slots=True)
class Hot:
    """A course in Redis at one moment."""

    hashes: tuple[Mapping[str, str], ...]
    """Counters being counted or being flushed: each a hash from field to number, with its batch id."""

    quarantined: Mapping[str, str]
    """Batches that MongoDB would not take: batch id to JSON, `{"reason": …, "counters": {field: number}}`."""

    flushed_batch: str | None
    """The batch that a flush removed from Redis last."""

    users: int
    """The HyperLogLog's estimate."""

    seconds: int
    """The moment, by the clock of Redis: seconds since the epoch, and …"""

    microseconds: int


@dataclass(frozen=True, slots=True)
class Totals:
    """A course's counts by the field that a Redis hash has for them, and its distinct users."""

    counts: Mapping[str, int]
    users: int


def is_consistent(hot: Hot, analytics: Mapping[str, Any]) -> bool:
    """Whether every count that is no longer in Redis is in the document: if not, the document was read too early."""
    return hot.flushed_batch is None or hot.flushed_batch in _applied(analytics)


def totals_of(hot: Hot, analytics: Mapping[str, Any]) -> Totals:
    """The document's counts and those of every batch in Redis that the document does not hold yet."""
    counts = dict(counts_of_document(analytics))
    for batch, counters in _batches(hot):
        if batch not in _applied(analytics):
            for field, count in counters.items():
                counts[field] = counts.get(field, 0) + int(count)
    return Totals(counts, max(hot.users, analytics.get("uniqueActiveUsers", 0)))


def _applied(analytics: Mapping[str, Any]) -> list[str]:
    applied: list[str] = analytics.get("recentBatches", [])
    return applied


def _batches(hot: Hot) -> Iterator[tuple[str | None, Mapping[str, str | int]]]:
    for fields in hot.hashes:
        counters = dict(fields)
        yield counters.pop(BATCH, None), counters
    for batch, text in hot.quarantined.items():
        entry = json.loads(text)
        if entry["reason"] != RESURRECTED:
            yield batch, entry["counters"]
