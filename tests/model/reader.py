"""A dashboard request: both stores in either order, and MongoDB again where the answers do not fit together.

It changes nothing, and there is only one, once. So a reader that saw nothing wrong, or gave up, ends the branch: the
rest of it is searched from the same state without this reader.
"""

from collections.abc import Iterator

from tests.model.rules import Rules
from tests.model.state import Batch, Document, Move, Phase, Reader, Redis, State

ACTOR = "reader"


def moves(state: State, rules: Rules) -> Iterator[Move]:
    """What the reader may do. It begins with its first question: had it begun earlier, it would be owed less."""
    reader = state.reader
    if reader is None:
        return
    if reader.phase in (Phase.WAITING, Phase.HAS_MONGO):
        yield from _asks_redis(state, reader, rules)
    if reader.phase != Phase.HAS_MONGO:
        yield from _asks_mongo(state, reader, rules)


def _asks_redis(state: State, reader: Reader, rules: Rules) -> Iterator[Move]:
    answered = reader._replace(
        batches=_visible(state.redis, rules),
        flushed=state.redis.flushed,
        applied_before=len(state.mongo.applied),
    )
    if reader.phase == Phase.WAITING:
        begun = answered._replace(phase=Phase.HAS_REDIS, floor=state.ingest.acknowledged)
        yield Move(ACTOR, "reads Redis", state._replace(reader=begun))
    elif _consistent(answered, rules):
        yield from _ends(state, answered, "reads Redis")
    else:
        yield Move(ACTOR, "reads Redis: a batch is missing", state._replace(reader=_reading_again(answered)))


def _asks_mongo(state: State, reader: Reader, rules: Rules) -> Iterator[Move]:
    answered = reader._replace(total=state.mongo.total, recent=_recent(state.mongo, rules))
    if reader.phase == Phase.WAITING:
        begun = answered._replace(phase=Phase.HAS_MONGO, floor=state.ingest.acknowledged)
        yield Move(ACTOR, "reads MongoDB", state._replace(reader=begun))
    elif len(state.mongo.applied) - reader.applied_before >= rules.circumstance.window:
        return  # The deadline: in truth it is far shorter than the 32 flushes of one tally that this would take.
    elif reader.phase == Phase.READS_AGAIN or _consistent(answered, rules):
        yield from _ends(state, answered, "reads MongoDB")
    else:
        yield Move(ACTOR, "reads MongoDB: a batch is missing", state._replace(reader=_reading_again(answered)))


def _visible(redis: Redis, rules: Rules) -> tuple[Batch, ...]:
    hot = redis.hot if rules.measures.batch_id_from_birth else Batch(0, redis.hot.pings)
    return tuple(batch for batch in (hot, redis.flushing, *redis.aside) if batch.pings)


def _recent(document: Document, rules: Rules) -> tuple[int, ...]:
    return document.applied[-rules.circumstance.window :]


def _consistent(reader: Reader, rules: Rules) -> bool:
    return not rules.measures.flushed_batch_reread or not reader.flushed or reader.flushed in reader.recent


def _reading_again(reader: Reader) -> Reader:
    return reader._replace(phase=Phase.READS_AGAIN, flushed=0, total=0, recent=())


def _ends(state: State, reader: Reader, action: str) -> Iterator[Move]:
    shown = reader.total + sum(batch.pings for batch in reader.batches if batch.id not in reader.recent)
    if shown < reader.floor:
        wrong = f"a reader is shown {shown}, and {reader.floor} were acknowledged before it began"
    elif shown > state.ingest.attempted:
        wrong = f"a reader is shown {shown}, and {state.ingest.attempted} were attempted"
    else:
        return
    yield Move(ACTOR, action, state._replace(wrong=wrong))
