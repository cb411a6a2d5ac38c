"""The last step in Redis: what MongoDB has is cleared, what it will never take goes aside."""

import json
from collections.abc import Sequence

from flusher.steps import scripts
from flusher.steps.lease import REDIS_SECONDS
from flusher.steps.take import Batch, Malformed, Nothing, readable
from shared.data import keys
from shared.stores.redis_connection import Command, RedisConnection, Reply

FLUSHED_BATCH_SECONDS = 3600
PIPELINE = 200


def clearing(done: Batch | Nothing) -> Command:
    """The command that ends a course's flush: its batch is in MongoDB, or there was none."""
    partition, course_id = done.partition, done.course_id
    return scripts.call(
        scripts.CLEAR,
        [
            keys.flushing_counters(partition, course_id),
            keys.course_counters(partition, course_id),
            keys.flushed_batch(partition, course_id),
            keys.dirty_courses(partition),
        ],
        done.id if isinstance(done, Batch) else "",
        course_id,
        FLUSHED_BATCH_SECONDS,
    )


def quarantining(batch: Batch | Malformed, reason: str, *, token: str, spare_id: str) -> Command:
    """The command by which the lock's holder puts a batch aside; under `spare_id` when it has no id of its own."""
    partition, course_id = batch.partition, batch.course_id
    counts, unreadable = (batch.counts, {}) if isinstance(batch, Batch) else readable(batch.fields)
    return scripts.call(
        scripts.QUARANTINE,
        [
            keys.flushing_counters(partition, course_id),
            keys.course_counters(partition, course_id),
            keys.quarantined_counters(partition, course_id),
            keys.dirty_courses(partition),
            keys.flush_lock(partition),
        ],
        batch.id,
        course_id,
        batch.id or spare_id,
        json.dumps({"reason": reason, "counters": counts, "unreadable": unreadable}),
        token,
    )


async def send(connection: RedisConnection, commands: Sequence[Command]) -> list[Reply]:
    """Runs the commands on the wave's own connection; an error reply is its own course's only.

    Raises RedisUnreachable; what is not done then waits.
    """
    replies: list[Reply] = []
    for start in range(0, len(commands), PIPELINE):
        replies += await connection.call_each(*commands[start : start + PIPELINE], timeout=REDIS_SECONDS)
    return replies
