"""The last step in Redis: what MongoDB has is cleared, what it will never take goes aside."""

import json
from collections.abc import Mapping, Sequence

from flusher.steps import scripts
from flusher.steps.lease import REDIS_SECONDS
from flusher.steps.take import Batch, Malformed, Nothing, readable
from shared.data import keys
from shared.data.tallies import tally_of
from shared.stores.redis_connection import Command, RedisConnection, Reply

FLUSHED_BATCH_SECONDS = 120
PIPELINE = 200


def clearing(done: Batch | Nothing) -> Command:
    """The command that ends a tally's flush: its batch is in MongoDB, or there was none."""
    partition, name = done.partition, done.name
    return scripts.call(
        scripts.CLEAR,
        [
            keys.flushing_counters(partition, name),
            keys.course_counters(partition, name),
            keys.flushed_batch(partition, name),
            keys.dirty_courses(partition),
        ],
        done.id if isinstance(done, Batch) else "",
        name,
        FLUSHED_BATCH_SECONDS,
    )


def quarantining(batch: Batch | Malformed, reason: str, *, token: str, spare_id: str) -> Command:
    """The command by which the lock's holder puts a batch aside; under `spare_id` when it has no id of its own."""
    partition, name = batch.partition, batch.name
    counts, unreadable = contents(batch)
    return scripts.call(
        scripts.QUARANTINE,
        [
            keys.flushing_counters(partition, name),
            keys.course_counters(partition, name),
            keys.quarantined_counters(partition, name),
            keys.dirty_courses(partition),
            keys.flush_lock(partition),
        ],
        batch.id,
        name,
        batch.id or spare_id,
        json.dumps({"reason": reason, "counters": counts, "unreadable": unreadable}),
        token,
    )


def contents(batch: Batch | Malformed) -> tuple[Mapping[str, int], Mapping[str, str]]:
    """What a hash holds: its counts, and what is none."""
    if isinstance(batch, Batch):
        return batch.counts, {}
    tally = tally_of(batch.name)
    return readable(tally.kind if tally else None, batch.fields)


async def send(connection: RedisConnection, commands: Sequence[Command]) -> list[Reply]:
    """Runs the commands on the wave's own connection; an error reply is its own tally's only.

    Raises RedisUnreachable; what is not done then waits.
    """
    replies: list[Reply] = []
    for start in range(0, len(commands), PIPELINE):
        replies += await connection.call_each(*commands[start : start + PIPELINE], timeout=REDIS_SECONDS)
    return replies
