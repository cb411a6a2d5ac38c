"""Where the flusher is watched: both stores, learners whose pings are recorded as the ingest server does, and a reader.

The reader is the dashboard's own: a count is right only when the dashboard says so.
"""

import asyncio
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo.asynchronous.database import AsyncDatabase

from devstack.programs import Program
from flusher import schema
from flusher.cycle import Flusher
from flusher.steps.lease import Lease
from flusher.steps.report import Report
from flusher.steps.take import Batch, take
from flusher.steps.wave import UTC, Stores
from ingest_server.recorder import Recorder
from query_server.cold import ColdStore
from query_server.hot import HotStore
from query_server.merge import totals_of
from query_server.reading import read_course
from shared.data import keys
from shared.data.batch_id import batch_id
from shared.data.tallies import COURSE, COURSE_VIEWS, LECTURE_VIEWS, LECTURE_WATCH_TIME, Tally, fields_of
from shared.settings import Barrier
from shared.stores.mongo import COURSE_ANALYTICS, COURSES, Document
from shared.stores.redis_connection import Command, RedisConnection, pairs
from tests.servers import PATIENCE

INSTRUCTOR = "650000000000000000000099"
LECTURE = "650000000000000000000011"
SECONDS = 10  # of each ping
AOF = Barrier("aof")

ONE_PING = {COURSE_VIEWS.field(): 1, LECTURE_VIEWS.field(LECTURE): 1, LECTURE_WATCH_TIME.field(LECTURE): SECONDS}
"""What a course gains by one ping: a view of its page, and a few seconds of a lecture."""


def course(number: int) -> str:
    """A course's id."""
    return f"{number:024x}"


def courses_of(partition: int) -> Iterator[str]:
    """Courses that all lie in one partition."""
    return (course(number) for number in count(1) if keys.partition_of(course(number)) == partition)


def pings(number: int) -> dict[str, int]:
    """What a course gains by so many pings."""
    return {field: number * each for field, each in ONE_PING.items()}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Returns when the condition holds, TimeoutError when it does not in time."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110 - what it waits for happens in another process
            await asyncio.sleep(0.02)


def is_frozen(program: Program) -> bool:
    """Whether a program has stopped itself."""
    state = Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "T"


