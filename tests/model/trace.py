"""A fault as a story: one line a step, with what the step has changed."""

from collections.abc import Iterator, Sequence

from tests.model.rules import Rules
from tests.model.search import Result, beginning
from tests.model.state import Document, Move, Reader, Redis, State


def story(result: Result, rules: Rules) -> Iterator[str]:
    """The lines of a search that has found a fault."""
    before = beginning(rules.circumstance)
    for number, move in enumerate(result.trace, start=1):
        changes = "   ".join(_changes(before, move, rules.circumstance.window))
        yield f"  {number:2}  {move.actor:<9}  {move.action:<46}  {changes}".rstrip()
        before = move.after
    yield f"  →   {result.fault}"


def _changes(before: State, move: Move, window: int) -> Iterator[str]:
    after = move.after
    if after.redis != before.redis:
        yield f"Redis: {_redis(after.redis)}"
    if (after.mongo, after.majority) != (before.mongo, before.majority):
        yield f"MongoDB: {_mongo(after.mongo, after.majority, window)}"
    if move.action == "takes an epoch":
        yield f"epoch {_new_epoch(before, after)}"
    if after.reader and after.reader != before.reader:
        yield f"has {_answers(after.reader)}"


def _new_epoch(before: State, after: State) -> int:
    return next(new.epoch for old, new in zip(before.flushers, after.flushers, strict=True) if old != new)


def _redis(redis: Redis) -> str:
    parts = (
        redis.hot.id and f"hot b{redis.hot.id}={redis.hot.pings}",
        redis.flushing.id and f"flushing b{redis.flushing.id}={redis.flushing.pings}",
        redis.aside and "aside " + " ".join(f"b{batch.id}={batch.pings}" for batch in redis.aside),
        redis.dirty and "dirty",
        redis.locked and "locked",
    )
    return ", ".join(part for part in parts if part) or "nothing"


def _mongo(primary: Document, majority: Document, window: int) -> str:
    behind = "" if primary == majority else f" (a majority: {majority.total})"
    return f"{primary.total} {_batches(primary.applied[-window:])} epoch {primary.epoch}{behind}"


def _answers(reader: Reader) -> str:
    hot = ", ".join(f"b{batch.id}={batch.pings}" if batch.id else str(batch.pings) for batch in reader.batches)
    return f"Redis: {hot or 'nothing'}; MongoDB: {reader.total} {_batches(reader.recent)}"


def _batches(ids: Sequence[int]) -> str:
    return "[" + " ".join(f"b{number}" for number in ids) + "]"
