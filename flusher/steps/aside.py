"""How many batches lie in quarantine: counted in each cycle, so that an alert lasts as long as they do."""

from collections.abc import Sequence

from flusher.steps.lease import REDIS_SECONDS
from shared.data import keys
from shared.stores.redis_connection import Command, RedisConnection, text_of


async def count_quarantined(connection: RedisConnection, partitions: Sequence[int]) -> int:
    """The quarantined batches of the partitions; what has been replayed leaves the list. Raises RedisUnreachable."""
    commands = [("SMEMBERS", keys.quarantined_tallies(partition)) for partition in partitions]
    replies = await connection.call_each(*commands, timeout=REDIS_SECONDS)
    listed = [
        (partition, text_of(name))
        for partition, names in zip(partitions, replies, strict=True)
        if isinstance(names, list)
        for name in names
    ]
    if not listed:
        return 0
    sizes = await connection.call_each(
        *(("HLEN", keys.quarantined_counters(*each)) for each in listed), timeout=REDIS_SECONDS
    )
    empty: list[Command] = [
        ("SREM", keys.quarantined_tallies(partition), name)
        for (partition, name), size in zip(listed, sizes, strict=True)
        if size == 0
    ]
    if empty:
        await connection.call_each(*empty, timeout=REDIS_SECONDS)
    return sum(size for size in sizes if isinstance(size, int))
