"""Quarantined batches: reads them, puts them back among the flushing ones, and sends them again."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from flusher.cycle import Flusher
from flusher.steps import aside, scripts
from flusher.steps.aside import Quarantined
from flusher.steps.lease import REDIS_SECONDS
from flusher.steps.report import Report
from flusher.tools.strays import counters_keys
from shared.data import keys
from shared.stores.redis_connection import RedisConnection, pairs


async def quarantined(nodes: Sequence[RedisConnection]) -> AsyncIterator[Quarantined]:
    """Every quarantined batch on any of the nodes. Raises RedisUnreachable."""
    for node in nodes:
        async for batch in _quarantined(node):
            yield batch


async def _quarantined(connection: RedisConnection) -> AsyncIterator[Quarantined]:
    async for found in counters_keys(connection):
        for key in found:
            if key.state == "quarantined":
                (flat,) = await connection.call(("HGETALL", key.name), timeout=REDIS_SECONDS)
                for batch, text in pairs(flat).items():
                    yield aside.read(key.partition, key.tally, batch, text)


async def put_back(connection: RedisConnection, batch: Quarantined) -> bool:
    """Puts a batch back under its id, as if the flush that took it had stopped halfway: the next flush sends it.

    False if the tally has another batch in flight; then it stays in quarantine. Raises RedisUnreachable.
    """
    names = [
        keys.quarantined_counters(batch.partition, batch.name),
        keys.flushing_counters(batch.partition, batch.name),
        keys.dirty_courses(batch.partition),
    ]
    fields = [part for item in batch.counters.items() for part in item]
    command = scripts.call(scripts.REPLAY, names, batch.id, batch.text, batch.name, *fields)
    (reply,) = await connection.call(command, timeout=REDIS_SECONDS)
    return bool(reply == 1)


async def replay(nodes: Sequence[RedisConnection], flusher: Flusher, stop: asyncio.Event) -> tuple[Report, int]:
    """Sends every batch that can be replayed. What MongoDB still refuses is quarantined again.

    Returns the report over all cycles, and the number of batches sent. Raises RedisUnreachable.
    """
    tried: set[tuple[str, str]] = set()
    report = Report()
    while not stop.is_set() and not report.store_away:
        before = len(tried)
        for node in nodes:
            async for batch in _quarantined(node):
                name = (batch.name, batch.id)
                if batch.replayable and name not in tried and await put_back(node, batch):
                    tried.add(name)
        if len(tried) == before:
            break
        report.add(await flusher.cycle(stop))
    return report, len(tried)
