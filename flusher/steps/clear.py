"""The last step in Redis: what MongoDB has is cleared, what it permanently rejects is quarantined."""

from collections.abc import Sequence

from flusher.steps import scripts
from flusher.steps.aside import Entry
from flusher.steps.lease import REDIS_SECONDS
from flusher.steps.take import Batch, Malformed, Nothing
from shared.data import keys
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


def quarantining(batch: Batch | Malformed, entry: Entry, *, token: str) -> Command:
    """The command by which the lock's holder puts a batch aside."""
    partition, name = batch.partition, batch.name
    replaced = [part for one in entry.replaced for part in (one.id, one.text)]
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
        entry.id,
        entry.text(),
        token,
        *replaced,
    )


async def send(connection: RedisConnection, commands: Sequence[Command]) -> list[Reply]:
    """Runs the commands on the wave's own connection; an error reply is its own tally's only.

    Raises RedisUnreachable; what is not done then waits.
    """
    replies: list[Reply] = []
    for start in range(0, len(commands), PIPELINE):
        replies += await connection.call_each(*commands[start : start + PIPELINE], timeout=REDIS_SECONDS)
    return replies
