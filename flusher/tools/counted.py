"""The counts of tallies in Redis: hot, flushing and quarantined."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence

from redis.exceptions import ResponseError

from flusher.steps import aside
from flusher.steps.lease import REDIS_SECONDS
from flusher.steps.take import readable
from flusher.tools.strays import CountersKey, counters_keys
from shared.data import keys
from shared.data.tallies import Kind, tally_of
from shared.stores.redis_connection import RedisConnection, pairs, text_of

READ_KEYS = 100


async def hashes(
    nodes: Sequence[RedisConnection], kind: Kind | None = None
) -> AsyncIterator[tuple[CountersKey, dict[str, bytes]]]:
    """Every hash of the tallies of a kind, or of all kinds, with its fields. Raises RedisUnreachable."""
    for node in nodes:
        async for found in counters_keys(node):
            wanted = [key for key in found if kind is None or kind_of(key.tally) is kind]
            for start in range(0, len(wanted), READ_KEYS):
                some = wanted[start : start + READ_KEYS]
                replies = await node.call_each(*(("HGETALL", key.name) for key in some), timeout=REDIS_SECONDS)
                for key, flat in zip(some, replies, strict=True):
                    if not isinstance(flat, ResponseError):  # it has moved to another node meanwhile
                        yield key, pairs(flat)


async def hot_counts(nodes: Sequence[RedisConnection], kind: Kind) -> dict[str, Counter[str]]:
    """The counts in Redis of each tally of a kind, by field. Raises RedisUnreachable."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    async for key, fields in hashes(nodes, kind):
        counts[key.tally].update(counted(key, fields))
    return counts


def counted(key: CountersKey, fields: dict[str, bytes]) -> Counter[str]:
    """The counts of a hash."""
    if key.state != "quarantined":
        texts = {name: text_of(value) for name, value in fields.items() if name != keys.BATCH}
        return Counter(readable(kind_of(key.tally), texts)[0])
    counts: Counter[str] = Counter()
    for batch, text in fields.items():
        entry = aside.read(key.partition, key.tally, batch, text)
        if entry.reason != keys.RESURRECTED:
            counts.update(entry.counters)
    return counts


def kind_of(name: str) -> Kind | None:
    """The kind of the tally of that name; None if there is no such tally."""
    tally = tally_of(name)
    return tally.kind if tally else None
