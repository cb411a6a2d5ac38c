"""The platform around the dashboard: its collections in MongoDB, and what ingest and flusher leave in Redis.

Key and field names are spelled out here, not taken from the code under test: they are the contract of the data.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from shared.stores.mongo import Document

VIEWS = "course_views"


def views(lecture_id: str) -> str:
    return f"lecture_views:{lecture_id}"


def seconds(lecture_id: str) -> str:
    return f"lecture_watchtime:{lecture_id}"


def fields(batch: str, counters: Mapping[str, int]) -> dict[Any, Any]:
    return {"batch": batch, **counters}


@dataclass(frozen=True)
class Course:
    course_id: str
    creator: str
    lectures: Sequence[str]


@dataclass(frozen=True)
class Platform:
    database: AsyncDatabase[Document]
    redis: Redis

    async def add_course(self, *sections: Sequence[str], creator: object = None, **more: object) -> Course:
        """A course whose sections have lectures with these titles. Stored backwards, as order means nothing there."""
        creator = creator or ObjectId()
        lectures = [[{"_id": ObjectId(), "lectureTitle": title} for title in titles] for titles in sections]
        stored = [{"_id": ObjectId(), "lectures": [lecture["_id"] for lecture in each]} for each in lectures]
        course_id = ObjectId()
        everyone = [lecture for each in lectures for lecture in each]
        if everyone:
            await self.database["lectures"].insert_many(everyone[::-1])
        if stored:
            await self.database["sections"].insert_many(stored[::-1])
        await self.database["courses"].insert_one(
            {"_id": course_id, "creator": creator, "sections": [section["_id"] for section in stored], **more}
        )
        return Course(str(course_id), str(creator), [str(lecture["_id"]) for lecture in everyone])

    async def flushed(
        self, course: Course, *batches: str, lectures: Mapping[str, Any] | None = None, **totals: int
    ) -> None:
        """The document that the flusher has made of these batches."""
        await self.database["courseanalytics"].replace_one(
            {"courseId": ObjectId(course.course_id)},
            {
                "courseId": ObjectId(course.course_id),
                "lectureStats": lectures or {},
                "recentBatches": list(batches),
                "epoch": 1,
                "usersSketch": b"HYLL",
                "__v": 0,
                **totals,
            },
            upsert=True,
        )

    async def counting(self, course: Course, batch: str, counters: Mapping[str, int]) -> None:
        """What ingest has counted since the last flush."""
        await self.redis.hset(self.key("course_counters", course), mapping=fields(batch, counters))

    async def flushing(self, course: Course, batch: str, counters: Mapping[str, int]) -> None:
        """What a flush has taken and not cleared yet."""
        await self.redis.hset(self.key("flushing_counters", course), mapping=fields(batch, counters))

    async def quarantined(
        self, course: Course, batch: str, counters: Mapping[str, int], reason: str = "too large", item: str = ""
    ) -> None:
        """What MongoDB would not take."""
        entry = json.dumps({"reason": reason, "counters": counters})
        await self.redis.hset(self.key("quarantined_counters", course, item), batch, entry)

    async def cleared(self, course: Course, batch: str, item: str = "") -> None:
        """The last thing that a flush does."""
        await self.redis.delete(self.key("flushing_counters", course, item))
        await self.redis.set(self.key("flushed_batch", course, item), batch, ex=3600)

    async def visited_by(self, course: Course, *users: str) -> None:
        """Users in the course's HyperLogLog."""
        await self.redis.pfadd(self.key("course_users", course), *users)

    async def tally(self, course: Course, item: str, kind: str, batch: str, counters: Mapping[str, int]) -> None:
        """What Redis holds of a day or a lecture: `counting`, `flushing` or `quarantined`."""
        if kind == "quarantined":
            await self.quarantined(course, batch, counters, item=item)
            return
        key = self.key({"counting": "course_counters", "flushing": "flushing_counters"}[kind], course, item)
        await self.redis.hset(key, mapping=fields(batch, counters))
        await self.redis.sadd(f"dirty_analytics_courses:{self.braces(course)}", f"{course.course_id}/{item}")

    async def stored(self, course: Course, item: str, *batches: str, **numbers: Any) -> None:
        """The document that the flusher has made of a day or a lecture."""
        kind, repeated = ("days", {"day": item}) if "-" in item else ("", {"lectureId": ObjectId(item)})
        name = f"{course.course_id}/{item}"
        document = {"courseId": ObjectId(course.course_id), **repeated, "recentBatches": list(batches), "epoch": 1}
        collection = self.database["courseanalyticsdays" if kind else "lectureanalytics"]
        await collection.replace_one({"_id": name}, {"_id": name, **document, **numbers}, upsert=True)

    async def day_users(self, course: Course, day: str, users: set[int]) -> dict[str, Any]:
        """Users in the day's HyperLogLog; what the flusher saves of it."""
        key = self.key("course_users", course, day)
        await self.redis.delete(key)
        if not users:
            return {}
        await self.redis.pfadd(key, *users)
        sketch = await self.redis.execute_command("GET", key, NEVER_DECODE=True)  # type: ignore[no-untyped-call] # it has no types
        return {"usersSketch": bytes(sketch), "uniqueActiveUsers": await self.redis.pfcount(key)}

    def key(self, kind: str, course: Course, item: str = "") -> str:
        return f"{kind}:{self.braces(course)}:{course.course_id}{f'/{item}' if item else ''}"

    @staticmethod
    def braces(course: Course) -> str:
        return f"{{{zlib.crc32(course.course_id.encode()) % 256}}}"
