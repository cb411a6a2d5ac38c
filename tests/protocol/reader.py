"""A dashboard's read of a course, which waits for its turn between one store's answer and the next question."""

import asyncio
from collections import Counter
from typing import Any, cast

from query_server.cold import ColdStore, Course
from query_server.hot import HotStore
from query_server.merge import Hot, totals_of
from query_server.reading import read_course
from shared.data import tallies
from shared.data.tallies import fields_of
from tests.flusher.stage import INSTRUCTOR, Stage
from tests.protocol.actors import Actor


class Reader(Actor):
    """Asks one store when it starts, the other at its first turn, and MongoDB again, when it must, at its second.

    `least` is what it must show at least: what was acknowledged when it started.
    """

    def __init__(self, stage: Stage, course_id: str, least: Counter[str], *, redis_first: bool) -> None:
        super().__init__()
        self.stage = stage
        self.course_id = course_id
        self.least = least
        self.redis_first = redis_first
        self._first_answer = asyncio.Event()
        self._known: list[str] = []

    async def begin(self) -> None:
        """Asks the first store."""
        self._known = await self._batches()
        await self.start(self.shown())

    async def is_in_time(self) -> bool:
        """Whether the document remembers every batch that came since it began: an answer that takes longer may err."""
        known = await self._batches()
        return set(self._known[-1:]) <= set(known) and len(known) < len(self._known) + tallies.COURSE.window

    async def _batches(self) -> list[str]:
        batches: list[str] = (await self.stage.document(self.course_id)).get("recentBatches", [])
        return batches

    async def shown(self) -> Counter[str]:
        """What the dashboard shows."""
        hot_store, cold_store = cast("HotStore", HotInTurn(self)), cast("ColdStore", ColdInTurn(self))
        hot, course = await read_course(hot_store, cold_store, self.course_id, INSTRUCTOR)
        return Counter(fields_of(totals_of(hot, course.analytics).counts))

    def has_first_answer(self) -> None:
        """Lets the other question wait for its turn."""
        self._first_answer.set()

    async def second_turn(self, step: str) -> None:
        """Waits for the first answer, and for the turn."""
        await self._first_answer.wait()
        await self.turn(step)


class HotInTurn:
    """Redis."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def read(self, course_id: str) -> Hot:
        if not self._reader.redis_first:
            await self._reader.second_turn("Redis")
        hot = await self._reader.stage.hot.read(course_id)
        self._reader.has_first_answer()
        return hot


class ColdInTurn:
    """MongoDB."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def read(self, *question: Any) -> Course:
        if self._reader.redis_first:
            await self._reader.second_turn("MongoDB")
        course = await self._reader.stage.cold.read(*question)
        self._reader.has_first_answer()
        return course

    async def read_primary(self, *question: Any) -> Course:
        await self._reader.turn("MongoDB again")
        return await self._reader.stage.cold.read_primary(*question)
