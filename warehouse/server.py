"""The warehouse put together: it follows its source, writes, and answers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from course_analytics.v1 import platform_pb2
from pymongo.asynchronous.database import AsyncDatabase

from shared.identity.auth import TokenVerifier
from shared.serving import lifecycle, methods, tls
from shared.serving.errors import Unavailable
from shared.stores import mongo
from warehouse import kafka, metrics
from warehouse.audit import audit
from warehouse.record import Record
from warehouse.servicer import PlatformServicer
from warehouse.settings import PlatformSettings, StoreSettings
from warehouse.sink import Sink, StoreProgress, known_tallies
from warehouse.snapshot import Snapshot
from warehouse.source import Source
from warehouse.store import Store

SERVICE = platform_pb2.DESCRIPTOR.services_by_name["PlatformService"]
RETRY_SECONDS = 1.0
SOCKET = "audit.sock"

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
        methods.add(SERVICE, PlatformServicer(store, database, settings.day_zone), server, verifier)
        readiness = lifecycle.Readiness(health, SERVICE.full_name)
        await stack.enter_async_context(audited(settings.warehouse_dir, database, store))
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
            await lifecycle.serve_until(stop, server, readiness)
            await writing
            following.cancel()
            renewing.cancel()


async def opened(settings: StoreSettings, stop: asyncio.Event) -> Store | None:
    """The store, as soon as it answers; None when `stop` came first. Raises CannotRun."""
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
    """Writes what comes from Kafka, or from the change stream where there is none, until `stop`."""
    sink = Sink(store)
    if settings.kafka_brokers:
        await kafka.Subscriber(settings.kafka_brokers, sink).follow(stop)
        return

    async def deliver(records: Sequence[Record]) -> None:
        refused = await sink.write(records)
        if refused:
            metrics.REJECTED.inc(len(refused))
            log.error("records rejected", records=len(refused), reason=refused[0][1])

    snapshot = Snapshot(database, generation=settings.warehouse_generation, known=lambda: known_tallies(store))
    source = Source(database, StoreProgress(store), deliver, snapshot, generation=settings.warehouse_generation)
    await source.follow(stop)


@asynccontextmanager
async def audited(folder: Path | None, database: AsyncDatabase[dict[str, Any]], store: Store) -> AsyncIterator[None]:
    """Answers the audit of another process, at a socket in the store's folder: one process owns that folder."""
    if folder is None:
        yield
        return

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            equal, lines = await audit(database, store)
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            equal, lines = False, [f"the audit ended early: {error}"]
        writer.write("\n".join(["equal" if equal else "different", *lines]).encode())
        writer.close()

    path = folder / SOCKET
    path.unlink(missing_ok=True)
    async with await asyncio.start_unix_server(answer, path):
        path.chmod(0o600)
        yield
    path.unlink(missing_ok=True)
