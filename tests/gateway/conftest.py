import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack.child import free_port
from devstack.gateway import local_gateway
from devstack.programs import Program
from devstack.seed import DEMO_COURSE, Course, Lecture, Section
from devstack.servers import EnvoyServer
from devstack.tokens import mint
from tests.servers import JWT_SECRET, running
from tests.stage import gateway_before, platform, servers

LARGE_COURSE = Course(
    id="660000000000000000000001",
    title="A very long course",
    creator=DEMO_COURSE.creator,
    sections=(
        Section(
            id="660000000000000000000002",
            lectures=tuple(
                Lecture(f"6600000000000000000{n:05x}", f"Lecture {n} {'x' * 2000}") for n in range(16, 1016)
            ),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Service:
    """The two servers and the gateway in front of them, with the demo course."""

    gateway: EnvoyServer
    ingest: Program
    query: Program
    redis_url: str
    mongo_url: str


@pytest.fixture(scope="package")
def service(
    tmp_path_factory: pytest.TempPathFactory, redis_server_url: str, mongo_server_url: str
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("gateway")
    with ExitStack() as stack:
        mongo_url = stack.enter_context(platform(mongo_server_url, DEMO_COURSE, LARGE_COURSE))
        ingest, query = stack.enter_context(servers(folder, redis_url=redis_server_url, mongo_url=mongo_url))
        gateway = stack.enter_context(gateway_before(ingest, query, folder))
        yield Service(gateway, ingest, query, redis_server_url, mongo_url)


def gateway_of(
    folder: Path, *, ingest: str | None = None, query: str | None = None, change: Callable[[str], str] | None = None
) -> EnvoyServer:
    """A gateway, not yet started. A server not given is away; `change` may change the text of the configuration."""
    away = f"127.0.0.1:{free_port()}"
    gateway = local_gateway(folder, port=free_port(), ingest=ingest or away, query=query or away)
    if change:
        file = folder / "envoy.yaml"
        file.write_text(change(file.read_text()))
    return gateway


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[Callable[..., EnvoyServer]]:
    """Starts a gateway of the test's own: `start_gateway(ingest="127.0.0.1:5001")`, as `gateway_of` makes it."""
    with ExitStack() as stack:

        def start(**given: Any) -> EnvoyServer:
            return stack.enter_context(running(gateway_of(tmp_path / "envoy", **given)))

        yield start


@contextmanager
def caller(gateway: EnvoyServer, user: str) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {mint(JWT_SECRET, user)}"}
    with httpx.Client(base_url=gateway.url, headers=headers, trust_env=False, timeout=8) as client:
        yield client


@pytest.fixture
def learner(service: Service) -> Iterator[httpx.Client]:
    """Calls the gateway as a learner whom nobody has seen before."""
    with caller(service.gateway, f"learner-{secrets.token_hex(4)}") as client:
        yield client


@pytest.fixture
def instructor(service: Service) -> Iterator[httpx.Client]:
    """Calls the gateway as the creator of both courses."""
    with caller(service.gateway, DEMO_COURSE.creator) as client:
        yield client
