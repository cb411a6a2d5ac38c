"""The circumstances that are searched: small ones for the tests, which also show each measure at work; and large."""

from tests.model.rules import Circumstance, Faults

LOST_COMMITS = Circumstance("replies to ingest are lost", pings=2, flushers=1, window=2, faults=Faults(lost_commits=2))
SLEEPERS = Circumstance(
    "flushers sleep past their locks and past the window", pings=2, flushers=2, window=1, faults=Faults(lost_updates=1)
)
ROLLBACK = Circumstance(
    "MongoDB loses replies and rolls back", pings=1, flushers=2, window=2, faults=Faults(lost_updates=1, rollbacks=1)
)
OTHER_CREATOR = Circumstance(
    "somebody else creates the document", pings=2, flushers=1, window=2, faults=Faults(foreign_documents=1)
)
FAILOVER = Circumstance(
    "Redis fails over to a copy that lags", pings=2, flushers=1, window=2, faults=Faults(lost_commits=1, failovers=1)
)
LOCK_ELSEWHERE = Circumstance(
    "Redis fails over, a lock is confirmed on another connection",
    pings=2,
    flushers=1,
    window=2,
    faults=Faults(failovers=1),
    lock_confirmed_elsewhere=True,
)
REFUSALS = Circumstance(
    "MongoDB refuses updates until mended, and they are replayed",
    pings=2,
    flushers=1,
    window=1,
    faults=Faults(lost_updates=1, refusals=1),
)
REFUSALS_MET_BY_TWO = Circumstance(
    "MongoDB refuses the updates of several flushers", pings=2, flushers=2, window=1, faults=Faults(refusals=1)
)
READER = Circumstance("somebody reads", pings=2, flushers=1, window=2, reader=True)
OLDER = Circumstance(
    "Redis comes back older than it confirmed: nothing doubles",
    pings=3,
    flushers=1,
    window=3,
    faults=Faults(failovers=1),
    older_than_confirmed=True,
)

SMALL = (
    LOST_COMMITS,
    SLEEPERS,
    ROLLBACK,
    OTHER_CREATOR,
    FAILOVER,
    LOCK_ELSEWHERE,
    REFUSALS,
    REFUSALS_MET_BY_TWO,
    READER,
    OLDER,
)

# Each measure, and a circumstance in which there is a fault without it.
NEEDED = (
    ("batch_id_from_birth", READER),
    ("flushed_batch_reread", READER),
    ("barrier", FAILOVER),
    ("write_in_take", LOCK_ELSEWHERE),
    ("fence", SLEEPERS),
    ("majority_read", ROLLBACK),
    ("duplicate_verified", ROLLBACK),
    ("duplicate_verified", OTHER_CREATOR),
    ("srem_inside_check", SLEEPERS),
    ("commit_number", LOST_COMMITS),
    ("refusal_closes", REFUSALS),
    ("quarantine_locked", REFUSALS_MET_BY_TWO),
)

LARGE = (
    Circumstance("replies to ingest are lost", pings=3, flushers=2, window=2, faults=Faults(lost_commits=2)),
    Circumstance("flushers sleep", pings=3, flushers=2, window=1, faults=Faults(lost_updates=2)),
    Circumstance("flushers sleep, three of them", pings=2, flushers=3, window=1, faults=Faults(lost_updates=1)),
    Circumstance(
        "MongoDB loses replies and rolls back",
        pings=3,
        flushers=2,
        window=2,
        faults=Faults(lost_updates=2, foreign_documents=1, rollbacks=1),
    ),
    Circumstance(
        "Redis fails over to a copy that lags",
        pings=3,
        flushers=2,
        window=2,
        faults=Faults(lost_commits=1, failovers=1),
    ),
    Circumstance(
        "Redis fails over twice, and a lock is confirmed on another connection",
        pings=2,
        flushers=2,
        window=2,
        faults=Faults(failovers=2),
        lock_confirmed_elsewhere=True,
    ),
    Circumstance("somebody reads", pings=3, flushers=2, window=2, reader=True),
    Circumstance(
        "somebody reads while both stores fail",
        pings=2,
        flushers=1,
        window=2,
        faults=Faults(lost_commits=1, lost_updates=1, rollbacks=1, failovers=1),
        reader=True,
    ),
    Circumstance(
        "MongoDB refuses updates until mended, and they are replayed",
        pings=3,
        flushers=2,
        window=1,
        faults=Faults(lost_updates=1, refusals=1),
    ),
    Circumstance(
        "the same, and somebody reads",
        pings=3,
        flushers=1,
        window=2,
        faults=Faults(lost_updates=1, refusals=1),
        reader=True,
    ),
    Circumstance(
        "everything fails once",
        pings=2,
        flushers=2,
        window=1,
        faults=Faults(lost_commits=1, lost_updates=1, rollbacks=1, failovers=1),
    ),
    Circumstance(
        "Redis comes back older than it confirmed: nothing doubles",
        pings=3,
        flushers=2,
        window=3,
        faults=Faults(failovers=1),
        older_than_confirmed=True,
    ),
)
