"""Whether the days of a course add up to its totals, hot and quarantined counts included.

They never have more. They have as much if the course is younger than the installation's days.
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from bson import ObjectId
from pymongo.asynchronous.database import AsyncDatabase

from flusher.tools.counted import hot_counts
from shared.data.tallies import COURSE, DAY, Kind, tally_of
from shared.stores.day_zone import DAYS_ID, RECORDED_SINCE
from shared.stores.mongo import ANALYTICS_SETTINGS, Document
from shared.stores.redis_connection import RedisConnection

Sums = defaultdict[str, Counter[str]]  # by course, then by counter
Differences = dict[tuple[str, str], str]  # a sentence for a course and counter

# In the first days after an upgrade, counts of the previous version, which had no days, may still be flushed.
SETTLED = dt.timedelta(days=3)


async def differences(nodes: Sequence[RedisConnection], database: AsyncDatabase[Document]) -> list[str]:
    """One sentence for each course and counter whose days do not match. Raises RedisUnreachable, PyMongoError.

    A flush or a ping between two reads can make a sum wrong, so it reports only what it finds twice.
    """
    found = []
    for look in (_excesses, _shortfalls):
        first = await look(nodes, database)
        second = await look(nodes, database) if first else {}
        found += [second[name] for name in sorted(first.keys() & second.keys())]
    return found


async def _excesses(nodes: Sequence[RedisConnection], database: AsyncDatabase[Document]) -> Differences:
    days, totals = await _sums(nodes, database, DAY, COURSE)
    return {
        (course_id, counter): f"the days of course {course_id} have {counter} {count}, and its totals {total}"
        for course_id, counts in days.items()
        for counter, count in counts.items()
        if count > (total := totals[course_id][counter])
    }


async def _shortfalls(nodes: Sequence[RedisConnection], database: AsyncDatabase[Document]) -> Differences:
    young = await _born_with_days(database)
    totals, days = await _sums(nodes, database, COURSE, DAY)
    return {
        (course_id, counter): f"the days of course {course_id} have only {counter} {count}, and its totals {total}"
        for course_id in young
        for counter, total in totals[course_id].items()
        if total > (count := days[course_id][counter])
    }


async def _born_with_days(database: AsyncDatabase[Document]) -> list[str]:
    """The courses whose totals began after the installation had days."""
    settings = await database[ANALYTICS_SETTINGS].find_one({"_id": DAYS_ID}) or {}
    try:
        first_day = dt.datetime.fromisoformat(settings[RECORDED_SINCE]).replace(tzinfo=dt.UTC)
    except (KeyError, TypeError, ValueError):
        return []
    after = {"_id": {"$gt": ObjectId.from_datetime(first_day + SETTLED)}}
    return [
        str(document.get("courseId")) async for document in database[COURSE.collection].find(after, {"courseId": 1})
    ]


async def _sums(
    nodes: Sequence[RedisConnection], database: AsyncDatabase[Document], first: Kind, then: Kind
) -> tuple[Sums, Sums]:
    """The sums of tallies of two kinds, by course. A flush meanwhile can only lower the first and raise the second.

    It reads the documents of the first kind before their hashes, and the hashes of the second before their documents: a
    count that moves meanwhile appears at most once in the first, and once or twice in the second.
    """
    less, more = Sums(Counter), Sums(Counter)
    await _add_documents(database, first, less)
    _add_hot(await hot_counts(nodes, first), less)
    _add_hot(await hot_counts(nodes, then), more)
    await _add_documents(database, then, more)
    return less, more


def _add_hot(hot: Mapping[str, Mapping[str, int]], sums: Sums) -> None:
    for name, fields in hot.items():
        tally = tally_of(name)
        for field, count in fields.items():
            sums[tally.course_id if tally else name][field.partition(":")[0]] += count


async def _add_documents(database: AsyncDatabase[Document], kind: Kind, sums: Sums) -> None:
    fields = {counter.parent: 1 for counter in kind.counters.values()}
    async for document in database[kind.collection].find({}, {"courseId": 1, **fields}):
        for counter, items in kind.counts_of(document).items():
            sums[str(document.get("courseId"))][counter] += int(sum(items.values()))
