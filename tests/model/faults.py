"""What may happen to everybody: locks expire, MongoDB rolls back, Redis fails over, updates arrive late."""

from collections.abc import Iterator

from tests.model.rules import Rules
from tests.model.state import IDLE, Copy, Flusher, Move, Phase, Reader, State, Step, Update, mongo_with


def moves(state: State, rules: Rules) -> Iterator[Move]:
    """What the stores and the network may do."""
    if state.redis.locked:
        yield Move("Redis", "the lock expires", _lock_expired(state))
    yield from _redis(state)
    yield from _mongo(state)
    yield from _refusals(state)
    for update in state.late:
        yield Move("network", f"a late update with b{update.batch.id} arrives", _arrived(state, update, rules))


def _arrived(state: State, update: Update, rules: Rules) -> State:
    mongo = mongo_with(state.mongo, update, rules.circumstance.window, fence=rules.measures.fence)
    late = list(state.late)
    late.remove(update)
    return state._replace(late=tuple(late), mongo=state.mongo if state.refuses or mongo is None else mongo)


def _lock_expired(state: State) -> State:
    flushers = tuple(_with_lock(flusher, holds=False) for flusher in state.flushers)
    return state._replace(redis=state.redis._replace(locked=False), flushers=flushers)


def _with_lock(flusher: Flusher, *, holds: bool) -> Flusher:
    """The flusher now that the lock is its own, or is not: releasing a lock that is not does nothing."""
    return flusher._replace(holds=holds) if holds or flusher.step != Step.RELEASE else IDLE


def _refusals(state: State) -> Iterator[Move]:
    if state.faults.refusals:
        faults = state.faults._replace(refusals=state.faults.refusals - 1)
        yield Move("MongoDB", "begins to refuse updates", state._replace(refuses=True, faults=faults))
    if state.refuses:
        yield Move("operator", "mends what MongoDB refuses", state._replace(refuses=False))
    if not state.redis.flushing.id:
        for batch in state.redis.aside:
            rest = tuple(other for other in state.redis.aside if other != batch)
            redis = state.redis._replace(flushing=batch, aside=rest, dirty=True)
            yield Move("operator", f"replays b{batch.id}", state._replace(redis=redis))


def _mongo(state: State) -> Iterator[Move]:
    if state.mongo == state.majority:
        return
    yield Move("MongoDB", "replicates to a majority", state._replace(majority=state.mongo))
    if state.faults.rollbacks:
        faults = state.faults._replace(rollbacks=state.faults.rollbacks - 1)
        yield Move("MongoDB", "rolls back to what a majority has", state._replace(mongo=state.majority, faults=faults))


def _redis(state: State) -> Iterator[Move]:
    if state.copy is not None:
        if state.reader is None or state.reader.phase not in (Phase.HAS_REDIS, Phase.READS_AGAIN):
            # A reader whose answer is from the Redis that is lost may count pings that are then sent again.
            yield Move("Redis", "fails over to its copy", _failed_over(state, state.copy))
    elif state.faults.failovers:
        yield Move(
            "Redis",
            "its copy stops following",
            state._replace(
                copy=Copy(state.redis, state.ingest.acknowledged),
                flushers=tuple(flusher._replace(holds_in_copy=flusher.holds) for flusher in state.flushers),
                faults=state.faults._replace(failovers=state.faults.failovers - 1),
            ),
        )


def _failed_over(state: State, copy: Copy) -> State:
    return state._replace(
        redis=copy.redis,
        copy=None,
        flushers=tuple(_cut(flusher) for flusher in state.flushers),
        # The rest may be lost: what was acknowledged when the copy had stopped, and commits to the old Redis.
        ingest=state.ingest._replace(acknowledged=copy.acknowledged, late=()),
        reader=state.reader and _owed_less(state.reader, copy.acknowledged),
    )


def _cut(flusher: Flusher) -> Flusher:
    if flusher.step == Step.LOCK:
        return IDLE
    unconnected = flusher._replace(holds_in_copy=False, behind=False, cut=True)
    return _with_lock(unconnected, holds=flusher.holds_in_copy)


def _owed_less(reader: Reader, acknowledged: int) -> Reader:
    return reader._replace(floor=min(reader.floor, acknowledged))
