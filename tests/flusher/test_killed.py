"""A flusher killed at any step: the dashboard is exact at that moment, and MongoDB is once another flusher has run."""

import asyncio
import signal
from collections.abc import Iterator

import pytest
from bson import ObjectId

from flusher.apply import apply
from shared import keys
from shared.mongo import COURSE_ANALYTICS
from tests.flusher.failing import STEPS
from tests.flusher.nursery import Nursery
from tests.flusher.nursery import nursery as nursery_with_log
from tests.flusher.stage import Stage, course

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
