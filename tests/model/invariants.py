"""What must be true: at every moment, and whenever all is quiet."""

from tests.model.rules import Rules
from tests.model.state import IDLE, NO_BATCH, Document, Redis, State


def fault(state: State, rules: Rules) -> str:
    """What is wrong, "" when nothing is."""
    redis, applied = state.redis, state.mongo.applied
    if state.wrong:
        return state.wrong
    if len(set(applied)) < len(applied):
        return f"MongoDB has counted batch b{applied[-1]} twice"
    if not redis.dirty and (redis.hot != NO_BATCH or redis.flushing != NO_BATCH):
        return "counts wait in Redis, and their tally is not in the dirty set"
    if is_quiet(state):
        return _miscounted(state, rules)
    return ""


def is_quiet(state: State) -> bool:
    """Whether nothing waits to be flushed and nobody is at work."""
    return not state.redis.dirty and all(flusher == IDLE for flusher in state.flushers)


def _miscounted(state: State, rules: Rules) -> str:
    acknowledged, attempted = state.ingest.acknowledged, state.ingest.attempted
    # What was cleared is majority, and everything is cleared: even a rollback must not take it back.
    safe, most = _counted(state.majority, state.redis, rules), _counted(state.mongo, state.redis, rules)
    if safe < acknowledged and not rules.circumstance.older_than_confirmed:
        return f"all is flushed: {safe} counted by a majority, and {acknowledged} were acknowledged"
    if most > attempted:
        return f"all is flushed: {most} counted, and {attempted} were attempted"
    return ""


def _counted(document: Document, redis: Redis, rules: Rules) -> int:
    recent = document.applied[-rules.circumstance.window :]
    return document.total + sum(batch.pings for batch in redis.aside if batch.id not in recent)
