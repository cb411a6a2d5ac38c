"""Requests and replies of a flush that are lost on the way: whatever was not heard, nothing counts twice."""

from collections.abc import AsyncIterator, Iterator

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from flusher.steps import apply
from shared.data import keys
from shared.stores import mongo
from shared.stores.mongo import Document
from tests.faults.loss import containing
from tests.faults.proxy import Proxy
from tests.flusher.stage import Stage, course

COURSES = [course(number) for number in range(1, 6)]

# Words of the requests of each step, to Redis and to MongoDB.
TO_REDIS = {
    "list": b"SMEMBERS",
    "lock": b"NX",
    "look": b"WATCH",
    "take": b"RENAMENX",
    "barrier": b"WAITAOF",
    "clear": b"flushed_batch",
}
TO_MONGO = {"epoch": b"findAndModify", "bulk": b"$slice", "note": b"mergeObjects"}
ALWAYS = 100


@pytest.fixture
async def dirty(stage: Stage) -> Stage:
    """Fresh courses, and one that a crash has left in the middle, so that there is something to verify."""
    await stage.ping(*COURSES)
    await stage.flush()
    await stage.ping(*COURSES)
    await stage.taken(COURSES[0])
    return stage


@pytest.fixture
def to_redis(redis_url: str) -> Iterator[Proxy]:
    with Proxy(redis_url) as proxy:
        yield proxy


@pytest.fixture
def to_mongo(mongo_url: str) -> Iterator[Proxy]:
    with Proxy(mongo_url) as proxy:
        yield proxy


@pytest.fixture
async def proxied(to_mongo: Proxy) -> AsyncIterator[AsyncDatabase[Document]]:
    """The database, by way of the proxy."""
    async with mongo.connect(to_mongo.url, program="tests") as client:
        yield mongo.database(client)


@pytest.mark.parametrize("lost", ["request", "reply"])
@pytest.mark.parametrize("step", TO_REDIS)
async def test_what_redis_answers_may_be_lost_at_any_step(dirty: Stage, to_redis: Proxy, step: str, lost: str) -> None:
    lose = to_redis.lose_request if lost == "request" else to_redis.lose_reply
    loss = lose(containing(TO_REDIS[step]))

    await dirty.flush(redis_url=to_redis.url)

    assert loss.happened
    await dirty.assert_exact()
    assert [] == await dirty.locks()
    await dirty.flush()
    await dirty.assert_all_flushed()


@pytest.mark.parametrize("step", TO_MONGO)
async def test_a_reply_of_mongodb_that_is_lost_once_is_had_again(
    dirty: Stage, to_mongo: Proxy, proxied: AsyncDatabase[Document], step: str
) -> None:
    loss = to_mongo.lose_reply(containing(TO_MONGO[step]))

    assert not (await dirty.flush(database=proxied)).left

    assert loss.happened
    await dirty.assert_all_flushed()


@pytest.mark.parametrize("step", TO_MONGO)
async def test_what_mongodb_answers_may_be_lost_for_good_at_any_step(
    dirty: Stage, to_mongo: Proxy, proxied: AsyncDatabase[Document], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "APPLY_SECONDS", 1)
    loss = to_mongo.lose_reply(containing(TO_MONGO[step]), times=ALWAYS)

    await dirty.flush(database=proxied)

    assert loss.happened
    await dirty.assert_exact()
    assert [] == await dirty.locks()
    await dirty.flush()
    await dirty.assert_all_flushed()


async def test_slow_answers_change_nothing(dirty: Stage, to_redis: Proxy) -> None:
    to_redis.delay(0.05)

    assert not (await dirty.flush(redis_url=to_redis.url)).left

    await dirty.assert_all_flushed()


async def test_a_lock_whose_reply_was_lost_does_not_keep_others_out(dirty: Stage, to_redis: Proxy) -> None:
    loss = to_redis.lose_reply(containing(TO_REDIS["lock"], keys.flush_lock(keys.partition_of(COURSES[0])).encode()))

    report = await dirty.flush(redis_url=to_redis.url, lock_ttl=240.0)

    assert loss.happened
    assert len(COURSES) == report.left.total()
    assert not (await dirty.flush()).left
