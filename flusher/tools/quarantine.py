"""Batches that were put aside: read, put back among those being flushed, and sent again."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from flusher.cycle import Flusher
from flusher.steps import scripts
from flusher.steps.lease import REDIS_SECONDS
from flusher.steps.report import Report
from flusher.steps.take import readable
from flusher.tools.strays import counters_keys
from shared.data import keys
from shared.data.tallies import tally_of
from shared.stores.redis_connection import RedisConnection, pairs, text_of


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A batch that MongoDB would not take. `text` is what Redis keeps of it; `unreadable` fields are no counts.

    `name` is that of its tally.
    """

    partition: int
    name: str
    id: str
    text: bytes
    reason: str
    counters: dict[str, int]
    unreadable: dict[str, str]

    @property
    def replayable(self) -> bool:
        """Whether sending it again can be right: not when some of its counts, nobody knows which, are in MongoDB."""
        return self.reason != keys.RESURRECTED and not self.unreadable


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
                    yield _parsed(key.partition, key.tally, batch, text)


def _parsed(partition: int, name: str, batch: str, text: bytes) -> Quarantined:
    """Its counters are told from the rest anew: an older version did not know all of them, nor all tallies."""
    reason, fields = _kept(text)
    tally = tally_of(name)
    counters, unreadable = readable(tally.kind if tally else None, fields)
    return Quarantined(
        partition=partition,
        name=name,
        id=batch,
        text=text,
        reason=reason,
        counters=counters,
        unreadable=unreadable,
    )


def _kept(text: bytes) -> tuple[str, dict[str, str]]:
    """The reason, and the fields with their counts; what nobody here has written is one unreadable field."""
    try:
        kept = json.loads(text)
        fields = kept["counters"] | kept.get("unreadable", {})
        return str(kept["reason"]), {field: str(count) for field, count in fields.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return "not written by a flusher", {"": text_of(text)}


async def put_back(connection: RedisConnection, batch: Quarantined) -> bool:
    """Puts it back under its id, as if the flush that took it had stopped halfway: the next one sends it.

    False when the tally has another batch under way; then it stays in quarantine. Raises RedisUnreachable.
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


async def replay(nodes: Sequence[RedisConnection], flusher: Flusher, stop: asyncio.Event) -> Report:
    """Sends every batch that can be replayed once more. What MongoDB still refuses is quarantined again.

    Returns what was not flushed, over all cycles. Raises RedisUnreachable.
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
    return report
