"""A flusher killed at any step: the dashboard is exact at that moment, and MongoDB is once another flusher has run."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from bson import ObjectId

from devstack.programs import Program
from flusher.steps.apply import apply
from shared.data import keys
from shared.stores.mongo import COURSE_ANALYTICS
from tests.flusher.failing import STEPS
from tests.flusher.nursery import Nursery
from tests.flusher.nursery import nursery as nursery_with_log
from tests.flusher.stage import Stage, course, is_frozen, until

COURSES = [course(number) for number in range(1, 6)]
APPLIED, TAKEN, *FRESH = COURSES

POINTS = [
    *(f"{when} {step} 1" for step in STEPS if step != "close" for when in ("before", "after")),
    "before take 3",
    "before bulk 2",
    "before clear 2",
    "before clear 4",
]


@pytest.fixture
async def dirty(stage: Stage) -> Stage:
    """Courses in every state that an earlier crash can leave: applied, taken, and untouched; all with new counts."""
    await stage.ping(*COURSES)
    applied = await stage.taken(APPLIED)
    await apply(stage.database[COURSE_ANALYTICS], applied, await stage.epoch(), timeout=5)
    await stage.taken(TAKEN)
    await stage.ping(*COURSES)
    return stage


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with nursery_with_log(tmp_path_factory.mktemp("nursery") / "flushers.log") as ready:
        yield ready


@pytest.mark.parametrize("point", POINTS)
async def test_a_flusher_killed_at_any_step_loses_and_doubles_nothing(
    dirty: Stage, nursery: Nursery, mongo_url: str, point: str
) -> None:
    code = await asyncio.to_thread(nursery.run, "KILL", point, "--once", redis_url=dirty.redis_url, mongo_url=mongo_url)

    assert -signal.SIGKILL == code, nursery.output()
    await dirty.assert_exact()
    await dirty.ping(*COURSES)
    await dirty.assert_exact()
    await dirty.unlock()
    await dirty.flush()
    await dirty.assert_all_flushed()


@pytest.mark.parametrize("point", ["before close 1", "after close 1", "after verify 1"])
async def test_a_flusher_killed_while_a_batch_is_refused_loses_and_doubles_nothing(
    stage: Stage, nursery: Nursery, mongo_url: str, point: str
) -> None:
    await stage.database[COURSE_ANALYTICS].insert_one({"courseId": ObjectId(APPLIED), "lectureStats": 5})
    await stage.ping(*COURSES)

    code = await asyncio.to_thread(nursery.run, "KILL", point, "--once", redis_url=stage.redis_url, mongo_url=mongo_url)

    assert -signal.SIGKILL == code, nursery.output()
    await stage.assert_exact()
    await stage.unlock()
    await stage.flush()
    await stage.assert_exact()
    assert 1 == len(await stage.hash(keys.quarantined_counters, APPLIED))


async def test_several_flushers_killed_at_once_lose_and_double_nothing(
    stage: Stage, start_program: Callable[..., Program]
) -> None:
    """Each has got further than the next, with the same batches in hand, when all of them die in one moment."""
    await stage.ping(*COURSES)
    flushers = []
    for point in ("before clear 1", "after bulk 1", "before bulk 1"):
        flusher = start_program("tests.flusher.failing", "STOP", point, "--once")
        await until(partial(asyncio.to_thread, is_frozen, flusher))
        flushers.append(flusher)
        await stage.unlock()

    for flusher in flushers:
        flusher.kill()

    await stage.assert_exact()
    await stage.ping(*COURSES)
    await stage.flush()
    await stage.assert_all_flushed()
