"""The query server: `python -m query_server`. Configured by environment variables, see README."""

import asyncio
import sys
from contextlib import AsyncExitStack

from course_analytics.v1 import dashboard_pb2, dashboard_pb2_grpc

from query_server.cold import ColdStore
from query_server.hot import HotStore
from query_server.servicer import DashboardServicer
from shared import lifecycle, logs, mongo, program
from shared.auth import TokenVerifier
from shared.settings import ServerSettings, load

SERVICE = dashboard_pb2.DESCRIPTOR.services_by_name["DashboardService"].full_name


async def serve(settings: ServerSettings) -> None:
    """Runs the server until a signal. Raises CannotRun when it cannot listen."""
    stop = lifecycle.stop_on_signal()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(mongo.connect(settings.mongo_url, program="query"))
        hot_store = await stack.enter_async_context(HotStore(settings.redis_url))

        server, health = await lifecycle.grpc_server(settings.query_address, [SERVICE])
        stack.push_async_callback(server.stop, None)
        dashboard_pb2_grpc.add_DashboardServiceServicer_to_server(
            DashboardServicer(TokenVerifier.of(settings), hot_store, ColdStore(mongo.database(client))), server
        )
        readiness = lifecycle.Readiness(health, SERVICE)

        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(readiness.follow(hot_store.ping, lambda: client.admin.command("ping")))
            await lifecycle.serve_until(stop, server, health)
            following.cancel()


def main() -> int:
    """Entry point; returns the exit code."""
    program.command_line("analytics-query", "Shows instructors the live numbers of their courses.").parse_args()
    logs.configure()
    return program.run(lambda: serve(load(ServerSettings)))


if __name__ == "__main__":
    sys.exit(main())
