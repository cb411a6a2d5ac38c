"""A flusher: any number of waves, each of them lock, fence, take, barrier, apply, verify, clear, release.

A batch that MongoDB refuses is put aside, once no older update of it can land any more. Between any two steps there may
be any pause. What ends a wave early ends it in RELEASE.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.model.rules import Rules
from tests.model.state import IDLE, NO_BATCH, Batch, Document, Flusher, Move, Redis, State, Step, Update, mongo_with

# What a step makes possible: what happens, what the flusher is then, and what else has changed.
Outcome = tuple[str, Flusher, Mapping[str, Any]]
Outcomes = Iterator[Outcome]

NAMES = ("flusher 1", "flusher 2", "flusher 3")
NOTHING_ELSE: Mapping[str, Any] = {}


def moves(state: State, rules: Rules) -> Iterator[Move]:
    """What the flushers may do, crashing included."""
    for index, flusher in enumerate(state.flushers):
        name = NAMES[index]
        for action, after, changes in STEPS[flusher.step](state, flusher, rules):
            yield Move(name, action, with_flusher(state, index, after, **changes))
        if flusher.step != Step.LOCK:
            # Its lock stays. An update on its way is covered by crashing after its reply is lost.
            yield Move(name, "crashes and is started again", with_flusher(state, index, IDLE))


def with_flusher(state: State, index: int, flusher: Flusher, **changes: Any) -> State:
    """The state with one flusher replaced, and what else has changed."""
    flushers = (*state.flushers[:index], flusher, *state.flushers[index + 1 :])
    return state._replace(flushers=flushers, **changes)


def _over(why: str, flusher: Flusher) -> Outcome:
    return f"ends the wave: {why}", _releasing(flusher), NOTHING_ELSE


def _releasing(flusher: Flusher) -> Flusher:
    return Flusher(step=Step.RELEASE, holds=True, holds_in_copy=flusher.holds_in_copy) if flusher.holds else IDLE


def _lock(state: State, _flusher: Flusher, rules: Rules) -> Outcomes:
    # The tally was dirty once; whether it still is does not matter, for the list of dirty tallies may be any time old.
    if state.redis.locked or not state.ingest.attempted:
        return
    redis = {"redis": state.redis._replace(locked=True)}
    mine = Flusher(step=Step.FENCE, holds=True, behind=state.copy is not None)
    yield "takes the lock", mine, redis
    if rules.circumstance.lock_confirmed_elsewhere:
        yield "takes the lock, confirms it on another connection", mine._replace(behind=False), redis


def _fence(state: State, flusher: Flusher, _rules: Rules) -> Outcomes:
    # An epoch of which nothing is left may be given out again: nobody can tell.
    used = (
        state.mongo.epoch,
        state.majority.epoch,
        *(other.epoch for other in state.flushers),
        *(update.epoch for update in state.late),
    )
    yield "takes an epoch", flusher._replace(step=Step.TAKE, epoch=max(used) + 1), NOTHING_ELSE


def _take(state: State, flusher: Flusher, rules: Rules) -> Outcomes:
    # WATCH, GET and EXEC as one step: the first two change nothing, and EXEC is carried out exactly if the lock has
    # this wave's token then, since no token comes back.
    if flusher.cut or not flusher.holds:
        yield _over("the lock is lost, or the connection", flusher)
        return
    redis = state.redis
    fresh = redis.flushing == NO_BATCH and redis.hot != NO_BATCH
    if fresh:
        redis = redis._replace(hot=NO_BATCH, flushing=redis.hot)
    wrote = fresh or rules.measures.write_in_take
    behind = flusher.behind or (wrote and state.copy is not None)
    taken = flusher._replace(step=Step.BARRIER, batch=redis.flushing, fresh=fresh, behind=behind)
    found = "takes the hot batch" if fresh else "takes what another left" if redis.flushing.id else "finds nothing"
    yield found, taken, {"redis": redis}


def _barrier(_state: State, flusher: Flusher, rules: Rules) -> Outcomes:
    if flusher.cut:
        yield _over("the connection is lost", flusher)
    elif flusher.behind and rules.measures.barrier and not rules.circumstance.older_than_confirmed:
        yield _over("the barrier falls short", flusher)
    else:
        step = Step.APPLY if flusher.batch.id else Step.CLEAR
        yield "passes the barrier", flusher._replace(step=step, behind=False), NOTHING_ELSE


def _apply(state: State, flusher: Flusher, rules: Rules) -> Outcomes:
    update = Update(flusher.batch, flusher.epoch)
    mongo = mongo_with(state.mongo, update, rules.circumstance.window, fence=rules.measures.fence)
    unsure = flusher._replace(step=Step.VERIFY)
    duplicate = unsure._replace(duplicate=True) if rules.measures.duplicate_verified else _clearing(flusher)
    if mongo is None:
        yield "sends its batch: duplicate key", duplicate, NOTHING_ELSE
    elif state.refuses:
        closing = Step.CLOSE if rules.measures.refusal_closes else Step.VERIFY
        yield "sends its batch: refused for good", unsure._replace(step=closing, refused=True), NOTHING_ELSE
    else:
        yield "sends its batch: a majority has it", _clearing(flusher), {"mongo": mongo, "majority": mongo}
    if state.faults.lost_updates:
        yield from _apply_unanswered(state, unsure, update, None if state.refuses else mongo)
    if state.faults.foreign_documents and not state.mongo.applied:
        faults = state.faults._replace(foreign_documents=state.faults.foreign_documents - 1)
        yield "sends its batch: duplicate key, by another creator", duplicate, {"faults": faults}


def _apply_unanswered(state: State, unsure: Flusher, update: Update, mongo: Document | None) -> Outcomes:
    faults = state.faults._replace(lost_updates=state.faults.lost_updates - 1)
    if mongo is not None:
        yield "sends its batch: the reply is lost", unsure, {"mongo": mongo, "faults": faults}
    # Also stands for an update that never arrives: what is late need not come.
    late = tuple(sorted((*state.late, update)))
    yield "sends its batch: it is delayed, and given up", unsure, {"late": late, "faults": faults}


def _clearing(flusher: Flusher) -> Flusher:
    return flusher._replace(
        step=Step.CLEAR, batch=Batch(flusher.batch.id, 0), epoch=0, fresh=False, duplicate=False, refused=False
    )


def _close(state: State, flusher: Flusher, _rules: Rules) -> Outcomes:
    epoch = max(state.mongo.epoch, flusher.epoch)
    mongo = state.mongo._replace(epoch=epoch)
    yield (
        "closes the document to older updates",
        flusher._replace(step=Step.VERIFY),
        {"mongo": mongo, "majority": mongo},
    )


def _verify(state: State, flusher: Flusher, rules: Rules) -> Outcomes:
    document = state.majority if rules.measures.majority_read else state.mongo
    newer = rules.measures.fence and document.epoch > flusher.epoch
    if flusher.batch.id in document.applied[-rules.circumstance.window :]:
        if flusher.fresh and flusher.duplicate and not newer:
            yield "verifies: Redis came back older", flusher._replace(step=Step.PUT_ASIDE, epoch=0), NOTHING_ELSE
        else:
            yield "verifies: the document has it", _clearing(flusher), NOTHING_ELSE
    elif newer:
        yield _over("fenced by a newer epoch", flusher)
    elif flusher.refused:
        yield "verifies: refused", flusher._replace(step=Step.PUT_ASIDE, epoch=0), NOTHING_ELSE
    else:
        yield _over("the batch is not confirmed", flusher)


def _clear(state: State, flusher: Flusher, rules: Rules) -> Outcomes:
    if flusher.cut:
        yield _over("the connection is lost", flusher)
    elif state.redis.flushing.id == flusher.batch.id:
        flushed = flusher.batch.id or state.redis.flushed
        yield "clears", _releasing(flusher), {"redis": _without_flushing(state.redis)._replace(flushed=flushed)}
    elif not rules.measures.srem_inside_check and not state.redis.hot.id:
        redis = state.redis._replace(dirty=False)
        yield "finds another batch, unmarks the tally as dirty", _releasing(flusher), {"redis": redis}
    else:
        yield _over("another batch is being flushed", flusher)


def _put_aside(state: State, flusher: Flusher, rules: Rules) -> Outcomes:
    if flusher.cut or state.redis.flushing.id != flusher.batch.id:
        yield _over("the connection is lost, or another batch is being flushed", flusher)
    elif rules.measures.quarantine_locked and not flusher.holds:
        yield _over("the lock is lost", flusher)
    else:
        redis = _without_flushing(state.redis)
        if flusher.refused:  # What came back with an older Redis is neither shown nor added again.
            redis = redis._replace(aside=tuple(sorted((*redis.aside, flusher.batch))))
        yield "puts its batch aside", _releasing(flusher), {"redis": redis}


def _without_flushing(redis: Redis) -> Redis:
    return redis._replace(flushing=NO_BATCH, dirty=redis.dirty and redis.hot != NO_BATCH)


def _release(state: State, _flusher: Flusher, _rules: Rules) -> Outcomes:
    yield "releases the lock", IDLE, {"redis": state.redis._replace(locked=False)}


STEPS: Mapping[int, Callable[[State, Flusher, Rules], Outcomes]] = {
    Step.LOCK: _lock,
    Step.FENCE: _fence,
    Step.TAKE: _take,
    Step.BARRIER: _barrier,
    Step.APPLY: _apply,
    Step.CLOSE: _close,
    Step.VERIFY: _verify,
    Step.CLEAR: _clear,
    Step.PUT_ASIDE: _put_aside,
    Step.RELEASE: _release,
}
