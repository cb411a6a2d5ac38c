"""Demo history: what learners of the demo course would have watched in the weeks before the first `make run`.

Ingest's own script in Redis counts it, so the flusher and the page get the same data as in production.
"""

import asyncio
import datetime as dt
import random
import secrets
from collections.abc import Iterator, Mapping
from zoneinfo import ZoneInfo

import redis
from bson import ObjectId
from pymongo.database import Database

from devstack.learners import LECTURE_SECONDS, PING_SECONDS, watched
from devstack.seed import Course
from ingest_server.commit import Commit
from ingest_server.events import CourseView, Event, Played, Segment, Telemetry
from ingest_server.recorder import Recorder
from ingest_server.segments import cut, is_view, tenths
from ingest_server.today import Day, Today
from shared.data import keys
from shared.data.days import day_after
from shared.settings import Barrier

DAYS = 57  # the last 28 days, the 28 before them, and one more
STUDENTS = 500  # some of them come on several days
FIRST_DAY, LAST_DAY = 20, 32  # learners on a working day, at first and now
SATURDAY = 5


def is_new(course: Course, redis_url: str, database: Database[Mapping[str, object]]) -> bool:
    """Whether nothing has ever been counted for the course."""
    partition = keys.partition_of(course.id)
    with redis.Redis.from_url(redis_url) as client:
        in_redis = client.exists(keys.course_users(partition, course.id))
    return not in_redis and database["courseanalytics"].find_one({"courseId": ObjectId(course.id)}) is None


async def write(course: Course, redis_url: str, zone: ZoneInfo) -> None:
    """Counts the days before today, as far as Redis answers in time."""
    chance = random.Random()  # noqa: S311  a demo's dice, not cryptography
    today = Today(zone)()
    async with Recorder(redis_url, Barrier("aof"), secrets.token_hex(8)) as recorder:
        for number in range(DAYS):
            # The users of these days expire as if they were today's.
            day = Day(day_after(today.name, number - DAYS), today.users_expire)
            await recorder.record(commit_of(course, day, learners_on(day.name, number, chance), chance))


def learners_on(day: str, number: int, chance: random.Random) -> int:
    """The number of learners, which grows from week to week and is lower at weekends."""
    many = FIRST_DAY + (LAST_DAY - FIRST_DAY) * number / DAYS
    rest = 0.5 if dt.date.fromisoformat(day).weekday() >= SATURDAY else 1
    return round(many * rest * chance.uniform(0.8, 1.2))


def commit_of(course: Course, day: Day, learners: int, chance: random.Random) -> Commit:
    """One day, with some refused events."""
    commit, done = Commit(today=lambda: day), asyncio.get_running_loop().create_future()
    for _ in range(learners):
        for event in sitting(course, f"student-{chance.randrange(STUDENTS)}".encode(), chance):
            commit.add(event, done)
    if chance.random() < 0.1:
        commit.refuse(course.id, "IMPLAUSIBLE", 1, PING_SECONDS)
    return commit


def sitting(course: Course, user: bytes, chance: random.Random) -> Iterator[Event]:
    """What one learner watches in one sitting; each lecture in a single ping."""
    yield CourseView(course.id, user, None)
    for lecture, positions in watched(course, chance):
        starts = list(positions)
        parts = cut((tenths(start), tenths(start + PING_SECONDS)) for start in starts)
        segments = [Segment(n, played, is_view(n, played, tenths(LECTURE_SECONDS))) for n, played in parts.items()]
        played = Played(segments, LECTURE_SECONDS)
        seconds = PING_SECONDS * len(starts)
        yield Telemetry(course.id, user, None, lecture.id, seconds, secrets.token_hex(8), played)
