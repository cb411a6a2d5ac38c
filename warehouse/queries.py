"""The questions across courses, as SQL. The table's sorting key lets each read only the counters that it names."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from warehouse.store import Store

# The rows of days that count: the newest of each key, unless it was cleared later.
_DAYS = """
    SELECT counter, course, day, total
    FROM (
        SELECT counter, course, day, at, total FROM tallies FINAL
        WHERE kind = 'day' AND counter IN {counters:Array(String)} AND day BETWEEN {first:Date} AND {last:Date} %s
    ) AS rows
    LEFT JOIN (
        SELECT course, day, max(at) AS cleared FROM tallies
        WHERE kind = 'day' AND counter = 'cleared' AND day BETWEEN {first:Date} AND {last:Date} %s
        GROUP BY course, day
    ) AS gone USING (course, day)
    WHERE at >= cleared
"""
_OF_COURSES = "AND course IN {courses:Array(String)}"
DAYS, DAYS_OF_COURSES = _DAYS % ("", ""), _DAYS % (_OF_COURSES, _OF_COURSES)

COUNTERS = ("course_views", "lecture_views", "lecture_watchtime", "unique_users")

SUMS = ", ".join(f"sumIf(total, counter = '{counter}') AS {counter}" for counter in COUNTERS)

TOP = f"SELECT course, {SUMS} FROM ({DAYS_OF_COURSES}) GROUP BY course"  # noqa: S608 - no text of a caller's
TOP_IDS = f"""
    SELECT course FROM ({DAYS}) GROUP BY course HAVING sum(total) > 0
    ORDER BY sum(total) DESC, course LIMIT {{most:UInt32}}
"""  # noqa: S608 - no text of a caller's

# Joining the rows with what was cleared takes longer than all else, and rarely is there a row left that was cleared.
# So all rows are added up first. The sums are then right or too high: the courses with the highest are those with the
# most, unless `doubtful` says of one of them that something of its was cleared.
TOP_IDS_OF_ALL = """
    SELECT course FROM tallies FINAL
    WHERE kind = 'day' AND counter IN {counters:Array(String)} AND day BETWEEN {first:Date} AND {last:Date}
    GROUP BY course HAVING sum(total) > 0 ORDER BY sum(total) DESC, course LIMIT {most:UInt32}
"""
TOP_OF_ALL = f"""
    SELECT course, {", ".join(f"sum({counter})" for counter in COUNTERS)}, max(doubtful)
    FROM (
        SELECT
            course, {SUMS},
            min(if(total = 0, 18446744073709551615, at)) < maxIf(at, counter = 'cleared') AS doubtful
        FROM tallies FINAL
        WHERE kind = 'day' AND counter IN arrayPushBack({{counters:Array(String)}}, 'cleared')
            AND day BETWEEN {{first:Date}} AND {{last:Date}} {_OF_COURSES}
        GROUP BY course, day
    )
    GROUP BY course
"""  # noqa: S608 - no text of a caller's

BY_DAY = f"""
    SELECT day, uniqExact(course), {SUMS} FROM ({DAYS}) WHERE total > 0 GROUP BY day ORDER BY day
"""  # noqa: S608 - no text of a caller's
OVERALL = f"SELECT uniqExact(course), {SUMS} FROM ({DAYS}) WHERE total > 0"  # noqa: S608 - no text of a caller's


class Numbers(NamedTuple):
    """Sums over some days, with the number of courses that had an event; watch time in seconds."""

    courses: int
    course_views: int
    lecture_views: int
    watch_seconds: int
    user_days: int


async def top_courses(store: Store, first: str, last: str, order: str, most: int) -> list[tuple[str, Numbers]]:
    """The courses with the highest sum of the counter `order`, the highest first. Raises Unavailable."""
    days = {"first": first, "last": last}
    ids = await _ids(store, TOP_IDS_OF_ALL, order, most, days)
    rows = await _sums(store, TOP_OF_ALL, ids, days)
    if any(doubtful for *_, doubtful in rows):
        ids = await _ids(store, TOP_IDS, order, most, days)
        rows = await _sums(store, TOP, ids, days)
    numbers = {_text(course): Numbers(1, *sums[: len(COUNTERS)]) for course, *sums in rows}
    return [(course_id, numbers[course_id]) for course_id in ids if course_id in numbers]


async def _ids(store: Store, sql: str, order: str, most: int, days: Mapping[str, str]) -> list[str]:
    return [_text(course) for (course,) in await store.query(sql, counters=[order], most=most, **days)]


async def _sums(store: Store, sql: str, ids: Sequence[str], days: Mapping[str, str]) -> Sequence[Sequence[Any]]:
    return await store.query(sql, counters=list(COUNTERS), courses=ids, **days) if ids else []


async def by_day(store: Store, first: str, last: str) -> dict[str, Numbers]:
    """The numbers of each day that has any, by YYYY-MM-DD. Raises Unavailable."""
    rows = await store.query(BY_DAY, counters=list(COUNTERS), first=first, last=last)
    return {day.isoformat(): Numbers(*numbers) for day, *numbers in rows}


async def overall(store: Store, first: str, last: str) -> Numbers:
    """The numbers of all days together. Raises Unavailable."""
    rows: Sequence[Sequence[int]] = await store.query(OVERALL, counters=list(COUNTERS), first=first, last=last)
    return Numbers(*rows[0])


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
