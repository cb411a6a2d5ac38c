"""`python -m flusher verify`: whether what is stored can be true. Reads only; what it finds, it says in plain words."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from flusher.steps.lease import REDIS_SECONDS
from flusher.steps.shape import complaints, number_of
from flusher.steps.take import readable
from flusher.tools.quarantine import quarantined
from flusher.tools.strays import CountersKey, counters_keys, strays
from shared.data import keys
from shared.data.tallies import COURSE_VIEWS, KINDS, LECTURE_VIEWS, Kind, fields_of, tally_of
from shared.stores.mongo import Document
from shared.stores.redis_connection import RedisConnection, pairs, text_of

# An estimate may be above the truth: three standard errors of a HyperLogLog.
SKETCH_ERROR = 3 * 0.0081


async def findings(nodes: Sequence[RedisConnection], database: AsyncDatabase[Document]) -> AsyncIterator[str]:
    """One sentence for each thing that is wrong. Raises RedisUnreachable, PyMongoError."""
    hot_views: defaultdict[str, float] = defaultdict(float)
    for node in nodes:
        async for stray in strays(node):
            yield f"{stray.name} holds counts, but its tally is not in the dirty set: the next sweep puts it there"
    async for key, fields in _hashes(nodes):
        hot_views[key.tally] += _views(readable(_kind(key.tally), fields)[0])
        for complaint in about_hash(key, fields):
            yield f"{key.name} {complaint}"
    async for batch in quarantined(nodes):
        hot_views[batch.name] += _views(batch.counters)
        yield f"batch {batch.id} of {batch.name} is quarantined: {batch.reason}"
    async for complaint in _about_documents(database, hot_views):
        yield complaint


async def _about_documents(database: AsyncDatabase[Document], hot_views: Mapping[str, float]) -> AsyncIterator[str]:
    for kind in KINDS:
        async for document in database[kind.collection].find({}, {"usersSketch": 0}):
            name = str(document.get(kind.key))
            for complaint in about_document(kind, document, hot_views.get(name, 0)):
                yield f"{kind.collection} of {name} {complaint}"


async def _hashes(nodes: Sequence[RedisConnection]) -> AsyncIterator[tuple[CountersKey, dict[str, str]]]:
    for node in nodes:
        async for found in counters_keys(node):
            for key in found:
                yield key, await _fields(node, key)


async def _fields(connection: RedisConnection, key: CountersKey) -> dict[str, str]:
    if key.state == "quarantined":
        return {}
    (flat,) = await connection.call(("HGETALL", key.name), timeout=REDIS_SECONDS)
    return {name: text_of(value) for name, value in pairs(flat).items()}


def _kind(name: str) -> Kind | None:
    tally = tally_of(name)
    return tally.kind if tally else None


def about_hash(key: CountersKey, fields: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with a hash of counters; without fields it has just been flushed."""
    if keys.partition_of(key.tally) != key.partition:
        yield "is in the wrong partition: nothing reads it"
    if fields and keys.BATCH not in fields:
        yield "names no batch: the next flush quarantines it"
    _, unreadable = readable(_kind(key.tally), {name: text for name, text in fields.items() if name != keys.BATCH})
    for name, text in unreadable.items():
        yield f"has a field that is no counter: {name} = {text}"


def about_document(kind: Kind, document: Mapping[str, Any], hot_views: float) -> Iterator[str]:
    """What is wrong with a document, whose tally has so many views in Redis."""
    for complaint in complaints(kind, document):
        yield f"goes to quarantine with its next counts: {complaint}"
    remembered = document.get("recentBatches")
    if isinstance(remembered, list) and len(remembered) > kind.window:
        yield f"remembers more than {kind.window} batches"
    if kind.users:
        yield from _about_users(document.get("uniqueActiveUsers", 0), _document_views(kind, document) + hot_views)


def _about_users(stored: object, views: float) -> Iterator[str]:
    users = number_of(stored)
    if users is None or users < 0:
        yield f"has a number of users that is none: {str(stored)[:60]}"
    # Every user's first event counts a view. An estimate may be above the truth.
    elif users > views * (1 + SKETCH_ERROR) + 1:
        yield f"has more users ({users}) than views ({views}): Redis has lost counts"


def _document_views(kind: Kind, document: Mapping[str, Any]) -> float:
    counts = fields_of(kind.counts_of(document))
    return _views({field: count for field, count in counts.items() if count > 0})


def _views(counts: Mapping[str, float]) -> float:
    lecture_views = LECTURE_VIEWS.field("")
    return sum(
        count for name, count in counts.items() if name == COURSE_VIEWS.field() or name.startswith(lecture_views)
    )
