"""The whole service without the gateway, several of each program, and the killing of all of them."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from devstack.child import HOST, Child, free_port
from devstack.programs import Program
from devstack.seed import Course, write_course
from devstack.servers import MongoServer, RedisServer
from tests.chaos.ledger import Audit

INGEST_SERVERS = 2
FLUSHERS = 3
RELAYS = 2
PAUSE_SECONDS = (0.2, 1.5)
# Shorter than a paused flusher's nap, so that it wakes up behind its lock.
LOCK_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Stage:
    """The processes."""

    redis: RedisServer
    mongo: MongoServer
    ingest: tuple[Program, ...]
    flushers: tuple[Program, ...]
    query: Program
    warehouse: tuple[Program, ...]  # two relays, and the program that writes and answers; none without a Kafka
    settings: dict[str, str]

    @property
    def servers(self) -> tuple[Child, ...]:
        """Everything but the flushers; the stores less often, because their restart stops the traffic."""
        return (*self.ingest, *self.ingest, self.query, self.redis, self.mongo)

    @property
    def children(self) -> tuple[Child, ...]:
        """Every process once, in the order of starting."""
        return (self.redis, self.mongo, *self.ingest, *self.flushers, self.query, *self.warehouse)


def stage(folder: Path, secret: str, flush_seconds: float, kafka: str | None = None) -> Stage:
    """The processes with their data below `folder`, flushing so often; nothing is started yet.

    With a Kafka there is a warehouse.
    """
    redis, mongo = RedisServer(folder / "redis"), MongoServer(folder / "mongod")
    settings = {
        "ANALYTICS_REDIS_URL": redis.url,
        "ANALYTICS_MONGO_URL": mongo.url(),
        "ANALYTICS_JWT_SECRET": secret,
        "ANALYTICS_FLUSH_INTERVAL_SECONDS": str(flush_seconds),
        "ANALYTICS_FLUSH_LOCK_TTL_SECONDS": str(LOCK_SECONDS),
    }
    ingest = tuple(
        Program("ingest_server", folder / f"ingest-{n}", {**settings, "ANALYTICS_INGEST_ADDRESS": _address()})
        for n in range(INGEST_SERVERS)
    )
    flushers = tuple(Program("flusher", folder / f"flusher-{n}", settings) for n in range(FLUSHERS))
    query = Program("query_server", folder / "query", {**settings, "ANALYTICS_QUERY_ADDRESS": _address()})
    warehouse: tuple[Program, ...] = ()
    if kafka is not None:
        settings["ANALYTICS_KAFKA_BROKERS"] = kafka
        settings["ANALYTICS_WAREHOUSE_DIR"] = str(folder / "clickhouse")
        relays = (Program("warehouse", folder / f"relay-{n}", settings, "relay") for n in range(RELAYS))
        answering = {**settings, "ANALYTICS_WAREHOUSE_ADDRESS": _address()}
        warehouse = (*relays, Program("warehouse", folder / "warehouse", answering))
    return Stage(redis, mongo, ingest, flushers, query, warehouse, settings)


def _address() -> str:
    return f"{HOST}:{free_port()}"


def write(actors: Stage, courses: Sequence[Course]) -> None:
    """Makes the platform have these courses."""
    with MongoClient[Mapping[str, Any]](actors.mongo.url()) as client:
        for each in courses:
            write_course(client.get_default_database(), each)


async def kill_until(stop: asyncio.Event, victims: Sequence[Child], audit: Audit) -> None:
    """Kills, or freezes for a while, one of the victims after another; each is back before the next is chosen."""
    while not stop.is_set():
        victim = random.choice(victims)
        if random.random() < 0.3:
            victim.pause()
            await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
            victim.resume()
        else:
            victim.kill()
            await asyncio.sleep(random.uniform(0, 0.5))
            victim.launch()
            await asyncio.to_thread(victim.wait_until_ready, 30)
        audit.kills += 1
        await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
