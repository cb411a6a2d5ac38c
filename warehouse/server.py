"""Wires the warehouse: it follows its source, writes, and answers."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import structlog
from course_analytics.v1 import platform_pb2
from pymongo.asynchronous.database import AsyncDatabase

from shared.identity.auth import TokenVerifier
from shared.serving import lifecycle, methods, tls
from shared.serving.errors import Unavailable
from shared.stores import mongo
from warehouse import audit, control, kafka, metrics
from warehouse.events import Events
from warehouse.servicer import PlatformServicer
from warehouse.settings import PlatformSettings, StoreSettings
from warehouse.sink import Sink, StoreProgress, known_tallies
from warehouse.snapshot import Snapshot
from warehouse.source import Source
from warehouse.store import Store

SERVICE = platform_pb2.DESCRIPTOR.services_by_name["PlatformService"]
RETRY_SECONDS = 1.0

log = structlog.get_logger()


async def serve(settings: PlatformSettings) -> None:
    """Runs until a signal. Raises CannotRun."""
    stop = lifecycle.stop_on_signal()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(mongo.connect(settings.mongo_url, program="warehouse"))
        database = mongo.database(client)
        store = await opened(settings, stop)
        if store is None:
            return
        stack.push_async_callback(store.close)
        verifier = TokenVerifier.of(settings)
        server, health = await lifecycle.grpc_server(
            settings.warehouse_address,
            [SERVICE.full_name],
            shared_port=False,
            credentials=tls.server_credentials(settings),
        )
        stack.push_async_callback(server.stop, None)
        calls = methods.add(SERVICE, PlatformServicer(store, database, settings.day_zone), server, verifier)
        readiness = lifecycle.Readiness(health, SERVICE.full_name)
        commands = commands_of(settings, database, store)
        await stack.enter_async_context(control.answering(settings.warehouse_dir, commands))
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(follow(settings, database, store, stop))
            renewing = tasks.create_task(verifier.follow_keys())
            following = tasks.create_task(
                readiness.follow(
                    clickhouse=lambda: store.query("SELECT 1"),
                    mongodb=lambda: mongo.ping(client),
                    keys=verifier.check_keys,
                )
            )
            await lifecycle.serve_until(stop, server, readiness, calls)
            await writing
            following.cancel()
            renewing.cancel()


async def opened(settings: StoreSettings, stop: asyncio.Event) -> Store | None:
    """The store, once it answers; None if `stop` comes first. Raises CannotRun."""
    while not stop.is_set():
        try:
            return await Store.open(url=settings.clickhouse_url, folder=settings.warehouse_dir)
        except Unavailable as error:
            metrics.STORE_AWAY.inc()
            log.warning("not ready", reason=str(error)[:500])
            await asyncio.sleep(RETRY_SECONDS)
    return None


async def follow(
    settings: StoreSettings, database: AsyncDatabase[dict[str, Any]], store: Store, stop: asyncio.Event
) -> None:
    """Writes records from Kafka, or without Kafka from the change stream, until `stop`."""
    sink = Sink(store)
    if settings.kafka_brokers:
        await kafka.Subscriber(settings.kafka(), sink).follow(stop)
        return
    generation = settings.warehouse_generation
    snapshot = Snapshot(database, generation=generation, known=lambda: known_tallies(store))
    source = Source(database, StoreProgress(store), sink.deliver, snapshot, Events(database, generation))
    await source.follow(stop)


def commands_of(
    settings: StoreSettings, database: AsyncDatabase[dict[str, Any]], store: Store
) -> Mapping[str, control.Command]:
    """The requests that other processes may send."""

    async def compared() -> str:
        return audit.in_words(*await audit.audit(database, store))

    async def taken() -> str:
        snapshot = Snapshot(database, generation=settings.warehouse_generation, known=lambda: known_tallies(store))
        return f"{await snapshot.count(Sink(store).deliver)} records"

    return {"audit": compared, "snapshot": taken}
