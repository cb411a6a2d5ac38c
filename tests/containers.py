"""The stores from container images, for machines where Docker runs and the person asks for it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pymongo import MongoClient
from testcontainers.core.container import DockerContainer
from testcontainers.kafka import KafkaContainer

from devstack.child import wait_until
from devstack.servers import REDIS_OPTIONS, REPLICA_SET, answers_ping, has_replica_set, is_primary
from tests.servers import answers_http

START_SECONDS = 60
REDIS_IMAGES = {"valkey": "valkey/valkey:9", "redis": "redis:8"}


@contextmanager
def redis_container(flavour: str) -> Iterator[str]:
    """The address of a Redis in a container, configured as the packaged one is."""
    options = [word for name, value in REDIS_OPTIONS.items() for word in (f"--{name}", value.strip('"'))]
    container = DockerContainer(REDIS_IMAGES[flavour])
    container.with_command([f"{flavour}-server", *options]).with_exposed_ports(6379)
    with container:
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(6379))
        wait_until(lambda: answers_ping(host, port), START_SECONDS, f"{flavour} did not answer")
        yield f"redis://{host}:{port}/0"


@contextmanager
def kafka_container() -> Iterator[str]:
    """The address of a Kafka of one broker in a container."""
    with KafkaContainer().with_kraft() as container:
        yield str(container.get_bootstrap_server())


@contextmanager
def clickhouse_container() -> Iterator[str]:
    """The address of a ClickHouse in a container, as its HTTP interface."""
    container = DockerContainer("clickhouse/clickhouse-server:26.3")
    container.with_env("CLICKHOUSE_SKIP_USER_SETUP", "1").with_exposed_ports(8123)
    with container:
        url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(8123)}"
        wait_until(lambda: answers_http(f"{url}/ping"), START_SECONDS, "ClickHouse did not answer")
        yield url


@contextmanager
def mongo_container() -> Iterator[str]:
    """The address of a replica set of one in a container.

    A direct connection, because the address that the set knows itself by is inside the container.
    """
    container = DockerContainer("mongo:8")
    container.with_command(["--replSet", REPLICA_SET, "--bind_ip_all"]).with_exposed_ports(27017)
    with container:
        url = (
            f"mongodb://{container.get_container_host_ip()}:{container.get_exposed_port(27017)}/?directConnection=true"
        )
        with MongoClient[Mapping[str, object]](url, serverSelectionTimeoutMS=500) as client:
            wait_until(lambda: has_replica_set(client, "127.0.0.1:27017"), START_SECONDS, "MongoDB had no replica set")
            wait_until(lambda: is_primary(client), START_SECONDS, "MongoDB was not the primary")
        yield url
