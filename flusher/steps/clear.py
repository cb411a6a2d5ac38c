"""The last step in Redis: clears the batches that MongoDB has, quarantines those that it permanently rejects."""

from collections import defaultdict
from collections.abc import Sequence

from flusher.steps import scripts
from flusher.steps.aside import Entry
from flusher.steps.lease import REDIS_SECONDS
from flusher.steps.take import Batch, Malformed, Nothing
from shared.data import keys
from shared.stores.redis_connection import Command, RedisConnection, Reply

FLUSHED_BATCH_SECONDS = 120
PIPELINE = 200
# The most tallies that one script clears: Redis serves nobody else meanwhile.
CLEAR_TALLIES = 64


def together(done: Sequence[Batch | Nothing]) -> list[list[Batch | Nothing]]:
    """The tallies in lists, one for each script: of one partition, and not too many."""
    of_partition: defaultdict[int, list[Batch | Nothing]] = defaultdict(list)
    for one in done:
        of_partition[one.partition].append(one)
    return [
        those[start : start + CLEAR_TALLIES]
        for those in of_partition.values()
        for start in range(0, len(those), CLEAR_TALLIES)
    ]


def clearing(*done: Batch | Nothing) -> Command:
    """The command that ends the flush of tallies of one partition: their batches are in MongoDB, or there were none."""
    partition = done[0].partition
    names = [keys.dirty_courses(partition)]
    arguments: list[str | bytes | int] = [FLUSHED_BATCH_SECONDS]
    for one in done:
        name = one.name
        names += (
            keys.flushing_counters(partition, name),
            keys.course_counters(partition, name),
            keys.flushed_batch(partition, name),
        )
        arguments += (one.id if isinstance(one, Batch) else "", name)
    return scripts.call(scripts.CLEAR, names, *arguments)


def quarantining(batch: Batch | Malformed, entry: Entry, *, token: str) -> Command:
    """The command with which the holder of the lock puts a batch aside."""
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
    """Runs the commands on the wave's own connection; an error reply concerns only its command.

    Raises RedisUnreachable; what is not done then is left for the next flush.
    """
    replies: list[Reply] = []
    for start in range(0, len(commands), PIPELINE):
        replies += await connection.call_each(*commands[start : start + PIPELINE], timeout=REDIS_SECONDS)
    return replies
