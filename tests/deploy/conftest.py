"""Guarded stores, one of each for all tests."""

from collections.abc import Iterator, Mapping

import pytest
from pymongo import MongoClient

from devstack.seed import DEMO_COURSE, write_course
from tests.deploy.guarded import GuardedMongo, GuardedRedis
from tests.servers import FLAVOUR, running


@pytest.fixture(scope="package")
def guarded_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedRedis]:
    """The kind of Redis that this run of the tests is about."""
    with running(GuardedRedis(tmp_path_factory.mktemp("redis"), flavour=FLAVOUR)) as server:
        yield server


@pytest.fixture(scope="package")
def guarded_mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedMongo]:
    """A MongoDB with the demo course."""
    with running(GuardedMongo(tmp_path_factory.mktemp("mongo") / "data")) as server:
        with MongoClient[Mapping[str, object]](server.url_of("admin")) as client:
            write_course(client.get_default_database(), DEMO_COURSE)
        yield server
