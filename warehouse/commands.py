"""The commands of `python -m warehouse`: each returns its exit code."""

import asyncio
import os
import sys
from collections.abc import Sequence

from pymongo.errors import PyMongoError

from shared.serving import endpoint, lifecycle
from shared.serving.errors import Unavailable
from shared.stores import mongo
from warehouse import audit, control, server
from warehouse.events import Events
from warehouse.kafka import NotDelivered, Publisher
from warehouse.settings import PlatformSettings, RelaySettings, SnapshotSettings, StoreSettings, WarehouseSettings
from warehouse.sink import Sink, known_tallies
from warehouse.snapshot import Deliver, Known, Snapshot
from warehouse.source import MongoProgress, Source
from warehouse.store import Store

DIFFERENT = 1
AWAY = 3
# The relay may be late, a flush may not: on a shared machine the relay gets only spare CPU time.
NICENESS = 10


async def serve(settings: PlatformSettings) -> int:
    """Follows the source, writes and answers, until a signal."""
    with endpoint.served(settings.warehouse_metrics_address):
        await server.serve(settings)
    return 0


async def relay(settings: RelaySettings) -> int:
    """Publishes MongoDB's changes to Kafka, until a signal."""
    os.nice(NICENESS)
    stop = lifecycle.stop_on_signal()
    with endpoint.served(settings.warehouse_metrics_address):
        async with mongo.connect(settings.mongo_url, program="relay") as client:
            database = mongo.database(client)
            publisher = Publisher(settings.kafka())
            generation = settings.warehouse_generation
            snapshot = Snapshot(database, generation=generation, known=known_to(settings))
            source = Source(
                database, MongoProgress(database), publisher.deliver, snapshot, Events(database, generation)
            )
            following = asyncio.create_task(
                lifecycle.Readiness().follow(mongodb=lambda: mongo.ping(client), kafka=publisher.check)
            )
            await source.follow(stop)
            following.cancel()
    return 0


async def snapshot(settings: SnapshotSettings) -> int:
    """Publishes every document's totals to Kafka; without Kafka, writes them into the store."""
    answer = None if settings.kafka_brokers else await control.ask(settings.warehouse_dir, "snapshot")
    if answer is None:
        async with mongo.connect(settings.mongo_url, program="snapshot") as client:
            deliver, known = await _target(settings)
            taken = Snapshot(mongo.database(client), generation=settings.warehouse_generation, known=known)
            answer = f"{await taken.count(deliver)} records"
    print(answer)
    return 0


async def check(settings: StoreSettings) -> int:
    """Compares the store with MongoDB: 0 equal, 1 with the first differences in words."""
    answer = await control.ask(settings.warehouse_dir, "audit")
    if answer is None:
        async with mongo.connect(settings.mongo_url, program="audit") as client:
            store = await _opened(settings)
            answer = audit.in_words(*await audit.audit(mongo.database(client), store))
    verdict, _, lines = answer.partition("\n")
    print(lines)
    return 0 if verdict == audit.EQUAL else DIFFERENT


async def _target(settings: SnapshotSettings) -> tuple[Deliver, Known | None]:
    """What receives the records, and what lists the tallies in the store."""
    if settings.kafka_brokers:
        return Publisher(settings.kafka()).deliver, known_to(settings)
    store = await _opened(settings)
    return Sink(store).deliver, lambda: known_tallies(store)


def known_to(settings: WarehouseSettings) -> Known | None:
    """What lists the tallies of the ClickHouse behind Kafka, if the relay has its address."""
    if settings.clickhouse_url is None:
        return None

    async def known() -> Sequence[str]:
        store = await _opened(settings)
        try:
            return await known_tallies(store)
        finally:
            await store.close()

    return known


async def _opened(settings: WarehouseSettings) -> Store:
    return await Store.open(url=settings.clickhouse_url, folder=settings.warehouse_dir)


def away(error: Exception) -> int:
    """Prints one line about an unavailable store."""
    print(str(error).partition(", Timeout")[0], file=sys.stderr)
    return AWAY


STORES_AWAY = (PyMongoError, Unavailable, NotDelivered, OSError)
