"""The zone of an installation's days, as stored in MongoDB: fixed for the life of the data.

It is one document of `analyticssettings`: `{_id: "days", zone, recordedSince}`. The flusher writes `zone`, the IANA
name, when it starts first, and with the first day that it flushes `recordedSince`, the installation's first day
(YYYY-MM-DD); a day that is flushed late moves it back. Until then there is no `recordedSince`, and the zone can change.
"""

import asyncio
from zoneinfo import ZoneInfo

import pymongo
import structlog
from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from shared.serving.program import CannotRun
from shared.stores.mongo import ANALYTICS_SETTINGS, Document

DAYS_ID = "days"
RECORDED_SINCE = "recordedSince"

MONGO_SECONDS = 2
PAUSE_SECONDS = 1

log = structlog.get_logger()


class OtherZone(CannotRun):
    """The days of this installation have another zone."""

    def __init__(self, ours: ZoneInfo, theirs: object) -> None:
        super().__init__(
            f"ANALYTICS_DAY_ZONE is {ours.key}, but the days of this installation are those of {theirs}: "
            f"set ANALYTICS_DAY_ZONE={theirs} (before the first day is flushed, `flusher init` changes the zone)"
        )


async def settle(database: AsyncDatabase[Document], zone: ZoneInfo, *, change: bool = False) -> None:
    """Writes the zone if there is none; with `change` also if there is another zone, but no day yet.

    Raises OtherZone if the days have another zone, PyMongoError when MongoDB is unavailable.
    """
    settings = database[ANALYTICS_SETTINGS]
    with pymongo.timeout(MONGO_SECONDS):
        if change:
            no_day = {"_id": DAYS_ID, RECORDED_SINCE: {"$exists": False}}
            await settings.update_one(no_day, {"$set": {"zone": zone.key}})
        stored = await settings.find_one_and_update(
            {"_id": DAYS_ID}, {"$setOnInsert": {"zone": zone.key}}, upsert=True, return_document=ReturnDocument.AFTER
        )
    _compare(zone, stored or {})


async def note_day(database: AsyncDatabase[Document], zone: ZoneInfo, day: str) -> None:
    """Records a day before it is written. From then on the zone is fixed. Raises as `settle` does."""
    noted = {"_id": DAYS_ID, "zone": zone.key}
    for _ in range(2):  # again, in case somebody has deleted the document
        with pymongo.timeout(MONGO_SECONDS):
            result = await database[ANALYTICS_SETTINGS].update_one(noted, {"$min": {RECORDED_SINCE: day}})
        if result.matched_count:
            return
        await settle(database, zone)


async def compare(database: AsyncDatabase[Document], zone: ZoneInfo, stop: asyncio.Event) -> None:
    """Compares the zone once MongoDB answers and a flusher has written it. Raises OtherZone.

    Returns then, or at `stop`. Also ends if the driver turns its cancellation into another error.
    """
    task, reported = asyncio.current_task(), ""
    while not stop.is_set() and not (task and task.cancelling()):
        try:
            if await is_the_same(database, zone):
                return
        except PyMongoError as error:
            if str(error) != reported:
                reported = str(error)
                log.warning("the zone of the days is not compared yet", reason=reported)
        try:
            async with asyncio.timeout(PAUSE_SECONDS):
                await stop.wait()
        except TimeoutError:
            pass


async def is_the_same(database: AsyncDatabase[Document], zone: ZoneInfo) -> bool:
    """Whether there is a zone, which then is ours. Raises OtherZone, PyMongoError."""
    with pymongo.timeout(MONGO_SECONDS):
        stored = await database[ANALYTICS_SETTINGS].find_one({"_id": DAYS_ID})
    if stored is None:
        return False
    _compare(zone, stored)
    return True


def _compare(zone: ZoneInfo, stored: Document) -> None:
    if stored.get("zone") != zone.key:
        raise OtherZone(zone, stored.get("zone"))
