"""One service for the whole package. Whatever a test does to it, it goes on, and has no error to report."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest
import redis
from pymongo import MongoClient

from devstack.child import free_port
from devstack.gateway import local_gateway
from devstack.programs import is_serving
from devstack.seed import DEMO_COURSE, write_course
from devstack.servers import RedisServer
from tests.ingest_server.stored import Stored
from tests.security.stage import USER_HASH_KEY, Attacker, Service
from tests.servers import FLAVOUR, JWT_SECRET, assert_ends_well, fresh_database, program, running

# What a log has when the fault is ours.
SIGNS = ('"level": "error"', '"level": "critical"', "Traceback", "never retrieved", "Unexpected")


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory, mongo_server_url: str) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("security")
    with ExitStack() as stack:
        mongo_url = stack.enter_context(fresh_database(mongo_server_url))
        with MongoClient[Mapping[str, object]](mongo_url) as client:
            write_course(client.get_default_database(), DEMO_COURSE)
        server = stack.enter_context(running(RedisServer(folder / "redis", flavour=FLAVOUR)))
        stores = {"redis_url": server.url, "mongo_url": mongo_url}
        # The credit is more than any test uses up: what bounding watch time stores of a person is looked at too.
        settings = {
            **stores,
            "jwt_secret": JWT_SECRET,
            "user_hash_key": USER_HASH_KEY,
            "watch_credit_seconds": 86_400,
        }
        ingest, query = (program(module, folder, settings) for module in ("ingest_server", "query_server"))
        for each in (ingest, query):
            each.launch()
            stack.callback(assert_ends_well, each)
        for each in (ingest, query):
            each.wait_until_ready(60)
        gateway = local_gateway(folder / "envoy", port=free_port(), ingest=ingest.address, query=query.address)
        stack.enter_context(running(gateway))
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
