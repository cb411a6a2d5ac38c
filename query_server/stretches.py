"""Adds up stretches of days in blocks, and caches the sums of each block.

A course's day has every lecture and a sketch of up to 12 KB: reading a year of them takes a second. Nearly all of these
days are over, so the sums of a block are kept as long as its documents stay the same. Blocks begin on the same days
whatever the range, so tomorrow's reports reuse them.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import TypeVar

from query_server.cold import ColdStore, Course
from query_server.merge import HotTallies, are_consistent
from query_server.reading import ask
from query_server.report import Day, HotDay, Overview, Sums, day_of, hot_days, overview_of, sums_of, together
from shared.data import days
from shared.expiring import ExpiringCache
from shared.stores.mongo import Document

BLOCK_DAYS = 32
KEPT_LECTURES = 500_000  # of all cached blocks together, ~200 bytes each
SKETCH_LECTURES = 64  # the weight of a block's users
KEPT_SECONDS = 3_600

Answer = TypeVar("Answer")
Block = tuple[Sequence[Day], Sums]
Days = tuple[str, ...]
Key = tuple[str, bytes]


class Stretches:
    """Adds up stretches of days. Long work runs in another thread, so that it delays no other call."""

    def __init__(self, cold_store: ColdStore, aside: Executor, now: Callable[[], float] = time.monotonic) -> None:
        self._cold_store = cold_store
        self._aside = aside
        self._now = now
        self._kept: ExpiringCache[Key, Sums] = ExpiringCache(KEPT_LECTURES, now)

    async def add_up(
        self, shown: Sequence[str], hot: HotTallies, course: Course, until: float
    ) -> tuple[Sequence[Day], Overview]:
        """The days and their overview. The course has these days without lectures. Raises Unavailable, StoreRefuses."""
        blocks = {block: self._key(block, course) for block in _blocks(shown)}
        kept = {block: sums for block, key in blocks.items() if (sums := self._kept.get(key)) is not None}
        found = await self._away(lambda: _unchanged(kept, hot, course))
        for block, key in blocks.items():
            if block not in found:
                found[block] = await self._add_up(block, key, hot, course, until)
        return await self._away(lambda: _joined([found[block] for block in blocks], course))

    async def day(self, day: str, hot: HotTallies, course: Course) -> Day:
        """One day by itself; the course has its sketch."""
        return await self._away(lambda: day_of(*in_both([day], hot, course.documents, course.course_id)))

    def _key(self, block: Days, course: Course) -> Key:
        return course.course_id, course.documents.fingerprint(f"{course.course_id}/{day}" for day in block)

    async def _add_up(self, shown: Days, key: Key, hot: HotTallies, course: Course, until: float) -> Block:
        whole = await self._whole(shown, hot, course.course_id, until)
        numbers, sums, is_kept = await self._away(lambda: _added_up(shown, hot, course, whole))
        if is_kept:
            self._kept.put(key, sums, until=self._now() + KEPT_SECONDS, weight=SKETCH_LECTURES + len(sums.views))
        return numbers, sums

    async def _whole(
        self, shown: Sequence[str], hot: HotTallies, course_id: str, until: float
    ) -> Mapping[str, Document]:
        """The days with all their fields, consistent with Redis."""
        first, last = shown[0], shown[-1]
        names = [f"{course_id}/{day}" for day in shown]
        found = await ask("MongoDB", self._cold_store.days(course_id, first, last), until)
        if not are_consistent({name: hot.tallies[name] for name in names if name in hot.tallies}, found):
            found = await ask("MongoDB", self._cold_store.days_of_primary(course_id, first, last), until)
        return found

    async def _away(self, work: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._aside, work)


def in_both(shown: Sequence[str], hot: HotTallies, found: Mapping[str, Document], course_id: str) -> list[HotDay]:
    """The days in both stores."""
    return hot_days(shown, lambda day: f"{course_id}/{day}", hot.tallies, hot.unsaved, found)


def _blocks(shown: Sequence[str]) -> Iterator[Days]:
    for _, block in itertools.groupby(shown, lambda day: days.days_between("1970-01-01", day) // BLOCK_DAYS):
        yield tuple(block)


def _unchanged(kept: Mapping[Days, Sums], hot: HotTallies, course: Course) -> dict[Days, Block]:
    """The blocks whose days are entirely in their documents."""
    found: dict[Days, Block] = {}
    for block, sums in kept.items():
        light = in_both(block, hot, course.documents, course.course_id)
        if not any(day.is_changing for day in light):
            found[block] = ([day_of(day) for day in light], sums)
    return found


def _added_up(
    shown: Sequence[str], hot: HotTallies, course: Course, whole: Mapping[str, Document]
) -> tuple[list[Day], Sums, bool]:
    """The days, their sums, and whether these sums come from the documents that were read first, and nothing else."""
    here = in_both(shown, hot, whole, course.course_id)
    light = in_both(shown, hot, course.documents, course.course_id)
    is_kept = not any(
        day.is_changing or day.document.get("recentBatches") != early.document.get("recentBatches")
        for day, early in zip(here, light, strict=True)
    )
    return [day_of(day) for day in here], sums_of(here), is_kept


def _joined(blocks: Sequence[Block], course: Course) -> tuple[list[Day], Overview]:
    numbers = [day for block, _ in blocks for day in block]
    return numbers, overview_of(numbers, together([sums for _, sums in blocks]), course.outline)
