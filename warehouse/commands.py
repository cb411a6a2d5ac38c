"""The commands of `python -m warehouse`: each returns its exit code."""

import asyncio
import sys

from pymongo.errors import PyMongoError

from shared.serving import endpoint, lifecycle
from shared.serving.errors import Unavailable
from shared.stores import mongo
from warehouse import server
from warehouse.audit import audit
from warehouse.kafka import NotDelivered, Publisher
from warehouse.settings import PlatformSettings, RelaySettings, StoreSettings
from warehouse.snapshot import Snapshot
from warehouse.source import MongoProgress, Source
from warehouse.store import Store

DIFFERENT = 1
AWAY = 3


async def serve(settings: PlatformSettings) -> int:
    """Follows the source, writes and answers, until a signal."""
    with endpoint.served(settings.warehouse_metrics_address):
        await server.serve(settings)
    return 0


async def relay(settings: RelaySettings) -> int:
    """Hands MongoDB's changes to Kafka, until a signal."""
    stop = lifecycle.stop_on_signal()
    with endpoint.served(settings.warehouse_metrics_address):
        async with mongo.connect(settings.mongo_url, program="relay") as client:
            database = mongo.database(client)
            publisher = Publisher(settings.kafka_brokers)
            generation = settings.warehouse_generation
            snapshot = Snapshot(database, generation=generation)
            source = Source(database, MongoProgress(database), publisher.deliver, snapshot, generation=generation)
            following = asyncio.create_task(
                lifecycle.Readiness().follow(mongodb=lambda: mongo.ping(client), kafka=publisher.check)
            )
            await source.follow(stop)
            following.cancel()
    return 0


async def snapshot(settings: RelaySettings) -> int:
    """Hands every document's totals to Kafka. Without Kafka the running program reads them by itself when it must."""
    async with mongo.connect(settings.mongo_url, program="snapshot") as client:
        taken = Snapshot(mongo.database(client), generation=settings.warehouse_generation)
        count = await taken.deliver(Publisher(settings.kafka_brokers).deliver)
    print(f"{count} records")
    return 0


async def check(settings: StoreSettings) -> int:
    """Compares the store with MongoDB: 0 equal, 1 with the first differences in words."""
    folder = settings.warehouse_dir
    if folder is not None and (folder / server.SOCKET).exists():
        reader, _ = await asyncio.open_unix_connection(folder / server.SOCKET)
        verdict, *lines = (await reader.read()).decode().split("\n")
        print("\n".join(lines))
        return 0 if verdict == "equal" else DIFFERENT
    async with mongo.connect(settings.mongo_url, program="audit") as client:
        store = await Store.open(url=settings.clickhouse_url, folder=folder)
        equal, lines = await audit(mongo.database(client), store)
    print("\n".join(lines))
    return 0 if equal else DIFFERENT


def away(error: Exception) -> int:
    """One line for a store that is away."""
    print(str(error).partition(", Timeout")[0], file=sys.stderr)
    return AWAY


STORES_AWAY = (PyMongoError, Unavailable, NotDelivered, OSError)
