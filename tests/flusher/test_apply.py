from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from bson import ObjectId
from pymongo.asynchronous.collection import AsyncCollection

from devstack.servers import MongoServer
from flusher.steps import apply as applying
from flusher.steps.apply import Outcome, Verdict, apply
from flusher.steps.take import Batch
from shared.data import keys
from shared.data.tallies import course_tally
from shared.stores import mongo
from shared.stores.mongo import COURSE_ANALYTICS, Document
from tests.flusher.stage import LECTURE, ONE_PING, Stage, course, pings

COURSE = course(1)
EPOCH = 5

Collection = AsyncCollection[Document]


def batch(batch_id: str = "b1", course_id: str = COURSE, *, pinged: int = 1, fresh: bool = False) -> Batch:
    return Batch(
        keys.partition_of(course_id), course_tally(course_id), batch_id, pings(pinged), unique_users=3, fresh=fresh
    )


@pytest.fixture
def collection(stage: Stage) -> Collection:
    return stage.database[COURSE_ANALYTICS]


async def verdicts(collection: Collection, *batches: Batch, epoch: int = EPOCH) -> Sequence[Verdict]:
    return [outcome.verdict for outcome in await apply(collection, batches, epoch, timeout=5)]


async def test_a_courses_first_batch_makes_its_document(stage: Stage, collection: Collection) -> None:
    assert [Verdict.APPLIED] == await verdicts(collection, batch())

    document = await stage.document(COURSE)
    assert {COURSE: ONE_PING} == await stage.flushed(COURSE)
    assert (["b1"], EPOCH, 3) == (document["recentBatches"], document["epoch"], document["uniqueActiveUsers"])


async def test_batches_are_added_up(stage: Stage, collection: Collection) -> None:
    await verdicts(collection, batch("b1", pinged=2))
    assert [Verdict.APPLIED] == await verdicts(collection, batch("b2", pinged=3))

    assert {COURSE: pings(5)} == await stage.flushed(COURSE)


async def test_a_batch_is_added_once_however_often_it_is_sent(stage: Stage, collection: Collection) -> None:
    for epoch in (EPOCH, EPOCH, EPOCH + 1):
        assert [Verdict.APPLIED] == await verdicts(collection, batch(), epoch=epoch)

    assert {COURSE: ONE_PING} == await stage.flushed(COURSE)
    assert ["b1"] == (await stage.document(COURSE))["recentBatches"]


async def test_the_fields_of_others_are_left_alone(stage: Stage, collection: Collection) -> None:
    theirs: dict[str, Any] = {"__v": 7, "note": "by hand", "lectureStats": {LECTURE: {"rating": 4.5}}}
    await collection.insert_one({"courseId": ObjectId(COURSE), "totalViews": 10, **theirs})

    await verdicts(collection, batch())

    document = await stage.document(COURSE)
    assert (7, "by hand", 4.5) == (document["__v"], document["note"], document["lectureStats"][LECTURE]["rating"])
    assert 11 == document["totalViews"]


async def test_the_number_of_users_never_falls(stage: Stage, collection: Collection) -> None:
    await verdicts(collection, replace(batch("b1"), unique_users=100))
    await verdicts(collection, replace(batch("b2"), unique_users=3))

    assert 100 == (await stage.document(COURSE))["uniqueActiveUsers"]


async def test_the_last_32_batches_are_remembered(stage: Stage, collection: Collection) -> None:
    for number in range(40):
        await verdicts(collection, batch(f"b{number}"))

    assert [f"b{number}" for number in range(8, 40)] == (await stage.document(COURSE))["recentBatches"]


async def test_a_newer_flusher_fences_an_older_one(stage: Stage, collection: Collection) -> None:
    await verdicts(collection, batch("b2"), epoch=EPOCH + 1)

    assert [Verdict.FENCED] == await verdicts(collection, batch("b1"), epoch=EPOCH)

    assert {COURSE: ONE_PING} == await stage.flushed(COURSE)


async def test_a_sleeper_is_fenced_also_when_its_batch_is_forgotten(stage: Stage, collection: Collection) -> None:
    for number in range(40):
        await verdicts(collection, batch(f"b{number}"), epoch=EPOCH + number)

    assert [Verdict.FENCED] == await verdicts(collection, batch("b0"), epoch=EPOCH)

    assert {COURSE: pings(40)} == await stage.flushed(COURSE)


async def test_a_fresh_batch_that_mongodb_has_already_is_resurrected(stage: Stage, collection: Collection) -> None:
    await verdicts(collection, batch())

    assert [Verdict.RESURRECTED] == await verdicts(collection, batch(pinged=2, fresh=True), epoch=EPOCH + 1)

    assert {COURSE: ONE_PING} == await stage.flushed(COURSE)


