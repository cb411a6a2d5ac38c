"""The whole service on one machine: its processes, their settings, and their order."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from devstack.child import HOST, Child, free_port
from devstack.gateway import NOBODY, local_gateway
from devstack.programs import Program
from devstack.servers import EnvoyServer, MongoServer, RedisServer
from shared.setting_names import PREFIX

# Short, so that a person sees counts move from Redis to MongoDB; 300 s by default.
FLUSH_INTERVAL_SECONDS = 15

# Settings that the user's environment may not override: the stack creates the stores, the addresses and the tokens.
SET_HERE = frozenset(
    f"{PREFIX}{name}"
    for name in (
        "REDIS_URL",
        "REDIS_CLUSTER",
        "MONGO_URL",
        "INGEST_ADDRESS",
        "QUERY_ADDRESS",
        "INGEST_METRICS_ADDRESS",
        "QUERY_METRICS_ADDRESS",
        "FLUSHER_METRICS_ADDRESS",
        "WAREHOUSE_ADDRESS",
        "WAREHOUSE_METRICS_ADDRESS",
        "WAREHOUSE_DIR",
        "CLICKHOUSE_URL",
        "KAFKA_BROKERS",
        "SECRETS_DIR",
    )
)
ABOUT_TOKENS_AND_TLS = (f"{PREFIX}JWT_", f"{PREFIX}TLS_")
FOR_TESTS = f"{PREFIX}TEST_"


@dataclass(frozen=True, slots=True)
class Ports:
    """The public ports of the stack on 127.0.0.1; the stores take free ports."""

    gateway: int
    ingest: int
    query: int
    warehouse: int = 50053


@dataclass(frozen=True, slots=True)
class Stack:
    """The processes in the order in which they start; what others need starts first and stops last.

    `metrics` has the metrics address of each program, `flush_interval` the seconds between two flushes.
    """

    mongo: MongoServer
    redis: RedisServer
    flusher: Program
    ingest: Program
    query: Program
    warehouse: Program | None
    gateway: EnvoyServer
    metrics: Mapping[str, str]
    flush_interval: str

    @property
    def children(self) -> tuple[Child, ...]:
        """All processes in order."""
        warehouse = (self.warehouse,) if self.warehouse else ()
        return self.mongo, self.redis, self.flusher, self.ingest, self.query, *warehouse, self.gateway


def settings_of(environment: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The user's own settings for the programs, and the names of those that the stack sets itself."""
    names = sorted(name for name in environment if name.startswith(PREFIX) and not name.startswith(FOR_TESTS))
    ignored = [name for name in names if name in SET_HERE or name.startswith(ABOUT_TOKENS_AND_TLS)]
    return {name: environment[name] for name in names if name not in ignored}, ignored


def local_stack(
    folder: Path,
    ports: Ports,
    jwt_secret: str,
    given: Mapping[str, str] = MappingProxyType({}),
    *,
    with_warehouse: bool = False,
) -> Stack:
    """The stack with its data and logs below `folder`; nothing is started yet.

    `given` are further settings of the programs, with their full names.
    """
    mongo = MongoServer(folder / "mongod")
    redis = RedisServer(folder / "valkey")
    metrics = {name: f"{HOST}:{free_port()}" for name in ("flusher", "ingest", "query")}
    settings = {
        "ANALYTICS_REDIS_URL": redis.url,
        "ANALYTICS_MONGO_URL": mongo.url(),
        "ANALYTICS_INGEST_ADDRESS": f"{HOST}:{ports.ingest}",
        "ANALYTICS_QUERY_ADDRESS": f"{HOST}:{ports.query}",
        **{f"ANALYTICS_{name.upper()}_METRICS_ADDRESS": address for name, address in metrics.items()},
        "ANALYTICS_FLUSH_INTERVAL_SECONDS": str(FLUSH_INTERVAL_SECONDS),
        **given,
    }
    flusher = Program("flusher", folder, settings)  # it verifies no tokens, so it does not get the secret
    settings["ANALYTICS_JWT_SECRET"] = jwt_secret
    ingest, query = (Program(module, folder, settings) for module in ("ingest_server", "query_server"))
    warehouse = None
    if with_warehouse:
        metrics["warehouse"] = f"{HOST}:{free_port()}"
        of_its_own = {
            "ANALYTICS_WAREHOUSE_ADDRESS": f"{HOST}:{ports.warehouse}",
            "ANALYTICS_WAREHOUSE_METRICS_ADDRESS": metrics["warehouse"],
            "ANALYTICS_WAREHOUSE_DIR": str(folder / "clickhouse"),
        }
        warehouse = Program("warehouse", folder, {**settings, **of_its_own})
    gateway = local_gateway(
        folder / "envoy",
        port=ports.gateway,
        ingest=ingest.address,
        query=query.address,
        warehouse=warehouse.address if warehouse else NOBODY,
    )
    interval = settings["ANALYTICS_FLUSH_INTERVAL_SECONDS"]
    return Stack(mongo, redis, flusher, ingest, query, warehouse, gateway, metrics, interval)
