"""One service for the whole package. Whatever a test does to it, it goes on, and has no error to report."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import redis

from devstack.programs import is_serving
from devstack.seed import DEMO_COURSE
from devstack.servers import RedisServer
from tests.ingest_server.stored import Stored
from tests.security.stage import USER_HASH_KEY, Attacker, Service
from tests.servers import FLAVOUR, running
from tests.stage import gateway_before, platform, servers

# What a log has when the fault is ours.
SIGNS = ('"level": "error"', '"level": "critical"', "Traceback", "never retrieved", "Unexpected")


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory, mongo_server_url: str) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("security")
    with ExitStack() as stack:
        mongo_url = stack.enter_context(platform(mongo_server_url, DEMO_COURSE))
        server = stack.enter_context(running(RedisServer(folder / "redis", flavour=FLAVOUR)))
        stores = {"redis_url": server.url, "mongo_url": mongo_url}
        # The credit is more than any test uses up: what bounding watch time stores of a person is looked at too.
        bounded = servers(folder, user_hash_key=USER_HASH_KEY, watch_credit_seconds=86_400, **stores)
        ingest, query = stack.enter_context(bounded)
        gateway = stack.enter_context(gateway_before(ingest, query, folder))
        yield Service(ingest, query, gateway, server.url, folder / "redis", mongo_url)
        assert [True, True] == [is_serving(each.address) for each in (ingest, query)], "after all that"


@pytest.fixture(scope="package")
def redis_client(service: Service) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(service.redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def stored(redis_client: "redis.Redis") -> Stored:
    """What is in Redis, where nothing was when the test began."""
    if redis_client.dbsize():
        redis_client.flushdb()
    return Stored(redis_client)


@pytest.fixture(autouse=True)
def _has_no_error_to_report(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "service" in request.fixturenames:
        service: Service = request.getfixturevalue("service")
        assert [] == [line for line in service.logs().splitlines() if any(sign in line for sign in SIGNS)]


@pytest.fixture(scope="package", params=["the servers", "the gateway"])
def attacker(request: pytest.FixtureRequest, service: Service) -> Iterator[Attacker]:
    """Who speaks gRPC to the servers, and to the gateway."""
    if request.param == "the servers":
        attacker = Attacker(service.ingest.address, service.query.address)
    else:
        attacker = Attacker(service.gateway.address, service.gateway.address)
    yield attacker
    attacker.close()
