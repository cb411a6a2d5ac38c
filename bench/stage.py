"""The stage of the benchmarks: the real programs on real stores, on this machine."""

import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from pymongo import MongoClient
from pymongo.database import Database

from devstack.child import HOST, Child, free_port
from devstack.programs import Program, is_serving
from devstack.seed import Course, Lecture, Section, write_course
from devstack.servers import MongoServer, RedisServer
from devstack.tokens import mint
from shared.data import keys

CREATOR = "650000000000000000000099"
USERS = 500


def course(number: int, lectures: int) -> Course:
    """A course of so many lectures in one section."""
    listed = tuple(Lecture(f"{number:08x}{each:016x}", f"Lecture {each}") for each in range(1, lectures + 1))
    return Course(f"{number:024x}", f"Course {number}", CREATOR, (Section(f"{number:023x}f", listed),))


@dataclass(frozen=True, slots=True)
class Stage:
    """The stores, a secret for tokens, and a way to start the programs."""

    stack: ExitStack
    folder: Path
    redis_server: RedisServer
    mongo_server: MongoServer
    redis: redis.Redis
    database: Database[Mapping[str, Any]]
    secret: str

    def program(self, module: str, *arguments: str, **settings: object) -> Program:
        """Starts one of the programs on its own port; it ends with the stage."""
        given = {f"ANALYTICS_{name.upper()}": str(value) for name, value in settings.items()}
        address = f"{HOST}:{free_port()}"
        stores = {
            "ANALYTICS_REDIS_URL": self.redis_server.url,
            "ANALYTICS_MONGO_URL": self.mongo_server.url(),
            "ANALYTICS_JWT_SECRET": self.secret,
            "ANALYTICS_INGEST_ADDRESS": address,
            "ANALYTICS_QUERY_ADDRESS": address,
        }
        folder = self.folder / f"{module}-{secrets.token_hex(3)}"
        started = Program(module, folder, {**stores, **given}, *arguments)
        self.stack.enter_context(ended(started))
        started.start()
        return started

    def ceiling(self) -> "Ceiling":
        """Starts the server that does nothing."""
        started = Ceiling(self.folder)
        self.stack.enter_context(ended(started))
        started.start()
        return started

    def tokens(self) -> list[str]:
        """Tokens of different users."""
        return [mint(self.secret, f"user-{number}") for number in range(USERS)]

    def views_and_seconds(self, course_id: str) -> tuple[int, int]:
        """Redis's counts of a course: views of all kinds, and seconds."""
        fields: Any = self.redis.hgetall(keys.course_counters(keys.partition_of(course_id), course_id))
        counts: dict[bytes, int] = {name: int(value) for name, value in fields.items() if name != b"batch"}
        seconds = sum(count for name, count in counts.items() if name.startswith(b"lecture_watchtime"))
        return sum(counts.values()) - seconds, seconds


class Ceiling(Child):
    """The server that does nothing."""

    def __init__(self, folder: Path) -> None:
        self.address = f"{HOST}:{free_port()}"
        super().__init__("ceiling", [sys.executable, "-m", "bench.ceiling", self.address], folder / "ceiling.log")

    def ready(self) -> bool:
        """Whether it is SERVING."""
        return is_serving(self.address)


@contextmanager
def ended(child: Child) -> Iterator[None]:
    """Ends the child at the end."""
    try:
        yield
    finally:
        if child.running:
            child.kill()


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """The stores, up and empty."""
    with ExitStack() as stack:
        redis_server, mongo_server = RedisServer(folder / "redis"), MongoServer(folder / "mongod")
        for child in (redis_server, mongo_server):
            stack.enter_context(ended(child))
            child.start()
        client = stack.enter_context(MongoClient[Mapping[str, Any]](mongo_server.url()))
        connection = stack.enter_context(redis.Redis.from_url(redis_server.url))
        yield Stage(
            stack=stack,
            folder=folder,
            redis_server=redis_server,
            mongo_server=mongo_server,
            redis=connection,
            database=client.get_default_database(),
            secret=secrets.token_hex(32),
        )


def write_courses(database: Database[Mapping[str, Any]], courses: list[Course]) -> None:
    """Writes courses as the platform stores them."""
    for each in courses:
        write_course(database, each)


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used so far."""
    return time.clock_gettime(~pid << 3 | 2)  # Linux's clock of another process: exact, while /proc has ticks of 10 ms
