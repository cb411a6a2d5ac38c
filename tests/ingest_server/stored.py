"""What ingest leaves in Redis. Keys are spelled out, not taken from the code: they are the contract of the data."""

import zlib
from dataclasses import dataclass

import redis

from tests.ingest_server.client import COURSE, FIRST


def partition(course: str = COURSE) -> int:
    return zlib.crc32(course[:24].encode()) % 256


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
        """What a course has counted, without the id of the batch and what was not counted."""
        return {name: count for name, count in self.tally(course).items() if not name.startswith("not_counted")}

    def not_counted(self, tally: str = COURSE) -> dict[str, int]:
        """What a course, or a day of it, has not counted."""
        return {name: count for name, count in self.tally(tally).items() if name.startswith("not_counted")}

    def has_counted_nothing(self) -> bool:
        """Whether nothing of any course is counted, but for why."""
        names = [key for key in self.keys() if key.startswith("course_counters:")]
        fields = {str(field) for name in names for field in self.redis.hkeys(name)} - {"batch"}
        users = [key for key in self.keys() if key.startswith("course_users:")]
        return all(field.startswith("not_counted") for field in fields) and not users

    def tally(self, name: str) -> dict[str, int]:
        """The counts of a tally, without the id of the batch."""
        counters = self.redis.hgetall(key("course_counters", name))
        return {str(field): int(count) for field, count in counters.items() if field != "batch"}

    def days(self, course: str = COURSE) -> list[str]:
        """The names of a course's day tallies with hot counts."""
        names = self.redis.keys(key("course_counters", f"{course}/????-??-??"))
        return sorted(str(name).rpartition(":")[2] for name in names)

    def lecture(self, lecture: str = FIRST, course: str = COURSE) -> dict[str, int]:
        """What a lecture's tally has counted."""
        return self.tally(f"{course}/{lecture}")

    def users(self, course: str = COURSE) -> int:
        """How many users a course has had, or a day of it."""
        return int(self.redis.pfcount(key("course_users", course)))

    def ids(self, kind: str, course: str = COURSE) -> int:
        """How many event or playback ids of this kind are remembered."""
        return sum(self.redis.scard(name) for name in self.seen(kind, course))

    def seen(self, kind: str, course: str = COURSE) -> list[str]:
        """The sets of event or playback ids of this kind, and the bitmaps (b)."""
        return sorted(map(str, self.redis.keys(f"seen:{{{partition(course)}}}:{kind}*")))
