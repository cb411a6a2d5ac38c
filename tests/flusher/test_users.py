"""Unique users outlive Redis: the saved HyperLogLog is never smaller than what was saved before."""

import datetime as dt
from typing import Any

import pytest
import structlog
from bson import ObjectId

from flusher.steps.apply import apply
from flusher.steps.users import Saving, Users, is_due, save
from flusher.steps.wave import UTC
from shared.data import keys
from shared.stores.mongo import COURSE_ANALYTICS, Document
from tests.flusher.stage import Stage, course

Logged = list[structlog.typing.EventDict]

COURSE = course(1)
USERS = keys.course_users(keys.partition_of(COURSE), COURSE)
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
STANDARD_ERROR = 0.0081


def saved(estimate: int, minutes_ago: int) -> Document:
    return {"usersSketchEstimate": estimate, "usersSketchSavedAt": NOON - dt.timedelta(minutes=minutes_ago)}


@pytest.mark.parametrize(
    ("live", "document", "due"),
    [
        pytest.param(1, {}, True, id="the first user"),
        pytest.param(0, {}, False, id="nobody yet"),
        pytest.param(1011, saved(1000, 1), True, id="grown by more than 1 %"),
        pytest.param(1010, saved(1000, 1), False, id="grown by 1 %"),
        pytest.param(1001, saved(1000, 60), True, id="grown a little, an hour ago"),
        pytest.param(1000, saved(1000, 600), False, id="not grown at all"),
        pytest.param(999, saved(1000, 1), True, id="smaller than what was saved"),
    ],
)
def test_a_sketch_is_saved_when_it_has_grown_or_shrunk(live: int, document: Document, due: bool) -> None:
    assert due == is_due(live, document, NOON)


async def add_users(stage: Stage, first: int, last: int) -> None:
    for start in range(first, last, 5_000):
        await stage.call("PFADD", USERS, *(f"user-{number}" for number in range(start, min(start + 5_000, last))))


async def flush_one_ping(stage: Stage, user: bytes = b"user-0") -> Document:
    await stage.ping(COURSE, user=user)
    await stage.flush()
    return await stage.document(COURSE)


async def test_a_flush_saves_the_sketch_and_its_estimate(stage: Stage) -> None:
    await add_users(stage, 0, 1000)
    document = await flush_one_ping(stage)
    assert await stage.call("GET", USERS) == document["usersSketch"]
    assert await stage.call("PFCOUNT", USERS) == document["usersSketchEstimate"]


async def test_a_hundred_thousand_users_are_estimated_within_three_standard_errors(stage: Stage) -> None:
    await add_users(stage, 0, 100_000)
    document = await flush_one_ping(stage)
    assert abs(document["uniqueActiveUsers"] - 100_000) <= 3 * STANDARD_ERROR * 100_000


async def test_a_redis_that_lost_its_users_gets_the_saved_ones_back(stage: Stage) -> None:
    await add_users(stage, 0, 1000)
    await flush_one_ping(stage)
    before = await stage.call("PFCOUNT", USERS)
    await stage.call("DEL", USERS)
    await flush_one_ping(stage, user=b"user-1")
    assert before == await stage.call("PFCOUNT", USERS)


async def test_users_after_a_loss_are_added_to_the_saved_ones(stage: Stage) -> None:
    await add_users(stage, 0, 1000)
    await flush_one_ping(stage)
    await stage.call("DEL", USERS)
    await add_users(stage, 1000, 1500)
    document = await flush_one_ping(stage)
    assert abs(document["uniqueActiveUsers"] - 1500) <= 3 * STANDARD_ERROR * 1500
    assert document["usersSketchEstimate"] == document["uniqueActiveUsers"]


async def test_the_number_of_users_never_falls_below_what_was_saved(stage: Stage) -> None:
    await add_users(stage, 0, 1000)
    before = (await flush_one_ping(stage))["uniqueActiveUsers"]
    await stage.call("FLUSHDB")
    after = (await flush_one_ping(stage, user=b"user-1"))["uniqueActiveUsers"]
    assert after >= before


@pytest.mark.parametrize("garbage", [b"garbage", b"HYLL\x00" + b"\xff" * 40])
async def test_garbage_in_place_of_a_saved_sketch_is_refused_reported_and_left_alone(
    stage: Stage, logged: Logged, garbage: bytes
) -> None:
    await flush_one_ping(stage)
    await set_fields(stage, usersSketch=garbage, usersSketchEstimate=500)
    document = await flush_one_ping(stage, user=b"user-1")
    assert ["sketch not saved: Redis cannot merge the saved one"] == [
        line["event"] for line in logged if line["log_level"] == "error"
    ]
    assert (garbage, 2) == (document["usersSketch"], await stage.call("PFCOUNT", USERS))


async def test_a_sketch_is_not_saved_over_that_of_a_newer_flusher(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await flush_one_ping(stage)
    saved_by_newer = (await stage.document(COURSE))["usersSketch"]
    await add_users(stage, 0, 1000)
    await stage.ping(COURSE)

    async def overtaken(collection: Any, *arguments: Any, **named: Any) -> Any:
        outcomes = await apply(collection, *arguments, **named)
        await set_fields(stage, epoch=10**6)
        return outcomes

    monkeypatch.setattr("flusher.steps.wave.apply", overtaken)
    await stage.flush()
    assert saved_by_newer == (await stage.document(COURSE))["usersSketch"]


async def test_the_saved_sketch_leaves_no_key_behind(stage: Stage) -> None:
    await flush_one_ping(stage)
    await add_users(stage, 0, 100)
    await flush_one_ping(stage)
    assert [] == await stage.call("KEYS", "saved_users:*")


async def set_fields(stage: Stage, **fields: Any) -> None:
    await stage.database[COURSE_ANALYTICS].update_one({"courseId": ObjectId(COURSE)}, {"$set": fields})


async def test_a_sketch_that_redis_lost_during_the_flush_is_nothing_to_save(stage: Stage) -> None:
    await stage.ping(COURSE)
    (batch,) = await stage.taken(COURSE)
    await apply(stage.database[COURSE_ANALYTICS], [batch], 1, timeout=5)
    await stage.call("FLUSHDB")

    users = Users(batch.partition, batch.tally, batch.unique_users)
    await stage.call("SET", keys.flush_lock(keys.partition_of(COURSE)), "mine")
    await save(stage.redis, stage.database[COURSE_ANALYTICS], [users], Saving(1, NOON, UTC, "mine"))

    assert "usersSketch" not in await stage.document(COURSE)
