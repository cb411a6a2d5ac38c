"""The zone of the days: the first one stays, and who has another is told so."""

import asyncio
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ServerSelectionTimeoutError

from devstack.programs import Program
from shared.serving.program import CannotRun
from shared.stores import day_zone
from shared.stores.day_zone import compare, note_day, settle
from shared.stores.mongo import ANALYTICS_SETTINGS, Document
from tests.servers import PATIENCE

BERLIN, KATHMANDU = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu")

Database = AsyncDatabase[Document]


async def stored(database: Database) -> Document:
    return await database[ANALYTICS_SETTINGS].find_one({"_id": "days"}) or {}


async def test_the_first_zone_is_written(database: Database) -> None:
    await settle(database, BERLIN)

    assert {"_id": "days", "zone": "Europe/Berlin"} == await stored(database)


async def test_another_zone_is_refused_with_a_message_that_says_how_to_fix_it(database: Database) -> None:
    await settle(database, BERLIN)

    with pytest.raises(CannotRun, match="set ANALYTICS_DAY_ZONE=Europe/Berlin"):
        await settle(database, KATHMANDU)

    assert "Europe/Berlin" == (await stored(database))["zone"]


async def test_the_zone_can_change_while_there_is_no_day(database: Database) -> None:
    await settle(database, BERLIN)

    await settle(database, KATHMANDU, change=True)

    assert "Asia/Kathmandu" == (await stored(database))["zone"]


async def test_with_the_first_day_the_zone_is_fixed(database: Database) -> None:
    await settle(database, BERLIN)
    await note_day(database, BERLIN, "2026-11-25")

    with pytest.raises(CannotRun):
        await settle(database, KATHMANDU, change=True)


async def test_a_flusher_whose_zone_was_changed_under_it_notes_no_day(database: Database) -> None:
    await settle(database, BERLIN)
    await settle(database, KATHMANDU, change=True)

    with pytest.raises(CannotRun):
        await note_day(database, BERLIN, "2026-11-25")

    assert "recordedSince" not in await stored(database)


async def test_the_earliest_day_is_kept(database: Database) -> None:
    await settle(database, BERLIN)
    for day in ("2026-11-25", "2026-11-24", "2026-11-26"):
        await note_day(database, BERLIN, day)

    assert "2026-11-24" == (await stored(database))["recordedSince"]


async def test_a_day_is_noted_also_when_the_settings_have_been_deleted(database: Database) -> None:
    await note_day(database, BERLIN, "2026-11-25")

    assert {"_id": "days", "zone": "Europe/Berlin", "recordedSince": "2026-11-25"} == await stored(database)


async def test_a_server_of_the_same_zone_goes_on(database: Database) -> None:
    await settle(database, BERLIN)

    await compare(database, BERLIN, asyncio.Event())


async def test_a_server_of_another_zone_ends(database: Database) -> None:
    await settle(database, BERLIN)

    with pytest.raises(CannotRun):
        await compare(database, KATHMANDU, asyncio.Event())


async def test_a_comparison_waits_for_the_flusher_until_the_stop(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_zone, "PAUSE_SECONDS", 0.01)
    stop = asyncio.Event()
    comparing = asyncio.create_task(compare(database, KATHMANDU, stop))
    await asyncio.sleep(0)
    stop.set()
    await comparing


class Swallowing:
    """A driver that makes an error of its own of a cancellation, as MongoDB's may."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def __getitem__(self, name: str) -> "Swallowing":
        return self

    async def find_one(self, _: Any) -> None:
        self.asked.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise ServerSelectionTimeoutError("cancelled") from None


async def test_a_comparison_ends_when_the_driver_swallows_its_cancellation() -> None:
    driver: Any = Swallowing()
    comparing = asyncio.create_task(compare(driver, BERLIN, asyncio.Event()))
    await driver.asked.wait()

    comparing.cancel()

    async with asyncio.timeout(30):
        await asyncio.wait([comparing])


@pytest.mark.parametrize(
    "program", [("ingest_server",), ("query_server",), ("flusher", "--once"), ("flusher",)], ids=" ".join
)
async def test_a_program_with_another_zone_exits_with_a_message_that_says_how_to_fix_it(
    database: Database, start_program: Callable[..., Program], program: tuple[str, ...]
) -> None:
    await note_day(database, BERLIN, "2026-11-25")

    started = start_program(*program, wait=False, day_zone="Asia/Kathmandu")

    assert 2 == await asyncio.to_thread(started.wait, PATIENCE)
    assert "set ANALYTICS_DAY_ZONE=Europe/Berlin" in started.output()


async def test_init_changes_the_zone_while_there_is_no_day(
    database: Database, start_program: Callable[..., Program]
) -> None:
    await settle(database, BERLIN)

    init = start_program("flusher", "init", wait=False, day_zone="Asia/Kathmandu")

    assert 0 == await asyncio.to_thread(init.wait, PATIENCE)
    assert "Asia/Kathmandu" == (await stored(database))["zone"]
