"""Take: the atomic get-and-zero. The hot hash of a tally is renamed away and read, in one transaction.

What the transaction reads is the batch, whether it was renamed just now or left by a flush that stopped halfway.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from redis.exceptions import ResponseError

from flusher.steps import scripts
from flusher.steps.lease import REDIS_SECONDS, Lease, LeaseLost
from flusher.steps.plan import Share
from flusher.steps.shape import MOST
from shared.data import keys
from shared.data.tallies import Kind, Tally, tally_of
from shared.stores.redis_connection import Command, RedisConnection, Reply, is_utf8, texts_of
from shared.stores.topology import is_elsewhere

ATTEMPTS = 3

ELSEWHERE = "its slot of the Redis cluster is on another node, or on the way to one"

# The length of a reason, which an operator reads.
MOST_REASON = 500

_DIGITS = re.compile(r"[0-9]{1,16}")


@dataclass(frozen=True, slots=True)
class Batch:
    """Counts on their way to MongoDB: hash fields to counts, with the id that a document accepts at most once."""

    partition: int
    tally: Tally
    id: str
    counts: dict[str, int]
    unique_users: int
    fresh: bool  # renamed just now, not left by an earlier flush
    more: bool = False  # there are newer counts, which must wait until this batch is cleared

    @property
    def name(self) -> str:
        """The tally's name."""
        return self.tally.name


@dataclass(frozen=True, slots=True)
class Malformed:
    """A hash that no version of ingest writes: `reason` says what is wrong with it. `id` may be empty.

    `name` may not be the name of a tally.
    """

    partition: int
    name: str
    id: str
    fields: dict[str, str]
    reason: str
    fresh: bool = False  # as in a batch


@dataclass(frozen=True, slots=True)
class Nothing:
    """A tally without counts; `name` may not be the name of a tally."""

    partition: int
    name: str


Taken = Batch | Malformed | Nothing


async def count_counters(connection: RedisConnection, shares: Sequence[Share]) -> list[dict[str, int]]:
    """About how many counters the tallies of each share have, hot or left by an earlier flush.

    Raises RedisUnreachable. Where Redis does not say, 0: then neither does it let them be taken.
    """
    replies = await connection.call_each(*map(_counting, shares), timeout=REDIS_SECONDS)
    sizes = [
        [0] * len(share.names) if isinstance(reply, ResponseError) else reply
        for share, reply in zip(shares, replies, strict=True)
    ]
    return [dict(zip(share.names, each, strict=True)) for share, each in zip(shares, sizes, strict=True)]


def _counting(share: Share) -> Command:
    of_each = (keys.course_counters, keys.flushing_counters)
    return scripts.call(scripts.SIZES, [key(share.partition, name) for name in share.names for key in of_each])


async def take(connection: RedisConnection, lease: Lease, partition: int, names: Sequence[str]) -> list[Taken]:
    """Takes the counts of the tallies, in their order.

    Only while the lock is ours. Extends the lock: a write by this connection, which the barrier then waits for.
    Raises LeaseLost, also when a cluster moves the partition to another node, and RedisUnreachable.
    """
    try:
        return await _take(connection, lease, partition, names)
    except ResponseError as error:
        if not is_elsewhere(error):
            raise
        raise LeaseLost(ELSEWHERE) from error


async def _take(connection: RedisConnection, lease: Lease, partition: int, names: Sequence[str]) -> list[Taken]:
    lock = keys.flush_lock(partition)
    for _ in range(ATTEMPTS):
        _, holder = await connection.call(("WATCH", lock), ("GET", lock), timeout=REDIS_SECONDS)
        if holder != lease.token.encode():
            break
        asked = lease.now()
        *_, replies = await connection.call(*_transaction(lease, partition, names), timeout=REDIS_SECONDS)
        if replies is not None:
            lease.renewed(partition, asked)
            each = zip(names, replies[1::3], replies[2::3], replies[3::3], strict=True)
            return [taken_of(partition, *of_tally) for of_tally in each]
        # Not executed, because the lock was touched: the next read of it tells whether it was lost.
    await connection.call(("UNWATCH",), timeout=REDIS_SECONDS)
    raise LeaseLost(f"another flusher has partition {partition}")


def _transaction(lease: Lease, partition: int, names: Sequence[str]) -> list[Command]:
    commands: list[Command] = [("MULTI",), ("PEXPIRE", keys.flush_lock(partition), lease.ttl_ms)]
    for name in names:
        hot, flushing = keys.course_counters(partition, name), keys.flushing_counters(partition, name)
        commands += (
            ("RENAMENX", hot, flushing),
            ("HGETALL", flushing),
            ("PFCOUNT", keys.course_users(partition, name)),
        )
    return [*commands, ("EXEC",)]


def taken_of(partition: int, name: str, renamed: Reply, flat: Reply, users: Reply) -> Taken:
    """What one tally's replies mean: those of RENAMENX (an error if nothing is hot), HGETALL and PFCOUNT.

    A hash that no version of ingest writes is malformed, and does not block other tallies. A HyperLogLog that Redis
    cannot read does not block the counts.
    """
    if isinstance(flat, ResponseError):
        return Malformed(partition, name, "", {}, str(flat))
    texts = iter(texts_of(flat))
    fields = dict(zip(texts, texts, strict=True))
    if not fields:
        return Nothing(partition, name)
    batch_id = fields.pop(keys.BATCH, "")
    tally = tally_of(name)
    if tally is None:
        return Malformed(partition, name, batch_id, fields, "no tally has this name", renamed == 1)
    counts, unreadable = readable(tally.kind, fields)
    if unreadable or not batch_id or not is_utf8(batch_id):
        return Malformed(partition, name, batch_id, fields, _complaint(batch_id, unreadable), renamed == 1)
    return Batch(
        partition,
        tally,
        batch_id,
        counts,
        unique_users=users if isinstance(users, int) else 0,
        fresh=renamed == 1,
        more=renamed == 0,
    )


def _complaint(batch_id: str, unreadable: Iterable[str]) -> str:
    if unreadable:
        return f"unreadable: {', '.join(sorted(unreadable))}"[:MOST_REASON]
    return "the batch's id is not UTF-8" if batch_id else "the hash names no batch"


@lru_cache(maxsize=10_000)  # most counts are small
def _count(text: str) -> int | None:
    return int(text) if _DIGITS.fullmatch(text) and int(text) <= MOST else None


def readable(kind: Kind | None, fields: Mapping[str, str]) -> tuple[dict[str, int], dict[str, str]]:
    """The fields that are counters of the kind, with valid counts; and the rest."""
    known = fields if kind and kind.has_all(fields) else [field for field in fields if kind and kind.has(field)]
    counts = {field: count for field in known if (count := _count(fields[field])) is not None}
    return counts, {field: text for field, text in fields.items() if field not in counts}
