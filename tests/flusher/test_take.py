from collections.abc import AsyncIterator
from itertools import islice

import pytest

from flusher.steps.lease import Lease, LeaseLost
from flusher.steps.take import Batch, Malformed, Nothing, take
from shared.data import keys
from shared.data.tallies import course_tally
from shared.stores.redis_connection import Command, RedisConnection, Reply
from tests.flusher.stage import ONE_PING, Stage, course, courses_of, pings

COURSE = course(1)
PARTITION = keys.partition_of(COURSE)
LOCK = keys.flush_lock(PARTITION)
HOT = keys.course_counters(PARTITION, COURSE)
FLUSHING = keys.flushing_counters(PARTITION, COURSE)


class Wave:
    """The connection of a wave that holds the lock of one partition."""

    def __init__(self, stage: Stage, connection: RedisConnection) -> None:
        self.connection = connection
        self.lease: Lease = stage.lease(connection)

    async def take(self, *course_ids: str) -> list[object]:
        return [*await take(self.connection, self.lease, keys.partition_of(course_ids[0]), course_ids)]


@pytest.fixture
async def wave(stage: Stage) -> AsyncIterator[Wave]:
    connection = await RedisConnection.open(stage.redis_url, timeout=5)
    wave = Wave(stage, connection)
    await wave.lease.acquire([PARTITION])
    yield wave
    await connection.close()


async def test_what_is_hot_is_taken_and_hot_no_more(stage: Stage, wave: Wave) -> None:
    await stage.ping(COURSE, user=b"ann")
    await stage.ping(COURSE, user=b"bob")
    batch_id = (await stage.hash(keys.course_counters, COURSE))["batch"]

    (batch,) = await wave.take(COURSE)

    assert Batch(PARTITION, course_tally(COURSE), batch_id, pings(2), unique_users=2, fresh=True) == batch
    assert 0 == await stage.call("EXISTS", HOT)
    assert pings(2) == {
        name: int(text)
        for name, text in (await stage.hash(keys.flushing_counters, COURSE)).items()
        if name != keys.BATCH
    }


async def test_what_a_crash_has_left_goes_first(stage: Stage, wave: Wave) -> None:
    await stage.ping(COURSE)
    (left,) = await wave.take(COURSE)
    await stage.ping(COURSE)

    (taken,) = await wave.take(COURSE)

    assert isinstance(left, Batch)
    assert isinstance(taken, Batch)
    assert left.id == taken.id
    assert ONE_PING == taken.counts
    assert (False, True) == (taken.fresh, taken.more)
    await stage.assert_exact()


async def test_a_course_without_counts_is_nothing(wave: Wave) -> None:
    assert [Nothing(PARTITION, COURSE)] == await wave.take(COURSE)


async def test_a_hash_of_somebody_else_is_malformed(stage: Stage, wave: Wave) -> None:
    await stage.call("HSET", HOT, "stars", 5)
    await stage.call("SET", keys.flushing_counters(PARTITION, course(2)), "no hash")

    kinds = [type(one) for one in await wave.take(COURSE, course(2))]

    assert [Malformed, Malformed] == kinds


async def test_the_courses_come_in_the_order_in_which_they_were_asked_for(stage: Stage, wave: Wave) -> None:
    first, second, third = islice(courses_of(PARTITION), 3)
    await stage.ping(first, third)

    taken = await wave.take(third, second, first)

    assert [third, second, first] == [one.name for one in taken if isinstance(one, Batch | Nothing)]
    assert [Batch, Nothing, Batch] == [type(one) for one in taken]


@pytest.mark.parametrize("holder", ["somebody else", None])
async def test_nothing_is_taken_when_the_lock_is_lost(stage: Stage, wave: Wave, holder: str | None) -> None:
    await stage.ping(COURSE)
    await stage.call("DEL", LOCK)
    if holder:
        await stage.call("SET", LOCK, holder)

    with pytest.raises(LeaseLost):
        await wave.take(COURSE)

    assert 1 == await stage.call("EXISTS", HOT)
    assert 0 == await stage.call("EXISTS", FLUSHING)


async def test_a_wave_that_lost_a_lock_can_take_from_its_other_partitions(stage: Stage, wave: Wave) -> None:
    other = course(2)
    await stage.ping(other)
    await wave.lease.acquire([keys.partition_of(other)])
    await stage.call("DEL", LOCK)

    with pytest.raises(LeaseLost):
        await wave.take(COURSE)

    (batch,) = await wave.take(other)
    assert isinstance(batch, Batch)


class TouchesTheLock:
    """A wave's connection; the first transaction comes too late, because somebody has touched the lock."""

    def __init__(self, connection: RedisConnection, stage: Stage, *touch: str) -> None:
        self._connection = connection
        self._stage = stage
        self._touch = touch

    async def call(self, *commands: Command, timeout: float) -> list[Reply]:
        if ("MULTI",) in commands and self._touch:
            touch, self._touch = self._touch, ()
            await self._stage.call(*touch)
        return await self._connection.call(*commands, timeout=timeout)


async def test_a_transaction_that_was_not_carried_out_is_tried_again_while_the_lock_is_ours(
    stage: Stage, wave: Wave
) -> None:
    await stage.ping(COURSE)
    wave.connection = TouchesTheLock(wave.connection, stage, "PEXPIRE", LOCK, "60000")  # type: ignore[assignment] # it does what a connection does

    (batch,) = await wave.take(COURSE)

    assert isinstance(batch, Batch)


async def test_a_lock_lost_between_the_look_and_the_transaction_is_noticed(stage: Stage, wave: Wave) -> None:
    await stage.ping(COURSE)
    wave.connection = TouchesTheLock(wave.connection, stage, "SET", LOCK, "somebody else")  # type: ignore[assignment] # it does what a connection does

    with pytest.raises(LeaseLost):
        await wave.take(COURSE)

    assert 1 == await stage.call("EXISTS", HOT)


async def test_a_take_renews_the_lock(stage: Stage, wave: Wave) -> None:
    await stage.call("PEXPIRE", LOCK, 1000)

    await wave.take(COURSE)

    assert 1000 < await stage.call("PTTL", LOCK)