@dataclass
class Stage:
    """An empty Redis, an empty database with the flusher's index, and what may be asked of both."""

    redis_url: str
    database: AsyncDatabase[Document]
    redis: RedisConnection
    counting: RedisConnection
    recorder: Recorder
    hot: HotStore
    cold: ColdStore
    acknowledged: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _listed: set[str] = field(default_factory=set)

    async def ping(self, *course_ids: str, user: bytes = b"learner") -> None:
        """One ping of each course, acknowledged; of its totals alone, as before there were days."""
        batch = batch_id(secrets.token_hex(4), 1, time.time())
        commands: list[Command] = [("MULTI",)]
        for course_id in course_ids:
            partition = keys.partition_of(course_id)
            hot = keys.course_counters(partition, course_id)
            commands.append(("HSETNX", hot, keys.BATCH, batch))
            commands += [("HINCRBY", hot, counter, number) for counter, number in ONE_PING.items()]
            commands.append(("SADD", keys.dirty_courses(partition), course_id))
            commands.append(("PFADD", keys.course_users(partition, course_id), user))
        if not self.counting.is_open:  # its server has been replaced by another
            self.counting = await RedisConnection.open_to_any(self.redis_url, timeout=5)
        await self.counting.call(*commands, ("EXEC",), timeout=PATIENCE)
        for course_id in course_ids:
            self.acknowledged[course_id].update(ONE_PING)

    async def count(self, tally: Tally, counts: Mapping[str, int], *users: bytes, batch: str = "") -> None:
        """Counts of a tally, as the ingest server's script adds them; of a day together with its users."""
        partition = keys.partition_of(tally.name)
        hot = keys.course_counters(partition, tally.name)
        await self.call("HSETNX", hot, keys.BATCH, batch or batch_id(secrets.token_hex(4), 1, time.time()))
        for counter, number in counts.items():
            await self.call("HINCRBY", hot, counter, number)
        await self.call("SADD", keys.dirty_courses(partition), tally.name)
        if users:
            await self.call("PFADD", keys.course_users(partition, tally.name), *users)
            await self.call("SADD", keys.unsaved_users(partition), tally.name)

    async def document_of(self, tally: Tally) -> Document:
        """The tally's document, {} when there is none."""
        return await self.database[tally.kind.collection].find_one(tally.identity()) or {}

    def stores(self, **given: Any) -> Stores:
        """What a flusher works with."""
        return Stores(
            **{"redis_url": self.redis_url, "database": self.database, "barrier": AOF, "lock_ttl": 60.0, **given}
        )

    async def flush(self, **given: Any) -> Report:
        """One cycle of everything that is dirty, in this process."""
        return await Flusher(self.stores(**given)).cycle(asyncio.Event(), everything=True)

    def lease(self, connection: RedisConnection, **given: Any) -> Lease:
        """A lease that lasts a minute by a clock that stands still."""
        return Lease(connection, **{"token": secrets.token_hex(4), "ttl": 60.0, "now": lambda: 0.0, **given})

    async def taken(self, *course_ids: str, **given: Any) -> list[Batch]:
        """Takes from courses of one partition, as a flusher does that dies afterwards and loses its lock."""
        partition = keys.partition_of(course_ids[0])
        lease = self.lease(self.redis, **given)
        assert {partition} == await lease.acquire([partition])
        batches = await take(self.redis, lease, partition, course_ids)
        await self.call("DEL", keys.flush_lock(partition))
        return [batch for batch in batches if isinstance(batch, Batch)]

    async def epoch(self) -> int:
        """The next epoch."""
        return await schema.next_epoch(self.database[schema.FLUSH_EPOCH])

    async def call(self, *command: str | bytes | int) -> Any:
        """What Redis answers."""
        (reply,) = await self.redis.call(command, timeout=5)
        return reply

    async def hash(self, key: Callable[[int, str], str], course_id: str) -> dict[str, str]:
        """A hash of the course."""
        flat = await self.call("HGETALL", key(keys.partition_of(course_id), course_id))
        return {name: value.decode() for name, value in pairs(flat).items()}

    async def is_taken(self, course_id: str) -> bool:
        """Whether a flusher has taken the course's counts, and not cleared them yet."""
        return bool(await self.hash(keys.flushing_counters, course_id))

    async def dirty(self) -> set[str]:
        """The courses in the dirty sets."""
        names = [keys.dirty_courses(partition) for partition in range(keys.PARTITIONS)]
        return {member.decode() for member in await self.call("SUNION", *names)}

    async def locks(self) -> list[bytes]:
        """The locks that are held."""
        found: list[bytes] = await self.call("KEYS", "analytics_flush_lock:*")
        return found

    async def unlock(self) -> None:
        """Lets the life of every lock be over."""
        await self.call("DEL", "none", *await self.locks())

    async def document(self, course_id: str) -> Document:
        """The course's document, {} when there is none."""
        return await self.database[COURSE_ANALYTICS].find_one({"courseId": ObjectId(course_id)}) or {}

    async def flushed(self, *course_ids: str) -> dict[str, dict[str, int]]:
        """The counts that MongoDB has of each course."""
        return {course_id: fields_of(COURSE.counts_of(await self.document(course_id))) for course_id in course_ids}

    async def shown(self, *course_ids: str) -> dict[str, dict[str, int]]:
        """The counts that the dashboard shows of each course."""
        return {course_id: await self._shown(course_id) for course_id in course_ids}

    async def list_course(self, course_id: str) -> None:
        """Puts the course into the platform's catalog."""
        if course_id not in self._listed:
            self._listed.add(course_id)
            await self.database[COURSES].insert_one({"_id": ObjectId(course_id), "creator": INSTRUCTOR, "sections": []})

    async def _shown(self, course_id: str) -> dict[str, int]:
        await self.list_course(course_id)
        in_redis, in_mongo = await read_course(self.hot, self.cold, course_id, INSTRUCTOR)
        return fields_of(totals_of(in_redis, in_mongo.analytics).counts)

    async def assert_exact(self) -> None:
        """The dashboard shows what was acknowledged."""
        assert self.acknowledged == await self.shown(*self.acknowledged)

    async def assert_all_flushed(self) -> None:
        """MongoDB has what was acknowledged, and Redis nothing."""
        assert self.acknowledged == await self.flushed(*self.acknowledged)
        assert set() == await self.dirty()
        assert [] == await self.call("KEYS", "*_counters:*")


@asynccontextmanager
async def staged(redis_url: str, database: AsyncDatabase[Document]) -> AsyncIterator[Stage]:
    """A stage on these stores."""
    await schema.ensure(database, UTC)
    onlooker, counting = [await RedisConnection.open_to_any(redis_url, timeout=5) for _ in range(2)]
    async with Recorder(redis_url, AOF, secrets.token_hex(4)) as recorder, HotStore(redis_url) as hot:
        stage = Stage(redis_url, database, onlooker, counting, recorder, hot, ColdStore(database))
        try:
            yield stage
        finally:
            await stage.counting.close()
            await onlooker.close()
