"""A source and a store, and what a flush writes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bson import ObjectId
from pymongo.asynchronous.database import AsyncDatabase

from tests.servers import PATIENCE
from warehouse.audit import audit
from warehouse.events import Events
from warehouse.record import Record
from warehouse.sink import Sink, StoreProgress, known_tallies
from warehouse.snapshot import Snapshot
from warehouse.source import Source
from warehouse.store import Store

Database = AsyncDatabase[dict[str, Any]]

COURSE_ID, LECTURE_ID = "650000000000000000000001", "650000000000000000000011"
OTHER_COURSE = "650000000000000000000002"
DAY, LECTURE = f"{COURSE_ID}/2026-11-26", f"{COURSE_ID}/{LECTURE_ID}"


async def flush(database: Database, times: int = 1) -> None:
    """What a flush writes: a course's tally, its day's, a lecture's."""
    views = {f"lectureStats.{LECTURE_ID}.views": times, f"lectureStats.{LECTURE_ID}.totalWatchTime": 5 * times}
    course = ObjectId(COURSE_ID)
    await database["courseanalytics"].update_one(
        {"courseId": course},
        {"$inc": {"totalViews": times, **views}, "$max": {"uniqueActiveUsers": times}},
        upsert=True,
    )
    await database["courseanalyticsdays"].update_one(
        {"_id": DAY},
        {"$inc": {**views, "lectureViews": times}, "$set": {"courseId": course, "day": DAY[25:]}},
        upsert=True,
    )
    await database["lectureanalytics"].update_one(
        {"_id": LECTURE},
        {"$inc": {"playbacks": times, "segments.3.watched": 50}, "$set": {"courseId": course}},
        upsert=True,
    )


@asynccontextmanager
async def running(follow: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """It follows while the block runs, and is then told to stop."""
    stop = asyncio.Event()
    task = asyncio.create_task(follow(stop))
    try:
        yield
    finally:
        stop.set()
        await task


@asynccontextmanager
async def following(
    database: Database, store: Store, *, lose: Callable[[Sequence[Record]], Sequence[Record]] | None = None
) -> AsyncIterator[None]:
    """A source that follows while the block runs; `lose` says what arrives of a delivery."""
    sink = Sink(store)

    async def deliver(records: Sequence[Record]) -> None:
        await sink.write(lose(records) if lose else records)

    snapshot = Snapshot(database, generation=0, known=lambda: known_tallies(store))
    source = Source(database, StoreProgress(store), deliver, snapshot, Events(database, 0))
    async with running(source.follow):
        yield


async def until_equal(database: Database, store: Store) -> None:
    """Returns once the audit finds no difference; fails with the differences."""
    lines: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                equal, lines = await audit(database, store, again_after=0.1)
                if equal:
                    return
    except TimeoutError:
        pytest.fail("\n".join(lines))
