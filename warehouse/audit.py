"""Compares every counter of every tally in the store with MongoDB's documents."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from bson import ObjectId
from bson.errors import InvalidBSON
from pymongo.asynchronous.database import AsyncDatabase

from shared.data.parts import parts
from shared.data.tallies import COURSE, KINDS, Kind, tally_of
from warehouse.changes import totals_of
from warehouse.record import UNIQUE_USERS, Malformed
from warehouse.rows import Key, key_of, live
from warehouse.snapshot import LEFT_OUT
from warehouse.store import Store

AGAIN_SECONDS = 10.0
COURSES, ROWS = 500, 100_000  # the most in one part, which then takes about 100 MB here
SHOWN = 20

EQUAL, DIFFERENT = "equal", "different"

A_COURSE = {"courseId": {"$type": ["objectId", "string"]}}  # anything else names none, and may not be decodable

Differences = dict[Key, tuple[int, int]]  # what MongoDB has, and what the store has


async def audit(
    database: AsyncDatabase[dict[str, Any]], store: Store, *, again_after: float = AGAIN_SECONDS
) -> tuple[bool, list[str]]:
    """Whether both are equal, and the findings in words. Checks differences again, because changes may be in flight.

    Raises PyMongoError, Unavailable.
    """
    counters, differences, odd = await _compare(database, store, None)
    if differences:
        await asyncio.sleep(again_after)
        _, later, _ = await _compare(database, store, sorted({key.course for key in differences}))
        differences = {
            key: now for key, now in later.items() if key in differences and not _moves(differences[key], now)
        }
    lines = [f"not comparable: {name}" for name in [*dict.fromkeys(odd)][:SHOWN]]
    if not differences:
        return True, [*lines, f"equal: {counters} counters"]
    shown = [
        f"{' '.join(str(part) for part in key if part != '')}: MongoDB {cold}, warehouse {stored}"
        for key, (cold, stored) in [*differences.items()][:SHOWN]
    ]
    return False, [*lines, *shown, f"{len(differences)} counters differ"]


def in_words(equal: bool, lines: Sequence[str]) -> str:  # noqa: FBT001 - what `audit` returns
    """The verdict on the first line, then what was found."""
    return "\n".join([EQUAL if equal else DIFFERENT, *lines])


def _moves(before: tuple[int, int], now: tuple[int, int]) -> bool:
    """Whether the store has caught up with MongoDB as of the first read: the counter just keeps changing."""
    cold_before, (cold, stored) = before[0], now
    return min(cold_before, cold) <= stored <= max(cold_before, cold)


async def _compare(
    database: AsyncDatabase[dict[str, Any]], store: Store, only: Sequence[str] | None
) -> tuple[int, Differences, list[str]]:
    differences: Differences = {}
    odd: list[str] = []
    counters = 0
    for course_ids in await _courses(database, store, only):
        stored = live(await store.totals(course_ids))
        cold = await _cold(database, course_ids, odd)
        for key in sorted(cold.keys() | stored.keys()):
            counters += 1
            mine, theirs = cold.get(key, 0), stored.get(key, 0)
            if mine != theirs and f"{key.course} {key.counter}" not in odd:
                differences[key] = (mine, theirs)
    return counters, differences, odd


async def _courses(
    database: AsyncDatabase[dict[str, Any]], store: Store, only: Sequence[str] | None
) -> Iterator[Sequence[str]]:
    """All courses that either side has, in `parts`."""
    rows = await store.courses()
    if only is None:
        known = set(rows)
        for kind in KINDS:
            known |= {str(course_id) for course_id in await database[kind.collection].distinct("courseId", A_COURSE)}
        only = sorted(name for name in known if tally_of(name))
    return parts({course_id: rows.get(course_id, 0) for course_id in only}, names=COURSES, total=ROWS)


async def _cold(
    database: AsyncDatabase[dict[str, Any]], course_ids: Sequence[str], odd: list[str]
) -> Mapping[Key, int]:
    """The totals in the documents of the courses, without zeros; `odd` collects malformed ones."""
    found: dict[Key, int] = {}
    for kind in KINDS:
        async for document in _readable(database, kind, course_ids, odd):
            tally = tally_of(str(document.get(kind.key)))
            if tally is None or tally.course_id not in course_ids:
                continue
            totals, strange = totals_of(kind, document)
            odd += [f"{tally.course_id} {field.partition(':')[0]}" for field in strange]
            try:
                found |= {key_of(tally.name, field): total for field, total in totals.items() if total}
            except Malformed as reason:
                odd.append(str(reason))
    return found


async def _readable(
    database: AsyncDatabase[dict[str, Any]], kind: Kind, course_ids: Sequence[str], odd: list[str]
) -> AsyncIterator[Mapping[str, Any]]:
    """The documents of the courses, some twice if one cannot be decoded: nothing of its course is then comparable."""
    collection, asked = database[kind.collection], _of_courses(kind, course_ids)
    try:
        async for document in collection.find(asked, LEFT_OUT):
            yield document
    except InvalidBSON:
        async for named in collection.find(asked, {kind.key: 1}):
            try:
                found = await collection.find_one({"_id": named["_id"]}, LEFT_OUT)
            except InvalidBSON:
                course_id = str(named[kind.key]).partition("/")[0]
                odd += [f"{course_id} {counter}" for counter in (*kind.counters, UNIQUE_USERS)]
            else:
                yield found or {}


def _of_courses(kind: Kind, course_ids: Sequence[str]) -> Mapping[str, Any]:
    """The documents of the courses, possibly with others between them, read by the one index of each collection."""
    if kind is COURSE:
        return {"courseId": {"$in": [ObjectId(course_id) for course_id in course_ids] + list(course_ids)}}
    return {"_id": {"$gte": course_ids[0], "$lt": f"{course_ids[-1]}~"}}
