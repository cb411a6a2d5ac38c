"""A primary is killed and its replica takes over; and a cluster that is formed only after the programs have started."""

import asyncio
from collections.abc import Callable

from pymongo.asynchronous.database import AsyncDatabase

from devstack.child import wait_until
from shared.stores.mongo import Document
from tests.cluster.conftest import StartOn, flush_the_rest
from tests.cluster.nodes import Cluster
from tests.cluster.traffic import courses_of_partitions, traffic, write_courses
from tests.servers import PATIENCE

COURSES = courses_of_partitions(range(12))


async def test_when_a_replica_is_promoted_the_programs_go_on_and_every_count_is_there_once(
    launch_cluster: Callable[..., Cluster], start_on: StartOn, database: AsyncDatabase[Document]
) -> None:
    cluster = launch_cluster(replicas=True)
    cluster.form()
    await write_courses(database, COURSES)
    barrier = {"flush_barrier": "replicas:1"}
    ingest, query = start_on(cluster, "ingest_server", **barrier), start_on(cluster, "query_server")
    flusher = start_on(cluster, "flusher", **barrier)
    victim = cluster.primaries[0]  # the one that the programs' settings name

    async with traffic(ingest, query, COURSES) as busy:
        await busy.goes_on()
        # Replication is asynchronous: what the replica has not received would be lost, as is documented.
        await busy.rests()
        await asyncio.to_thread(victim.catch_up)
        partition = victim.a_partition()
        victim.kill()
        busy.open.set()

        await busy.goes_on()

        assert busy.refused
        assert victim is not cluster.owner(partition)
        await asyncio.to_thread(victim.start)
        await asyncio.to_thread(cluster.wait_until_well)
        await busy.goes_on()
        await busy.rests()
        assert busy.expected() == await busy.shown()
        await busy.until(lambda: '"cycle"' in flusher.output())  # it may have been slow to start
        assert 0 == await asyncio.to_thread(flusher.stop)
        await flush_the_rest(lambda: start_on(cluster, "flusher", "--once", **barrier))
        assert busy.expected() == await busy.flushed(database)


async def test_programs_that_start_before_the_cluster_is_formed_wait_for_it(
    launch_cluster: Callable[..., Cluster], start_on: StartOn, database: AsyncDatabase[Document]
) -> None:
    cluster = launch_cluster()
    await write_courses(database, COURSES)
    ingest, query = start_on(cluster, "ingest_server", wait=False), start_on(cluster, "query_server", wait=False)
    flusher = start_on(cluster, "flusher", "--once")
    for server in (ingest, query):
        wait_until(lambda server=server: "cluster is not whole" in server.output(), PATIENCE, "not missed")  # type: ignore[misc] # a bound default
        assert not server.ready()
    assert 3 == await asyncio.to_thread(flusher.wait, PATIENCE)

    await asyncio.to_thread(cluster.form)

    for server in (ingest, query):
        await asyncio.to_thread(server.wait_until_ready, PATIENCE)
    async with traffic(ingest, query, COURSES) as busy:
        await busy.goes_on()
        await busy.rests()
        assert busy.expected() == await busy.shown()
