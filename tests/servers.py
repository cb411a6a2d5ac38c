"""What the server fixtures are made of."""

import os
import secrets
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from pymongo import MongoClient

from devstack.child import HOST, Child, free_port
from devstack.programs import ADDRESS_SETTING, Program
from devstack.servers import MongoServer, RedisServer

PATIENCE = 60  # seconds for what must come, however slow and busy the machine
JWT_SECRET = "a secret for tests, long enough for HS256"
FLAVOUR = os.environ.get("ANALYTICS_TEST_REDIS", "valkey")

AnyChild = TypeVar("AnyChild", bound=Child)


@contextmanager
def running(child: AnyChild) -> Iterator[AnyChild]:
    """A child that is up, and killed at the end: the data of a test need not survive it."""
    child.start(PATIENCE)
    try:
        yield child
    finally:
        child.kill()


@contextmanager
def packaged_redis(folder: Path) -> Iterator[str]:
    """The address of a Redis from its package."""
    with running(RedisServer(folder, flavour=FLAVOUR)) as server:
        yield server.url


@contextmanager
def packaged_mongo(folder: Path) -> Iterator[str]:
    """The address of a MongoDB from its package."""
    with running(MongoServer(folder)) as server:
        yield server.url()


def answers_http(url: str) -> bool:
    """Whether a server of our own answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own
            return bool(answer.status == 200)
    except OSError:
        return False


def redis_of_this_run(folder: Path) -> AbstractContextManager[str]:
    """The Redis that the environment asks for, by default the packaged one."""
    if os.environ.get("ANALYTICS_TEST_SERVERS") == "containers":
        from tests.containers import redis_container  # noqa: PLC0415  an ordinary run needs no Docker client

        return redis_container(FLAVOUR)
    return packaged_redis(folder)


def mongo_of_this_run(folder: Path) -> AbstractContextManager[str]:
    """The MongoDB that the environment asks for, by default the packaged one."""
    if os.environ.get("ANALYTICS_TEST_SERVERS") == "containers":
        from tests.containers import mongo_container  # noqa: PLC0415  an ordinary run needs no Docker client

        return mongo_container()
    return packaged_mongo(folder)


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """The address of a database that nobody else uses; dropped at the end, when its server is still there."""
    name = f"test_{secrets.token_hex(6)}"
    yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    with MongoClient[Mapping[str, object]](server_url) as client:
        client.drop_database(name)


def program(module: str, folder: Path, settings: Mapping[str, object], *arguments: str) -> Program:
    """One of our programs. Settings are named without the prefix, in lower case; a server's port is free by default."""
    environment = {f"ANALYTICS_{name.upper()}": str(value) for name, value in settings.items()}
    if module in ADDRESS_SETTING:
        environment.setdefault(ADDRESS_SETTING[module], f"{HOST}:{free_port()}")
    return Program(module, folder, environment, *arguments)


def assert_ends_well(program: Program) -> None:
    """Ends a program as an operator does. One whose end somebody has awaited already was ended by its test."""
    if program.process.returncode is None:
        code = program.stop()
        assert 0 == code, program.tail()
