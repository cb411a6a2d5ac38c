"""The whole world at one moment, as plain tuples. Every ping counts one, and all belong to one tally."""

import enum
from typing import NamedTuple

from tests.model.rules import Faults


class Batch(NamedTuple):
    """A counters hash. Its id is the number of the commit that began it; 0 when there is no hash."""

    id: int
    pings: int


NO_BATCH = Batch(0, 0)


class Redis(NamedTuple):
    """What Redis holds."""

    hot: Batch = NO_BATCH
    flushing: Batch = NO_BATCH
    aside: tuple[Batch, ...] = ()
    flushed: int = 0
    dirty: bool = False
    locked: bool = False  # who holds the lock, if anybody still does, is written at the flusher
    commit: int = 0


class Document(NamedTuple):
    """The tally's document. Of `applied` it remembers only the end, the window; the rest is for the invariants."""

    total: int = 0
    applied: tuple[int, ...] = ()
    epoch: int = 0


class Update(NamedTuple):
    """An update that adds a batch, under an epoch."""

    batch: Batch
    epoch: int


class Step(enum.IntEnum):
    """What a flusher does next."""

    LOCK = 0
    FENCE = 1
    TAKE = 2
    BARRIER = 3
    APPLY = 4
    CLOSE = 5
    VERIFY = 6
    CLEAR = 7
    PUT_ASIDE = 8
    RELEASE = 9


class Flusher(NamedTuple):
    """A flusher in one of its waves. Whatever does not matter any more is put back to its default."""

    step: int = Step.LOCK
    holds: bool = False  # the lock in Redis has this wave's token
    holds_in_copy: bool = False
    behind: bool = False  # its connection has written what the copy does not have
    cut: bool = False  # its connection is gone
    batch: Batch = NO_BATCH
    epoch: int = 0
    fresh: bool = False  # the batch was hot until this take
    duplicate: bool = False  # MongoDB's reply came, and was E11000
    refused: bool = False  # MongoDB's reply came, and named a reason that does not pass


IDLE = Flusher()


class Ingest(NamedTuple):
    """One ingest process: its commits so far, the last of which may be without a reply yet."""

    attempted: int = 0
    acknowledged: int = 0
    retrying: bool = False
    late: tuple[int, ...] = ()  # commits that are still on their way


class Copy(NamedTuple):
    """Redis as it was when its copy stopped following, and what was acknowledged by then."""

    redis: Redis
    acknowledged: int


class Phase(enum.IntEnum):
    """How far a reader is."""

    WAITING = 0
    HAS_REDIS = 1
    HAS_MONGO = 2
    READS_AGAIN = 3


class Reader(NamedTuple):
    """A dashboard request, with the answers that it has so far."""

    phase: int = Phase.WAITING
    floor: int = 0  # acknowledged before it began
    batches: tuple[Batch, ...] = ()
    flushed: int = 0
    applied_before: int = 0  # how many batches MongoDB had when Redis answered
    total: int = 0
    recent: tuple[int, ...] = ()


class State(NamedTuple):
    """Everything."""

    redis: Redis
    copy: Copy | None
    mongo: Document  # at the primary
    majority: Document
    refuses: bool  # MongoDB refuses every update of the document
    flushers: tuple[Flusher, ...]
    late: tuple[Update, ...]  # updates on their way, whose senders have given up
    ingest: Ingest
    reader: Reader | None
    faults: Faults
    wrong: str = ""  # what a reader saw that it must not see


class Move(NamedTuple):
    """Something that may happen: who does what, and the world after it."""

    actor: str
    action: str
    after: State


def mongo_with(document: Document, update: Update, window: int, *, fence: bool) -> Document | None:
    """The document after the update, None when the guard keeps it out: then the upsert runs into the unique index."""
    if update.batch.id in document.applied[-window:] or (fence and document.epoch > update.epoch):
        return None
    return Document(
        document.total + update.batch.pings, (*document.applied, update.batch.id), max(document.epoch, update.epoch)
    )
