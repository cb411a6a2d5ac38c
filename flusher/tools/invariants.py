"""`python -m flusher verify`: whether what is stored can be true. Reads only; what it finds, it says in plain words."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from flusher.steps.lease import REDIS_SECONDS
from flusher.steps.take import readable
from flusher.tools.quarantine import quarantined
from flusher.tools.strays import CountersKey, counters_keys, strays
from shared.data import keys
from shared.data.tallies import COURSE, COURSE_VIEWS, LECTURE_VIEWS, Kind, fields_of, tally_of
from shared.stores.mongo import COURSE_ANALYTICS, Document
from shared.stores.redis_connection import RedisConnection, pairs

# An estimate may be above the truth: three standard errors of a HyperLogLog.
SKETCH_ERROR = 3 * 0.0081


async def findings(nodes: Sequence[RedisConnection], database: AsyncDatabase[Document]) -> AsyncIterator[str]:
    """One sentence for each thing that is wrong. Raises RedisUnreachable, PyMongoError."""
    hot_views: Counter[str] = Counter()
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
    async for document in database[COURSE_ANALYTICS].find({}, {"usersSketch": 0}):
        for complaint in about_document(document, hot_views[str(document.get("courseId"))]):
            yield f"courseanalytics of course {document.get('courseId')} {complaint}"


async def _hashes(nodes: Sequence[RedisConnection]) -> AsyncIterator[tuple[CountersKey, dict[str, str]]]:
    for node in nodes:
        async for found in counters_keys(node):
            for key in found:
                yield key, await _fields(node, key)


async def _fields(connection: RedisConnection, key: CountersKey) -> dict[str, str]:
    if key.state == "quarantined":
        return {}
    (flat,) = await connection.call(("HGETALL", key.name), timeout=REDIS_SECONDS)
    return {name: value.decode(errors="replace") for name, value in pairs(flat).items()}


def _kind(name: str) -> Kind | None:
    tally = tally_of(name)
    return tally.kind if tally else None


def about_hash(key: CountersKey, fields: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with a hash of counters; without fields it has just been flushed."""
    if keys.partition_of(key.tally) != key.partition:
        yield "is in the wrong partition: nothing reads it"
    if fields and keys.BATCH not in fields:
        yield "names no batch: the next flush quarantines it"
    counts, unreadable = readable(_kind(key.tally), {name: text for name, text in fields.items() if name != keys.BATCH})
    for name, text in unreadable.items():
        yield f"has a field that is no counter: {name} = {text}"
    yield from _about_counts(counts)


def about_document(document: Mapping[str, Any], hot_views: int) -> Iterator[str]:
    """What is wrong with a document, whose course has so many views in Redis."""
    counts = fields_of(COURSE.counts_of(document))
    yield from _about_counts(counts)
    if not isinstance(document.get(LECTURE_VIEWS.parent, {}), dict):
        yield f"has {LECTURE_VIEWS.parent} that are no map: its counts of lectures go to quarantine"
    if len(document.get("recentBatches", ())) > COURSE.window:
        yield f"remembers more than {COURSE.window} batches"
    users, views = document.get("uniqueActiveUsers", 0), max(0, _views(counts)) + hot_views
    if users < 0:
        yield f"has a negative number of users: {users}"
    # Every user's first event counts a view. An estimate may be above the truth.
    if users > views * (1 + SKETCH_ERROR) + 1:
        yield f"has more users ({users}) than views ({views}): Redis has lost counts"


def _about_counts(counts: Mapping[str, int]) -> Iterator[str]:
    for name, count in counts.items():
        if count < 0:
            yield f"has a negative count: {name} = {count}"


def _views(counts: Mapping[str, int]) -> int:
    lecture_views = LECTURE_VIEWS.field("")
    return sum(
        count for name, count in counts.items() if name == COURSE_VIEWS.field() or name.startswith(lecture_views)
    )
