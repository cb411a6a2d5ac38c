"""The query server put together: every dependency is made here, and handed on."""

import asyncio
from contextlib import AsyncExitStack

from course_analytics.v1 import dashboard_pb2, dashboard_pb2_grpc

from query_server.cold import ColdStore
from query_server.hot import HotStore
from query_server.servicer import DashboardServicer
from shared import lifecycle, mongo
from shared.auth import TokenVerifier
from shared.settings import ServerSettings

SERVICE = dashboard_pb2.DESCRIPTOR.services_by_name["DashboardService"].full_name


async def serve(settings: ServerSettings, shared_port: bool) -> None:  # noqa: FBT001 - as workers.Serve calls it
    """Runs the server until a signal. Raises CannotRun when it cannot listen."""
    stop = lifecycle.stop_on_signal()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(mongo.connect(settings.mongo_url, program="query"))
        hot_store = await stack.enter_async_context(HotStore(settings.redis_url, cluster=settings.redis_cluster))

        server, health = await lifecycle.grpc_server(settings.query_address, [SERVICE], shared_port=shared_port)
        stack.push_async_callback(server.stop, None)
        dashboard_pb2_grpc.add_DashboardServiceServicer_to_server(
            DashboardServicer(TokenVerifier.of(settings), hot_store, ColdStore(mongo.database(client))), server
        )
        readiness = lifecycle.Readiness(health, SERVICE)

        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(
                readiness.follow(redis=hot_store.ping, mongodb=lambda: client.admin.command("ping"))
            )
            await lifecycle.serve_until(stop, server, readiness)
            following.cancel()
