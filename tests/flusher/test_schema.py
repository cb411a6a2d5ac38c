import asyncio

import pytest
from pymongo.errors import DuplicateKeyError

from flusher import schema
from flusher.schema import FLUSH_EPOCH, ensure, next_epoch
from flusher.steps.wave import UTC
from shared.serving.program import CannotRun
from shared.stores.mongo import COURSE_ANALYTICS
from tests.flusher.stage import Stage


@pytest.fixture
async def bare(stage: Stage) -> Stage:
    """A database without anything of the flusher's."""
    await stage.database[COURSE_ANALYTICS].drop()
    await stage.database[FLUSH_EPOCH].drop()
    return stage


async def test_a_course_has_one_document(bare: Stage) -> None:
    await ensure(bare.database, UTC)

    await bare.database[COURSE_ANALYTICS].insert_one({"courseId": 1})
    with pytest.raises(DuplicateKeyError):
        await bare.database[COURSE_ANALYTICS].insert_one({"courseId": 1})


async def test_flushers_that_start_together_do_not_disturb_each_other(bare: Stage) -> None:
    await asyncio.gather(*(ensure(bare.database, UTC) for _ in range(20)))


async def test_without_the_unique_index_the_flusher_does_not_run(bare: Stage) -> None:
    await bare.database[COURSE_ANALYTICS].insert_many([{"courseId": 1}, {"courseId": 1}])

    with pytest.raises(CannotRun, match="unique index"):
        await ensure(bare.database, UTC)


async def test_every_epoch_is_higher_than_all_before(bare: Stage) -> None:
    epochs = bare.database[schema.FLUSH_EPOCH]

    assert list(range(1, 21)) == sorted(await asyncio.gather(*(next_epoch(epochs) for _ in range(20))))
