"""How the committer takes what is not counted: with its next commit, and nobody waits for that."""

from collections.abc import AsyncIterator, Mapping

import pytest
from course_analytics.v1 import ingest_pb2
from pymongo import AsyncMongoClient, MongoClient

from devstack.seed import DEMO_COURSE, write_course
from ingest_server import batches
from ingest_server import committer as committer_module
from ingest_server.catalog import Catalog
from ingest_server.commit import Commit
from ingest_server.committer import Committer
from ingest_server.events import Refused
from ingest_server.refusals import Refusals
from shared.identity.auth import Caller
from shared.serving.errors import Overloaded
from shared.stores import mongo
from tests.ingest_server.backend import ping, view
from tests.ingest_server.client import COURSE
from tests.ingest_server.test_committer import ONE_COURSE, Recording, at_once, running
from tests.ingest_server.test_waiting import COURSES

ANN = Caller("ann", expires=0)


def sums(commit: Commit) -> dict[str, dict[str, int]]:
    return {
        course.course_id: course.sums
        for partition in commit.partitions.values()
        for course in partition.courses.values()
    }


@pytest.fixture
def recording() -> Recording:
    recording = Recording()
    for _ in range(100):
        recording.answer()
    return recording


@pytest.fixture
async def committer(recording: Recording) -> AsyncIterator[Committer]:
    async with running(Committer(recording.record, at_once)) as committer:
        yield committer


async def test_refusals_are_one_increment_a_reason_and_start_a_commit(
    committer: Committer, recording: Recording
) -> None:
    for seconds in (7, 0, 3):
        committer.refuse(Refused(COURSE, "INVALID_FIELDS", seconds))
    committer.refuse(Refused(COURSE, "UNKNOWN_LECTURE", 0))
    commit = await recording.arrival()
    expected = {
        "not_counted:INVALID_FIELDS": 3,
        "not_counted_seconds:INVALID_FIELDS": 10,
        "not_counted:UNKNOWN_LECTURE": 1,
    }
    assert {COURSE: expected} == sums(commit)
    assert 0 == commit.events


async def test_an_event_is_counted_beside_the_refusals_of_others(committer: Committer, recording: Recording) -> None:
    committer.refuse(Refused(ONE_COURSE.course_id, "INVALID_FIELDS", 0))
    await committer.add(ONE_COURSE, ANN.user_id)
    assert [{ONE_COURSE.course_id: {"course_views": 1, "not_counted:INVALID_FIELDS": 1}}] == [
        sums(commit) for commit in recording.commits
    ]


async def test_refusals_that_have_no_room_go_with_later_commits(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer_module, "COMMIT_WEIGHT", 100)
    async with running(Committer(recording.record, at_once)) as committer:
        for course in COURSES[:30]:
            committer.refuse(Refused(course, "INVALID_FIELDS", 0))
    assert [6, 6, 6, 6, 6] == [len(sums(commit)) for commit in recording.commits]


async def test_refusals_are_sent_before_the_end(recording: Recording) -> None:
    async with running(Committer(recording.record, at_once)) as committer:
        committer.refuse(Refused(COURSE, "INVALID_FIELDS", 0))
    assert [{COURSE: {"not_counted:INVALID_FIELDS": 1}}] == [sums(commit) for commit in recording.commits]


async def test_a_batch_without_any_room_is_counted_before_validation(
    committer: Committer, recording: Recording, mongo_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer_module, "QUEUE_WEIGHT_FOR_BATCHES", 2)
    with MongoClient[Mapping[str, object]](mongo_url) as platform:
        write_course(platform.get_default_database(), DEMO_COURSE)
    async with AsyncMongoClient[mongo.Document](mongo_url) as client:
        catalog = Catalog(client.get_default_database())
        await catalog.require(COURSE)
        refusals = Refusals(catalog, committer)
        batches.check_room([view(), ping()], ANN, committer, refusals)
        with pytest.raises(Overloaded):
            batches.check_room([view(), ping(seconds=7), view("x")], ANN, committer, refusals)
        commit = await recording.arrival()
    assert {COURSE: {"not_counted:OVERLOADED": 2, "not_counted_seconds:OVERLOADED": 7}} == sums(commit)


@pytest.mark.parametrize("heavy", [view(event="a"), ping(event="a"), ping(playback="a")])
async def test_ids_weigh_before_a_batch_is_judged(
    committer: Committer, mongo_url: str, monkeypatch: pytest.MonkeyPatch, heavy: ingest_pb2.Event
) -> None:
    async with AsyncMongoClient[mongo.Document](mongo_url) as client:
        refusals = Refusals(Catalog(client.get_default_database()), committer)
        monkeypatch.setattr(committer_module, "QUEUE_WEIGHT_FOR_BATCHES", 2)
        batches.check_room([heavy], ANN, committer, refusals)
        monkeypatch.setattr(committer_module, "QUEUE_WEIGHT_FOR_BATCHES", 1)
        with pytest.raises(Overloaded):
            batches.check_room([heavy], ANN, committer, refusals)


async def test_a_batch_without_room_is_counted_as_overloaded(
    committer: Committer, recording: Recording, mongo_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer_module, "QUEUE_WEIGHT_FOR_BATCHES", 0)
    with MongoClient[Mapping[str, object]](mongo_url) as platform:
        write_course(platform.get_default_database(), DEMO_COURSE)
    async with AsyncMongoClient[mongo.Document](mongo_url) as client:
        catalog = Catalog(client.get_default_database())
        refusals = Refusals(catalog, committer)
        batch = await batches.parse([view(), ping(seconds=7), ping(seconds=400)], ANN, str.encode)
        with pytest.raises(Overloaded):
            await batches.count(batch, ANN, catalog, committer, refusals)
        commit = await recording.arrival()
    expected = {"not_counted:OVERLOADED": 2, "not_counted_seconds:OVERLOADED": 7, "not_counted:INVALID_FIELDS": 1}
    assert {COURSE: expected} == sums(commit)
