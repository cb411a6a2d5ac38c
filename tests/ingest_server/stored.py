"""What ingest leaves in Redis. Keys are spelled out, not taken from the code: they are the contract of the data."""

import zlib
from dataclasses import dataclass

import redis

from tests.ingest_server.client import COURSE


def partition(course: str = COURSE) -> int:
    return zlib.crc32(course.encode()) % 256


def key(kind: str, course: str = COURSE) -> str:
    return f"{kind}:{{{partition(course)}}}:{course}"


def views(lecture: str) -> str:
    return f"lecture_views:{lecture}"


def seconds(lecture: str) -> str:
    return f"lecture_watchtime:{lecture}"


@dataclass(frozen=True)
class Stored:
    """The contents of a Redis."""

    redis: "redis.Redis"

    def keys(self) -> list[str]:
        """All keys, sorted."""
        return sorted(map(str, self.redis.keys()))

    def counters(self, course: str = COURSE) -> dict[str, int]:
        """A course's counts, without the id of the batch."""
        counters = self.redis.hgetall(key("course_counters", course))
        return {str(name): int(count) for name, count in counters.items() if name != "batch"}

    def users(self, course: str = COURSE) -> int:
        """How many users a course has had."""
        return int(self.redis.pfcount(key("course_users", course)))

    def seen(self, kind: str, course: str = COURSE) -> list[str]:
        """The keys of event or playback ids of this kind."""
        return sorted(map(str, self.redis.keys(f"seen:{{{partition(course)}}}:{kind}*")))
