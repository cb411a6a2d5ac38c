"""All nodes are reached: by commits and reads when slots have moved, by the flusher's commands, by the first look."""

import asyncio
import secrets
from collections.abc import Callable

import pytest
from bson import ObjectId
from pymongo.asynchronous.database import AsyncDatabase

from flusher.cycle import Flusher
from flusher.steps.wave import Stores
from ingest_server.commit import Commit
from ingest_server.events import CourseView
from ingest_server.recorder import Recorder
from query_server.hot import HotStore
from shared.data import keys
from shared.settings import Barrier
from shared.stores.fitness import UnsuitableRedis
from shared.stores.mongo import COURSE_ANALYTICS, Document
from tests.cluster.conftest import StartOn
from tests.cluster.nodes import Cluster
from tests.cluster.traffic import courses_of_partitions
from tests.servers import PATIENCE

COURSES = courses_of_partitions(range(6))


@pytest.fixture
async def cluster(launch_cluster: Callable[..., Cluster]) -> Cluster:
    """A cluster in which every course has a view."""
    formed = launch_cluster()
    formed.form()
    commit = Commit()
    for course_id in COURSES:
        commit.add(CourseView(course_id, b"ann", None), asyncio.get_running_loop().create_future())
    async with Recorder(formed.url, Barrier("aof"), secrets.token_hex(4), cluster=True) as recorder:
        assert {None} == set((await recorder.record(commit)).values())
    assert 3 == len({formed.owner(keys.partition_of(course_id)) for course_id in COURSES})
    return formed


async def test_who_has_not_been_told_of_a_move_finds_out_and_goes_on(cluster: Cluster) -> None:
    course_id = COURSES[0]
    async with (
        Recorder(cluster.url, Barrier("aof"), secrets.token_hex(4), cluster=True) as recorder,
        HotStore(cluster.url, cluster=True) as hot,
    ):
        for views in (2, 3, 4):
            commit = Commit()
            commit.add(CourseView(course_id, b"ann", None), asyncio.get_running_loop().create_future())
            assert [None] == list((await recorder.record(commit)).values())
            assert [views] == [
                batch.counts["course_views"] for batch in (await hot.read(course_id)).batches if batch.counts
            ]
            await asyncio.to_thread(cluster.move, keys.partition_of(course_id))


async def views(database: AsyncDatabase[Document]) -> list[int]:
    """The views that MongoDB has of each course."""
    documents = await database[COURSE_ANALYTICS].find().sort("courseId").to_list()
    return [document.get("totalViews", 0) for document in documents]


async def test_what_is_in_quarantine_or_in_no_dirty_set_is_found_on_every_node(
    cluster: Cluster, start_on: StartOn, database: AsyncDatabase[Document]
) -> None:
    async def run(*arguments: str) -> tuple[int, str]:
        flusher = start_on(cluster, "flusher", *arguments)
        return await asyncio.to_thread(flusher.wait, PATIENCE), flusher.output()

    *refused, stray = COURSES
    analytics = database[COURSE_ANALYTICS]
    await analytics.insert_many([{"courseId": ObjectId(course), "totalViews": "many"} for course in refused])
    partition = keys.partition_of(stray)
    cluster.owner(partition).call("DEL", keys.dirty_courses(partition))

    code, found = await run("verify")
    assert (1, 2) == (code, found.count("is not in the dirty set"))  # the course and its day
    assert 3 == (await run("--once"))[0]
    assert "0 tallies dirty, 0 in flight, 5 batches quarantined" in (await run("status"))[1]

    await analytics.update_many({"totalViews": "many"}, {"$set": {"totalViews": 0}})
    assert 0 == (await run("replay"))[0]
    assert [1] * 6 == await views(database)


async def test_every_primary_must_be_fit(cluster: Cluster, database: AsyncDatabase[Document]) -> None:
    stores = Stores(cluster.url, database, Barrier("aof"), lock_ttl=2, redis_cluster=True)
    for primary in cluster.primaries:
        primary.call("CONFIG SET", "appendfsync", "no")
        async with Recorder(cluster.url, Barrier("aof"), secrets.token_hex(4), cluster=True) as recorder:
            with pytest.raises(UnsuitableRedis, match="set appendfsync always"):
                await recorder.probe()
        with pytest.raises(UnsuitableRedis, match="set appendfsync always"):
            await Flusher(stores).cycle(asyncio.Event())
        primary.call("CONFIG SET", "appendfsync", "always")
