"""Wires the query server: creates every dependency and passes it on."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

from course_analytics.v1 import dashboard_pb2
from pymongo import AsyncMongoClient

from query_server.cold import ColdStore
from query_server.courses import Courses
from query_server.hot import HotStore
from query_server.reports import Reports
from query_server.servicer import DashboardServicer
from query_server.stretches import Stretches
from shared.identity.auth import TokenVerifier
from shared.serving import lifecycle, methods, tls
from shared.settings import ServerSettings
from shared.stores import day_zone, mongo

SERVICE = dashboard_pb2.DESCRIPTOR.services_by_name["DashboardService"]


async def serve(settings: ServerSettings, shared_port: bool) -> None:  # noqa: FBT001 - as workers.Serve calls it
    """Runs the server until a signal.

    Raises CannotRun when it cannot listen, when Redis is a cluster and should not be (or the reverse), and when the
    days of this installation have another zone.
    """
    stop = lifecycle.stop_on_signal()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(mongo.connect(settings.mongo_url, program="query"))
        hot_store = await stack.enter_async_context(HotStore(settings.redis_url, cluster=settings.redis_cluster))

        verifier = TokenVerifier.of(settings)

        server, health = await lifecycle.grpc_server(
            settings.query_address,
            [SERVICE.full_name],
            shared_port=shared_port,
            credentials=tls.server_credentials(settings),
        )
        stack.push_async_callback(server.stop, None)
        # One thread: two that compute would keep the GIL from the event loop for twice as long.
        aside = stack.enter_context(ThreadPoolExecutor(max_workers=1, thread_name_prefix="adds-up"))
        cold_store = ColdStore(mongo.database(client))
        reports = Reports(hot_store, cold_store, Stretches(cold_store, aside), settings.day_zone)
        courses = Courses(hot_store, cold_store, settings.day_zone, aside)
        servicer = DashboardServicer(hot_store, cold_store, reports, courses, aside)
        calls = methods.add(SERVICE, servicer, server, verifier)
        readiness = lifecycle.Readiness(health, SERVICE.full_name)

        async with asyncio.TaskGroup() as tasks:
            renewing = tasks.create_task(verifier.follow_keys())
            tasks.create_task(day_zone.compare(mongo.database(client), settings.day_zone, stop))
            following = tasks.create_task(follow_stores(hot_store, client, verifier, readiness))
            await lifecycle.serve_until(stop, server, readiness, calls)
            following.cancel()
            renewing.cancel()


async def follow_stores(
    hot_store: HotStore,
    client: AsyncMongoClient[mongo.Document],
    verifier: TokenVerifier,
    readiness: lifecycle.Readiness,
) -> None:
    """Follows the stores and the keys with the readiness. Raises CannotRun from the first contact with Redis."""
    probes = {"redis": hot_store.ping, "mongodb": lambda: mongo.ping(client), "keys": verifier.check_keys}
    await readiness.until_first_contact(**probes)
    await readiness.follow(**probes)
