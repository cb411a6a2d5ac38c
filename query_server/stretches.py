"""Adds up stretches of days in blocks, and keeps each block.

A course's day has every lecture and a sketch of up to 12 KB: reading a year of them takes a second. Nearly all of these
days are over, so a block is kept as long as its documents stay the same. Blocks begin on the same days whatever the
range, so tomorrow's reports reuse them.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import TypeVar

from query_server.cold import ColdStore, Course
from query_server.documents import LIGHT
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
        self._kept: ExpiringCache[Key, Block] = ExpiringCache(KEPT_LECTURES, now)

    async def add_up(
        self, shown: Sequence[str], hot: HotTallies, course: Course, until: float
    ) -> tuple[Sequence[Day], Overview]:
        """The days and their overview. The course has these days without lectures. Raises Unavailable, StoreRefuses."""
        blocks = [await self._block(block, hot, course, until) for block in in_blocks(shown)]
        return await self._away(lambda: _joined(blocks, course))

    async def day(self, day: str, hot: HotTallies, course: Course) -> Day:
        """One day by itself; the course has its sketch."""
        return await self._away(lambda: day_of(*in_both([day], hot, course.documents, course.course_id)))

    async def _block(self, shown: Days, hot: HotTallies, course: Course, until: float) -> Block:
        key = course.course_id, course.documents.fingerprint(f"{course.course_id}/{day}" for day in shown)
        kept = self._kept.get(key)
        if kept is not None and not _is_changing(shown, hot, course):
            return kept
        whole = await self._whole(shown, hot, course.course_id, until)
        block, is_kept = await self._away(lambda: _added_up(shown, hot, course, whole))
        if is_kept:
            numbers, sums = block
            weight = SKETCH_LECTURES + len(numbers) + len(sums.views)
            self._kept.put(key, block, until=self._now() + KEPT_SECONDS, weight=weight)
        return block

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


def in_blocks(shown: Sequence[str]) -> Iterator[Days]:
    """Consecutive days, cut where blocks begin."""
    if shown:
        place = days.number_of(shown[0]) % BLOCK_DAYS
        for start in range(-place, len(shown), BLOCK_DAYS):
            yield tuple(shown[max(0, start) : start + BLOCK_DAYS])


def _is_changing(shown: Days, hot: HotTallies, course: Course) -> bool:
    """Whether Redis has anything of these days that their documents lack. It rarely has anything of them."""
    found = [day for day in shown if f"{course.course_id}/{day}" in hot.tallies]
    return any(day.is_changing for day in in_both(found, hot, course.documents, course.course_id))


def _added_up(
    shown: Sequence[str], hot: HotTallies, course: Course, whole: Mapping[str, Document]
) -> tuple[Block, bool]:
    """The block, and whether it comes from the documents that were read first, and nothing else."""
    here = in_both(shown, hot, whole, course.course_id)
    light = in_both(shown, hot, course.documents, course.course_id)
    is_kept = not any(
        day.is_changing or any(day.document.get(field) != early.document.get(field) for field in LIGHT)
        for day, early in zip(here, light, strict=True)
    )
    return ([day_of(day) for day in here], sums_of(here)), is_kept


def _joined(blocks: Sequence[Block], course: Course) -> tuple[list[Day], Overview]:
    numbers = [day for block, _ in blocks for day in block]
    return numbers, overview_of(numbers, together([sums for _, sums in blocks], course.outline), course.outline)
