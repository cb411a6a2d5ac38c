"""The whole service on one machine: which processes there are, with which settings, in which order."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devstack.child import HOST, Child, free_port
from devstack.gateway import local_gateway
from devstack.programs import Program
from devstack.servers import EnvoyServer, MongoServer, RedisServer

# Short, so that a person sees counts move from Redis to MongoDB; 300 s by default.
FLUSH_INTERVAL_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Ports:
    """Where on 127.0.0.1 the outside of the stack is; the stores take free ports."""

    gateway: int
    ingest: int
    query: int


@dataclass(frozen=True, slots=True)
class Stack:
    """The processes in the order in which they start; what others need starts first and stops last.

    `metrics` says where which program shows its own.
    """

    mongo: MongoServer
    redis: RedisServer
    flusher: Program
    ingest: Program
    query: Program
    gateway: EnvoyServer
    metrics: Mapping[str, str]

    @property
    def children(self) -> tuple[Child, ...]:
        """All processes in order."""
        return self.mongo, self.redis, self.flusher, self.ingest, self.query, self.gateway


def local_stack(folder: Path, ports: Ports, jwt_secret: str) -> Stack:
    """The stack with its data and logs below `folder`; nothing is started yet."""
    mongo = MongoServer(folder / "mongod")
    redis = RedisServer(folder / "valkey")
    metrics = {name: f"{HOST}:{free_port()}" for name in ("flusher", "ingest", "query")}
    settings = {
        "ANALYTICS_REDIS_URL": redis.url,
        "ANALYTICS_MONGO_URL": mongo.url(),
        "ANALYTICS_INGEST_ADDRESS": f"{HOST}:{ports.ingest}",
        "ANALYTICS_QUERY_ADDRESS": f"{HOST}:{ports.query}",
        **{f"ANALYTICS_{name.upper()}_METRICS_ADDRESS": address for name, address in metrics.items()},
        "ANALYTICS_JWT_SECRET": jwt_secret,
        "ANALYTICS_FLUSH_INTERVAL_SECONDS": str(FLUSH_INTERVAL_SECONDS),
    }
    flusher, ingest, query = (
        Program(module, folder, settings) for module in ("flusher", "ingest_server", "query_server")
    )
    gateway = local_gateway(folder / "envoy", port=ports.gateway, ingest=ingest.address, query=query.address)
    return Stack(mongo, redis, flusher, ingest, query, gateway, metrics)
