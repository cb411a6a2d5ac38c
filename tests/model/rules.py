"""What a search is about: the circumstance, and the measures that are in force."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Measures:
    """The measures of the protocol, each with a switch: without any one of them there is a fault to be found."""

    batch_id_from_birth: bool = True
    """The hot hash carries its batch id; else the id comes with the take."""
    flushed_batch_reread: bool = True
    """A reader that misses the batch cleared last in MongoDB's answer asks MongoDB again."""
    barrier: bool = True
    """What was taken is safe in Redis before MongoDB hears of it; else the barrier is asked on another connection."""
    write_in_take: bool = True
    """Every take writes, so that the barrier has something of this connection to wait for."""
    fence: bool = True
    """A document that was written under a higher epoch refuses the update."""
    majority_read: bool = True
    """Verification reads what a majority has; else what the primary has."""
    duplicate_verified: bool = True
    """A duplicate key is verified; else it is taken for "applied before"."""
    srem_inside_check: bool = True
    """The tally leaves the dirty set only with its batch; else whenever it has no hot counters."""
    commit_number: bool = True
    """Redis refuses a commit that it has had."""
    refusal_closes: bool = True
    """A document that refuses a batch is closed to older updates of it, before the batch is put aside."""
    quarantine_locked: bool = True
    """A batch is put aside only by the holder of the lock."""


class Faults(NamedTuple):
    """How many of each fault may still happen. Crashes, pauses and lost locks are not counted: any number happens."""

    lost_commits: int = 0
    """Ingest gets no reply: its commit has arrived, or may arrive later, or never."""
    lost_updates: int = 0
    """A flusher gets no reply from MongoDB: likewise."""
    foreign_documents: int = 0
    """Somebody else creates the document at the moment of the flusher's upsert."""
    rollbacks: int = 0
    """MongoDB's primary changes: what no majority has is gone."""
    refusals: int = 0
    """MongoDB refuses the tally's updates for a reason that does not pass, until somebody mends it."""
    failovers: int = 0
    """Redis is replaced by a copy that stopped following at some moment."""


NO_FAULTS = Faults()


@dataclass(frozen=True, slots=True)
class Circumstance:
    """What happens in a search, and how much of it."""

    name: str
    pings: int
    flushers: int
    window: int
    """How many batch ids a document remembers: 32 in truth."""
    faults: Faults = NO_FAULTS
    reader: bool = False
    lock_confirmed_elsewhere: bool = False
    """A flusher may find its lock with GET on a second connection, after the reply to SET was lost with the first."""
    older_than_confirmed: bool = False
    """Redis comes back older than its barrier has confirmed. Then nothing is promised but that nothing doubles."""


class Rules(NamedTuple):
    """All that an action has to know besides the state."""

    circumstance: Circumstance
    measures: Measures
