"""Killed at whichever step, a relay and a warehouse go on so that nothing is missing and nothing counts twice."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from flusher.tools.forget import forget
from shared.data.tallies import COURSE
from tests.servers import PATIENCE
from tests.warehouse.brokers import at, mock_kafka
from tests.warehouse.stage import COURSE_ID, Database, flush, following, running, until_equal
from warehouse.audit import audit
from warehouse.events import Events
from warehouse.kafka import Publisher, Subscriber
from warehouse.record import Record
from warehouse.sink import Sink, StoreProgress, known_tallies
from warehouse.snapshot import Snapshot
from warehouse.source import Source
from warehouse.store import Store


class Killed(BaseException):
    """The program is gone, and does nothing more."""


class Death:
    """Comes at the nth call of one of the steps."""

    def __init__(self, step: str, after: int) -> None:
        self._step = step
        self._left = after

    def at(self, step: str) -> None:
        """Raises Killed when it is time."""
        self._left -= step == self._step
        if self._left < 0:
            raise Killed


async def follow(database: Database, store: Store, death: Death) -> None:
    """A source that writes into the store until it is killed."""
    progress, sink = StoreProgress(store), Sink(store)

    class Mortal:
        async def load(self) -> Mapping[str, Any] | None:
            return await progress.load()

        async def save(self, token: Mapping[str, Any]) -> None:
            await progress.save(token)
            death.at("saved")

    async def deliver(records: Sequence[Record]) -> None:
        death.at("read")
        await sink.write(records)
        death.at("written")

    snapshot = Snapshot(database, generation=0, known=lambda: known_tallies(store))
    await Source(database, Mortal(), deliver, snapshot, Events(database, 0)).follow(asyncio.Event())


@pytest.mark.parametrize("after", range(3))
@pytest.mark.parametrize("step", ["read", "written", "saved"])
async def test_who_follows_the_changes_is_killed_at_a_step(
    database: Database, store: Store, step: str, after: int
) -> None:
    """The first deliveries are those of the snapshot."""
    await flush(database, 3)
    dying = asyncio.create_task(follow(database, store, Death(step, after)))
    async with asyncio.timeout(PATIENCE):
        while not dying.done():
            await flush(database)
            await asyncio.sleep(0.01)
    with pytest.raises(Killed):
        await dying

    async with following(database, store):
        await until_equal(database, store)
        await flush(database)
        await until_equal(database, store)


@pytest.mark.minutes
@pytest.mark.parametrize("step", ["received", "written", "put aside", "committed"])
async def test_who_reads_kafka_is_killed_at_a_step(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await flush(database, 3)
    death = Death(step, 0)
    with mock_kafka() as brokers:
        await Snapshot(database, generation=0).deliver(Publisher(at(brokers)).deliver)
        with monkeypatch.context() as patched:
            for name, moment in (("_receive", "received"), ("_put_aside", "put aside")):
                patched.setattr(Subscriber, name, _dying(getattr(Subscriber, name), death, moment))
            for owner, name, moment in ((Sink, "write", "written"), (Subscriber, "_commit", "committed")):
                patched.setattr(owner, name, _dying_later(getattr(owner, name), death, moment))
            with pytest.raises(Killed):
                await Subscriber(at(brokers), Sink(store)).follow(asyncio.Event())
        async with running(Subscriber(at(brokers), Sink(store)).follow):
            await until_equal(database, store)
            await flush(database)
            await Snapshot(database, generation=0).deliver(Publisher(at(brokers)).deliver)
            await until_equal(database, store)


def _dying(function: Any, death: Death, step: str) -> Any:
    def call(*arguments: Any) -> Any:
        result = function(*arguments)
        if step != "received" or result.offsets:
            death.at(step)
        return result

    return call


def _dying_later(function: Any, death: Death, step: str) -> Any:
    async def call(*arguments: Any) -> Any:
        result = await function(*arguments)
        death.at(step)
        return result

    return call


async def test_what_is_under_way_when_a_course_is_forgotten_brings_nothing_back(
    database: Database, store: Store, redis_url: str
) -> None:
    """A broker may hand on hours later, and again, what was read before."""
    arrived: list[Record] = []

    def note(records: Sequence[Record]) -> Sequence[Record]:
        arrived.extend(records)
        return records

    await flush(database, 5)
    async with following(database, store, lose=note):
        await until_equal(database, store)
        await flush(database, 5)
        await until_equal(database, store)
        before = list(arrived)
        assert 3 == await forget(redis_url, database, COURSE_ID, lock_ttl=60)
        await until_equal(database, store)

    await Sink(store).write(before)

    assert (True, ["equal: 0 counters"]) == await audit(database, store, again_after=0)
    assert 1 == await database[COURSE.collection].count_documents({})
