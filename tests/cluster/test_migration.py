"""Slots move from node to node under traffic and flushes."""

import asyncio
from collections.abc import Callable

from pymongo.asynchronous.database import AsyncDatabase

from flusher.steps.take import ELSEWHERE
from shared.data import keys
from shared.stores.mongo import Document
from tests.cluster.conftest import StartOn, flush_the_rest
from tests.cluster.nodes import Cluster
from tests.cluster.traffic import courses_of_partitions, traffic, write_courses
from tests.servers import PATIENCE

COURSES = courses_of_partitions(range(12))
MOVED = range(0, 12, 3)  # which have readers too


async def test_while_slots_move_nothing_is_lost_or_counted_twice_and_the_dashboard_is_right(
    launch_cluster: Callable[..., Cluster], start_on: StartOn, database: AsyncDatabase[Document]
) -> None:
    cluster = launch_cluster()
    cluster.form()
    await write_courses(database, COURSES)
    ingest, query = start_on(cluster, "ingest_server"), start_on(cluster, "query_server")
    flusher = start_on(cluster, "flusher")

    async with traffic(ingest, query, COURSES) as busy:
        await busy.goes_on()
        owners = [cluster.owner(partition) for partition in MOVED]
        assert 3 == len(set(owners))
        loop = asyncio.get_running_loop()

        def met_by_everybody() -> None:
            refused = busy.refused
            wait = busy.until(lambda: busy.refused > refused and ELSEWHERE in flusher.output())
            asyncio.run_coroutine_threadsafe(wait, loop).result()

        await asyncio.to_thread(cluster.move, MOVED[0], met_by_everybody)
        for partition in MOVED[1:]:
            await asyncio.to_thread(cluster.move, partition)
            await busy.goes_on()
        assert all(cluster.owner(partition) != before for partition, before in zip(MOVED, owners, strict=True))

        await busy.rests()
        assert busy.expected() == await busy.shown()
        assert 0 == await asyncio.to_thread(flusher.stop)
        await flush_the_rest(lambda: start_on(cluster, "flusher", "--once"))
        assert busy.expected() == await busy.flushed(database)
        assert 0 == await asyncio.to_thread(start_on(cluster, "flusher", "verify").wait, PATIENCE)
    assert all(not node.call("SMEMBERS", keys.dirty_courses(p)) for p in range(12) for node in [cluster.owner(p)])
