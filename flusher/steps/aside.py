"""Quarantine: the format of its entries, and which of them are merged. Pure.

An entry is a field of `quarantined_counters`: the id of a batch, and JSON with its reason, its counters and its
malformed fields. Batches that can be sent again are merged into one entry, so that a document which refuses a batch at
every flush costs a reader only one entry. That is sound because their document was closed to every older update before
they were put aside: it has none of them, and only a replay can add them. Batches with malformed fields are merged too,
if they were never sent; only some of those fields are kept.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flusher.steps.shape import MOST
from flusher.steps.take import Batch, Malformed, readable
from shared.data import keys
from shared.data.tallies import tally_of
from shared.stores.redis_connection import is_utf8, text_of

# More than the largest course has, and at most what one update may add.
MERGED_COUNTERS = 25_000

# Malformed fields are kept for an operator to read: at most so many in an entry, and so much of each.
MOST_UNREADABLE = 100
MOST_LETTERS = 200

# The id of an entry that does not stand for one batch.
UNNAMED = "unnamed-"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A batch that MongoDB rejected. `text` is its entry in Redis; `unreadable` has its malformed fields.

    `name` is the name of its tally.
    """

    partition: int
    name: str
    id: str
    text: bytes
    reason: str
    counters: Mapping[str, int]
    unreadable: Mapping[str, str]

    @property
    def replayable(self) -> bool:
        """Whether it can be sent again: not if MongoDB has some of its counts, and nobody knows which."""
        return self.reason != keys.RESURRECTED and not self.unreadable


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry that replaces `replaced`; counters as in `Quarantined`."""

    id: str
    reason: str
    counters: Mapping[str, int]
    unreadable: Mapping[str, str]
    replaced: Sequence[Quarantined] = ()

    def text(self) -> str:
        """The entry's text in Redis."""
        return json.dumps({"reason": self.reason, "counters": self.counters, "unreadable": self.unreadable})


def read(partition: int, name: str, batch: str, text: bytes) -> Quarantined:
    """An entry, its fields sorted again into counters and the rest: an older version did not know all counters."""
    reason, fields = _kept(text)
    tally = tally_of(name)
    counters, unreadable = readable(tally.kind if tally else None, fields)
    return Quarantined(partition, name, batch, text, reason, counters, unreadable)


def _kept(text: bytes) -> tuple[str, dict[str, str]]:
    """The reason, and the fields with their counts; text that no flusher wrote is one unreadable field."""
    try:
        kept = json.loads(text)
        fields = kept["counters"] | kept.get("unreadable", {})
        return str(kept["reason"]), {field: str(count) for field, count in fields.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "not written by a flusher", {"": text_of(text)}


def entry_for(batch: Batch | Malformed, reason: str, kept: Sequence[Quarantined], *, spare_id: str) -> Entry:
    """The entry for a batch, beside the existing entries of its tally.

    Its id is `spare_id` if the batch's own is not text, or if it is merged with others that have malformed fields.
    """
    counters, unreadable = _contents(batch)
    own_id = batch.id if batch.id and is_utf8(batch.id) else spare_id
    if reason == keys.RESURRECTED or (unreadable and not batch.fresh):
        return Entry(own_id, reason, counters, _some(unreadable))
    if unreadable:
        own_id, others = spare_id, [one for one in kept if one.id.startswith(UNNAMED) and one.unreadable]
    else:
        others = [one for one in kept if one.replayable]
    sums: Counter[str] = Counter(counters)
    for one in others:
        sums.update(one.counters)
    if not others or len(sums) > MERGED_COUNTERS or max(sums.values(), default=0) > MOST:
        return Entry(own_id, reason, counters, _some(unreadable))
    together = {field: text for one in others for field, text in one.unreadable.items()} | dict(unreadable)
    return Entry(others[0].id, reason, sums, _some(together), others)


def _some(unreadable: Mapping[str, str]) -> Mapping[str, str]:
    some = sorted(unreadable.items())[:MOST_UNREADABLE]
    return {field[:MOST_LETTERS]: text[:MOST_LETTERS] for field, text in some}


def _contents(batch: Batch | Malformed) -> tuple[Mapping[str, int], Mapping[str, str]]:
    if isinstance(batch, Batch):
        return batch.counts, {}
    tally = tally_of(batch.name)
    return readable(tally.kind if tally else None, batch.fields)
