"""Whether the days of a course add up to no more than its totals, hot and quarantined counts included."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from pymongo.asynchronous.database import AsyncDatabase

from flusher.tools.counted import hot_counts
from shared.data.tallies import COURSE, DAY, Kind, tally_of
from shared.stores.mongo import Document
from shared.stores.redis_connection import RedisConnection

Sums = defaultdict[str, Counter[str]]  # by course, then by counter


async def excesses(nodes: Sequence[RedisConnection], database: AsyncDatabase[Document]) -> list[str]:
    """One sentence for each course and counter of which its days have more. Raises RedisUnreachable, PyMongoError.

    While a flush is under way, or a ping comes between two reads, a sum can be wrong: only what is found twice is said.
    """
    first = await _excesses(nodes, database)
    second = await _excesses(nodes, database) if first else {}
    return [second[name] for name in sorted(first.keys() & second.keys())]


async def _excesses(nodes: Sequence[RedisConnection], database: AsyncDatabase[Document]) -> dict[tuple[str, str], str]:
    """In this order: days before courses, and of a day first its document, of a course first its hashes.

    So a count that moves meanwhile is seen once or not at all among the days, and once or twice in the totals.
    """
    days, totals = Sums(Counter), Sums(Counter)
    await _add_documents(database, DAY, days)
    _add_hot(await hot_counts(nodes, DAY), days)
    _add_hot(await hot_counts(nodes, COURSE), totals)
    await _add_documents(database, COURSE, totals)
    return {
        (course_id, counter): f"the days of course {course_id} have {counter} {count}, and its totals {total}"
        for course_id, counts in days.items()
        for counter, count in counts.items()
        if count > (total := totals[course_id][counter])
    }


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
