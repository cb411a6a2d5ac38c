"""Flushers that go on after their lock has passed to others: asleep, held up on the way, or too slow for its life."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from devstack.programs import Program
from flusher.cycle import Flusher
from flusher.steps import barrier, plan
from flusher.steps.apply import apply
from flusher.steps.settle import CHANGED_HANDS
from shared.data import tallies
from shared.settings import Barrier
from shared.stores import mongo
from shared.stores.mongo import COURSE_ANALYTICS
from shared.stores.redis_connection import RedisConnection
from tests.faults.proxy import Proxy
from tests.flusher.stage import Stage, course, is_frozen, until
from tests.servers import PATIENCE

COURSES = [course(number) for number in range(1, 4)]


async def others_go_on(stage: Stage) -> None:
    """More batches than a document remembers."""
    for _ in range(tallies.COURSE.window + 1):
        await stage.ping(*COURSES)
        assert not (await stage.flush()).left


@pytest.mark.parametrize("point", ["before bulk 1", "before clear 2"])
async def test_a_flusher_that_slept_until_its_batches_were_forgotten_adds_and_clears_nothing(
    stage: Stage, start_program: Callable[..., Program], point: str
) -> None:
    await stage.ping(*COURSES)
    sleeper = start_program("tests.flusher.failing", "STOP", point, "--once", flush_lock_ttl_seconds=1.5)
    await until(partial(asyncio.to_thread, is_frozen, sleeper))

    async def is_unlocked() -> bool:
        return not await stage.locks()

    await until(is_unlocked)
    await others_go_on(stage)
    await stage.ping(*COURSES)

    sleeper.resume()

    assert 3 == await asyncio.to_thread(sleeper.wait, PATIENCE), sleeper.tail()
    await stage.assert_exact()
    await stage.flush()
    await stage.assert_all_flushed()


async def test_an_update_that_arrives_after_its_batch_was_forgotten_adds_nothing(stage: Stage, mongo_url: str) -> None:
    await stage.ping(COURSES[0])
    epoch = await stage.epoch()
    (batch,) = await stage.taken(COURSES[0])

    with Proxy(mongo_url) as proxy:
        async with mongo.connect(proxy.url, program="tests") as client:
            await client.admin.command("ping")
            proxy.black_hole()
            with pytest.raises(Exception, match="timed out"):
                await apply(mongo.database(client)[COURSE_ANALYTICS], [batch], epoch, timeout=0.3)
        await others_go_on(stage)

        proxy.heal()

        async def has_arrived() -> bool:
            return proxy.connections == 0

        await until(has_arrived)

    await stage.assert_exact()
    await stage.assert_all_flushed()


async def test_twenty_flushers_whose_locks_expire_under_them_are_exact(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "waves", partial(plan.waves, size=2))
    flushers = [Flusher(stage.stores(lock_ttl=0.005 * 4 ** (number % 4))) for number in range(20)]
    left: Counter[str] = Counter()

    for _ in range(5):
        await stage.ping(*COURSES, course(4), course(5), course(6))
        cycles = asyncio.gather(*(flusher.cycle(asyncio.Event()) for flusher in flushers))
        while not cycles.done():
            await stage.ping(*COURSES)
            await stage.assert_exact()
        for report in await cycles:
            left += report.left

    assert left["the lock's time is over"] + sum(
        count for reason, count in left.items() if "another flusher has partition" in reason
    )
    await stage.unlock()
    await stage.flush()
    await stage.assert_all_flushed()


async def test_twenty_flushers_who_lose_their_locks_with_batches_in_hand_are_exact(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each goes on as if it had the lock, once another has found the very batches that it took, and sends them too."""
    safe, arrived, turn = barrier.safe, itertools.count(1), asyncio.Lock()
    newest = 0

    async def safe_but_unlocked(connection: RedisConnection, given: Barrier) -> bool:
        nonlocal newest
        confirmed = await safe(connection, given)
        mine = newest = next(arrived)
        async with turn:  # the stage has one connection
            await stage.unlock()
            await stage.ping(*COURSES)
        for _ in range(100):  # the last has nobody behind it
            if newest > mine:
                break
            await asyncio.sleep(0.005)
        return confirmed

    async def flush_again_and_again() -> Counter[str]:
        flusher, left = Flusher(stage.stores(lock_ttl=240)), Counter[str]()
        while newest < 8:
            left += (await flusher.cycle(asyncio.Event())).left
        return left

    await stage.ping(*COURSES)
    with monkeypatch.context() as patched:
        patched.setattr(barrier, "safe", safe_but_unlocked)
        left = sum(await asyncio.gather(*(flush_again_and_again() for _ in range(20))), Counter[str]())

    assert left[CHANGED_HANDS] + left["fenced: a newer flusher has been here"]
    await stage.assert_exact()
    await stage.unlock()
    await stage.flush()
    await stage.assert_all_flushed()