NEVER_ACCEPTED: dict[str, Document] = {
    "path": {"lectureStats": 5},
    "type": {"totalViews": "many"},
    "list": {"recentBatches": "none"},
    "size": {"large": "x" * (16 * 1024 * 1024 - 100)},
}


@pytest.mark.parametrize("why", NEVER_ACCEPTED)
async def test_what_mongodb_will_never_take_is_refused_and_the_others_are_applied(
    stage: Stage, collection: Collection, why: str
) -> None:
    await collection.insert_one({"courseId": ObjectId(COURSE), **NEVER_ACCEPTED[why]})
    others = [course(2), course(3)]

    outcomes = await apply(collection, [batch("b2", others[0]), batch("b1"), batch("b3", others[1])], EPOCH, timeout=5)

    assert [Verdict.APPLIED, Verdict.REFUSED, Verdict.APPLIED] == [outcome.verdict for outcome in outcomes]
    assert outcomes[1].reason
    assert dict.fromkeys(others, ONE_PING) == await stage.flushed(*others)


async def test_a_batch_too_large_to_be_sent_is_refused_and_the_others_are_applied(
    stage: Stage, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "APPLY_SECONDS", 60)  # to put it together takes long on a busy machine
    lectures = {f"lecture_views:{number:024x}": 1 for number in range(400_000)}
    huge = replace(batch("b1"), counts=lectures)

    outcomes = await apply(collection, [huge, batch("b2", course(2))], EPOCH, timeout=60)

    assert [Verdict.REFUSED, Verdict.APPLIED] == [outcome.verdict for outcome in outcomes]
    assert {course(2): ONE_PING} == await stage.flushed(course(2))


async def test_after_a_refusal_no_older_update_of_the_batch_can_land_any_more(
    stage: Stage, collection: Collection
) -> None:
    await collection.insert_one({"courseId": ObjectId(COURSE), "lectureStats": 5})
    await apply(collection, [batch("b1")], EPOCH, timeout=5)
    await collection.update_one({"courseId": ObjectId(COURSE)}, {"$unset": {"lectureStats": 1}})

    (outcome,) = await apply(collection, [batch("b1")], EPOCH - 1, timeout=5)

    assert Verdict.FENCED == outcome.verdict
    assert {COURSE: {}} == {COURSE: +Counter((await stage.flushed(COURSE))[COURSE])}


@pytest.fixture
async def hesitant(start_mongo: Callable[..., MongoServer]) -> AsyncIterator["Hesitant"]:
    """A MongoDB whose majority can fall behind."""
    server = start_mongo("--setParameter", "enableTestCommands=1")
    async with mongo.connect(server.url(), program="tests") as client:
        await client.admin.command("ping")
        yield Hesitant(client.get_default_database()[COURSE_ANALYTICS])


class Hesitant:
    """A collection; while the majority is behind, what is written is on the primary only, as before a rollback."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection

    async def majority(self, *, behind: bool) -> None:
        admin = self.collection.database.client.admin
        await admin.command("configureFailPoint", "disableSnapshotting", mode="alwaysOn" if behind else "off")
        if not behind:  # the majority learns with the next write
            await self.collection.database["others"].insert_one({})

    async def counts(self) -> list[int]:
        return [document["totalViews"] for document in await self.collection.find().to_list()]


async def test_a_batch_that_only_the_primary_has_is_not_applied(
    hesitant: Hesitant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "APPLY_SECONDS", 0.5)
    await hesitant.collection.create_index("courseId", unique=True)
    await hesitant.majority(behind=True)

    first = await apply(hesitant.collection, [batch()], EPOCH, timeout=5)
    again = await apply(hesitant.collection, [batch()], EPOCH + 1, timeout=5)

    assert [1] == await hesitant.counts()
    assert [Outcome(Verdict.LEFT)] == first
    assert [Verdict.LEFT] == [outcome.verdict for outcome in again]

    await hesitant.majority(behind=False)

    assert [Verdict.APPLIED] == await verdicts(hesitant.collection, batch(), epoch=EPOCH + 2)
    assert [1] == await hesitant.counts()


async def test_a_batch_of_more_counters_than_mongodb_adds_in_time_is_refused_and_not_sent_for_ever(
    stage: Stage, collection: Collection
) -> None:
    counters = {f"lecture_views:{number:024x}": 1 for number in range(applying.MAX_COUNTERS + 1)}
    outcomes = await apply(collection, [replace(batch("b1"), counts=counters)], EPOCH, timeout=5)
    assert [
        (Verdict.REFUSED, "the batch has more than 30,000 counters, which MongoDB would not add in time")
    ] == outcomes
    assert "lectureStats" not in await stage.document(COURSE)
