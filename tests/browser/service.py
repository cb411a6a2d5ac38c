"""The service behind a browser: its courses, its tokens, and what it has counted."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from bson import ObjectId
from pymongo.database import Database

from devstack.seed import Course, Lecture, Section, write_course
from devstack.servers import EnvoyServer
from devstack.tokens import mint
from tests.servers import JWT_SECRET, program

PATIENCE = 30  # seconds for what must come
POLL_SECONDS = 0.05

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Service:
    """Gateway, servers and stores."""

    gateway: EnvoyServer
    folder: Path
    redis_url: str
    mongo_url: str
    database: Database[Mapping[str, object]]

    def course(self, *titles: str) -> Course:
        """A new course, by default of three lectures, with a creator of its own."""
        lectures = tuple(Lecture(str(ObjectId()), title) for title in titles or ("One", "Two", "Three"))
        section = Section(str(ObjectId()), lectures)
        course = Course(str(ObjectId()), "A course", str(ObjectId()), (section,))
        write_course(self.database, course)
        return course

    def get(self, path: str, user: str) -> httpx.Response:
        """What the API answers to a user; the path begins behind /api/v1/analytics."""
        headers = {"authorization": f"Bearer {mint(JWT_SECRET, user)}"}
        url = f"{self.gateway.url}/api/v1/analytics{path}"
        return httpx.get(url, headers=headers, trust_env=False, timeout=PATIENCE)

    def dashboard(self, course: Course) -> dict[str, Any]:
        """The dashboard of a course, as its creator sees it."""
        answer: dict[str, Any] = self.get(f"/instructor/{course.id}", course.creator).raise_for_status().json()
        return answer

    def flush(self) -> None:
        """Moves all counts from Redis to MongoDB."""
        settings = {"redis_url": self.redis_url, "mongo_url": self.mongo_url, "jwt_secret": JWT_SECRET}
        flusher = program("flusher", self.folder, settings, "--once")
        flusher.launch()
        assert 0 == flusher.wait(PATIENCE), flusher.tail()


async def eventually(
    read: Callable[[], Value], expected: Callable[[Value], bool] | object, seconds: float = PATIENCE
) -> Value:
    """What is read, once it is as expected (a value, or a condition on it). AssertionError with the last one read."""
    deadline = time.monotonic() + seconds
    while True:
        value = await asyncio.to_thread(read)
        if expected(value) if callable(expected) else expected == value:
            return value
        assert time.monotonic() < deadline, f"still {value!r}, and not {expected!r}"
        await asyncio.sleep(POLL_SECONDS)
