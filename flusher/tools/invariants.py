"""`python -m flusher verify`: checks the invariants of the stored data; names violations in words. Reads only."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from bson import ObjectId
from pymongo.asynchronous.database import AsyncDatabase

from flusher.steps.aside import read
from flusher.steps.shape import complaints, number_of
from flusher.steps.take import readable
from flusher.tools.counted import counted, hashes, kind_of
from flusher.tools.strays import CountersKey, of_another_type, strays
from flusher.tools.sums import differences
from shared.data import keys
from shared.data.tallies import (
    COURSE_VIEWS,
    KINDS,
    LECTURE,
    LECTURE_VIEWS,
    PLAYBACKS,
    SEGMENT_VIEWS,
    Kind,
    fields_of,
    tally_of,
)
from shared.stores.mongo import COURSES, Document
from shared.stores.redis_connection import RedisConnection, text_of

# An estimate may be above the truth: three standard errors of a HyperLogLog.
SKETCH_ERROR = 3 * 0.0081


async def advice(database: AsyncDatabase[Document]) -> AsyncIterator[str]:
    """One sentence for each problem that costs speed only. Raises PyMongoError."""
    indexes = await database[COURSES].index_information()  # a missing collection has none
    if indexes and not any([name for name, _ in each["key"][:2]] == ["creator", "_id"] for each in indexes.values()):
        yield f"{COURSES} has no index {{creator: 1, _id: -1}}: each page of the list of courses reads all of them"


async def findings(nodes: Sequence[RedisConnection], database: AsyncDatabase[Document]) -> AsyncIterator[str]:
    """One sentence for each violation. Raises RedisUnreachable, PyMongoError."""
    for node in nodes:
        async for complaint in of_another_type(node):
            yield complaint
        async for stray in strays(node):
            yield f"{stray.name} holds counts, but its tally is not in the dirty set: the next sweep puts it there"
    for difference in await differences(nodes, database):
        yield difference
    hot: defaultdict[str, Counter[str]] = defaultdict(Counter)
    async for key, fields in hashes(nodes):
        hot[key.tally].update(counted(key, fields))
        for complaint in _about(key, fields):
            yield complaint
    async for complaint in _about_documents(database, hot):
        yield complaint


def _about(key: CountersKey, fields: Mapping[str, bytes]) -> Iterator[str]:
    if key.state != "quarantined":
        for complaint in about_hash(key, {name: text_of(value) for name, value in fields.items()}):
            yield f"{key.name} {complaint}"
        return
    yield from (f"{key.name} {complaint}" for complaint in about_hash(key, {}))
    for batch, text in fields.items():
        yield f"batch {batch} of {key.tally} is quarantined: {read(key.partition, key.tally, batch, text).reason}"


async def _about_documents(
    database: AsyncDatabase[Document], hot: Mapping[str, Mapping[str, int]]
) -> AsyncIterator[str]:
    for kind in KINDS:
        async for document in database[kind.collection].find({}, {"usersSketch": 0}):
            name = str(document.get(kind.key))
            for complaint in (*about_key(kind, document), *about_document(kind, document, hot.get(name, {}))):
                yield f"{kind.collection} of {name} {complaint}"


def about_hash(key: CountersKey, fields: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with a hash of counters; without fields it has just been flushed."""
    if keys.partition_of(key.tally) != key.partition:
        yield "is in the wrong partition: nothing reads it"
    if fields and keys.BATCH not in fields:
        yield "names no batch: the next flush quarantines it"
    _, unreadable = readable(kind_of(key.tally), {name: text for name, text in fields.items() if name != keys.BATCH})
    for name, text in unreadable.items():
        yield f"has a field that is not a counter: {name} = {text}"


def about_key(kind: Kind, document: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the field that finds the document."""
    key = document.get(kind.key)
    if kind.key == "_id":
        tally = tally_of(key) if isinstance(key, str) else None
        if tally is None or tally.kind is not kind:
            yield "is not named like a tally of its kind: it is neither updated nor shown; rename or delete it"
    elif not isinstance(key, ObjectId):
        yield f"has a {kind.key} that is not an ObjectId: it is neither updated nor shown; run `migrate`"


def about_document(kind: Kind, document: Mapping[str, Any], hot: Mapping[str, int]) -> Iterator[str]:
    """What is wrong with a document whose tally has these counts in Redis."""
    for complaint in complaints(kind, document):
        yield f"goes to quarantine with its next counts: {complaint}"
    remembered = document.get("recentBatches")
    if isinstance(remembered, list) and len(remembered) > kind.window:
        yield f"remembers more than {kind.window} batches"
    counts = Counter({field: count for field, count in fields_of(kind.counts_of(document)).items() if count > 0})
    counts.update(hot)
    if kind.users:
        yield from _about_users(document.get("uniqueActiveUsers", 0), _views(counts))
    if kind is LECTURE:
        yield from _about_segments(counts)


def _about_segments(counts: Mapping[str, int]) -> Iterator[str]:
    playbacks, views = counts.get(PLAYBACKS.field(), 0), SEGMENT_VIEWS.field("")
    for field, count in counts.items():
        if field.startswith(views) and count > playbacks:
            yield f"has more views of a segment ({field} = {count}) than playbacks ({playbacks})"


def _about_users(stored: object, views: int) -> Iterator[str]:
    users = number_of(stored)
    if users is None or users < 0:
        yield f"has a uniqueActiveUsers that is not a count: {str(stored)[:60]}; unset it"
    # Every user's first event counts a view. An estimate may be above the truth.
    elif users > views * (1 + SKETCH_ERROR) + 1:
        yield f"has more users ({users}) than views ({views}): Redis has lost counts"


def _views(counts: Mapping[str, int]) -> int:
    lecture_views = LECTURE_VIEWS.field("")
    return sum(
        count for name, count in counts.items() if name == COURSE_VIEWS.field() or name.startswith(lecture_views)
    )
