"""What lies in quarantine: the format of its entries, and which of them become one. Pure.

An entry is a field of `quarantined_counters`: the id of a batch, and JSON with its reason, its counters, and what was
no count. Batches that can be sent again are kept as one, so that a document which refuses a batch at every flush costs
no reader more than one entry. That is sound because their document was closed to every older update before they were
put aside: none of them is in it, and none can get there but by a replay. So are those kept as one that hold what is no
count, if nobody has ever sent them, and of what is no count only some.
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

# More than the largest course has, and no more than one update may add.
MERGED_COUNTERS = 25_000

# What is no count is kept for somebody to look at: so many fields of an entry, and so much of each.
MOST_UNREADABLE = 100
MOST_LETTERS = 200

# The id of an entry that is no batch's.
UNNAMED = "unnamed-"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A batch that MongoDB would not take. `text` is what Redis keeps of it; `unreadable` fields are no counts.

    `name` is that of its tally.
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
        """Whether sending it again can be right: not when some of its counts, nobody knows which, are in MongoDB."""
        return self.reason != keys.RESURRECTED and not self.unreadable


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry to be written in the place of `replaced`; counters as in `Quarantined`."""

    id: str
    reason: str
    counters: Mapping[str, int]
    unreadable: Mapping[str, str]
    replaced: Sequence[Quarantined] = ()

    def text(self) -> str:
        """What Redis keeps of it."""
        return json.dumps({"reason": self.reason, "counters": self.counters, "unreadable": self.unreadable})


def read(partition: int, name: str, batch: str, text: bytes) -> Quarantined:
    """An entry, with its counters told from the rest anew: an older version did not know all of them, or its tally."""
    reason, fields = _kept(text)
    tally = tally_of(name)
    counters, unreadable = readable(tally.kind if tally else None, fields)
    return Quarantined(partition, name, batch, text, reason, counters, unreadable)


def _kept(text: bytes) -> tuple[str, dict[str, str]]:
    """The reason, and the fields with their counts; what nobody here has written is one unreadable field."""
    try:
        kept = json.loads(text)
        fields = kept["counters"] | kept.get("unreadable", {})
        return str(kept["reason"]), {field: str(count) for field, count in fields.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "not written by a flusher", {"": text_of(text)}


def entry_for(batch: Batch | Malformed, reason: str, kept: Sequence[Quarantined], *, spare_id: str) -> Entry:
    """The entry for a batch, beside what is kept of its tally already.

    Under `spare_id` when it has no id of text, or is kept with others that hold what is no count.
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
