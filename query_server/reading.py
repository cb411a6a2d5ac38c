"""Reads a course from both stores at once, and from MongoDB again where the two answers do not fit together."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from query_server import metrics
from query_server.cold import ColdStore, Course
from query_server.hot import HotStore
from query_server.merge import Hot, is_consistent
from shared.metrics import MONGODB_ERRORS
from shared.serving.errors import NotFound, PermissionDenied, Unavailable
from shared.stores.redis_connection import RedisUnreachable

# Callers are promised an answer within 2 s. It is also far below the two minutes that Redis remembers the last flushed
# batch: that is what makes `is_consistent` see every flush that comes between the two reads.
DEADLINE_SECONDS = 1.5

SECONDS = {"Redis": metrics.REDIS_SECONDS, "MongoDB": metrics.MONGODB_SECONDS}

Answer = TypeVar("Answer")


async def read_course(hot_store: HotStore, cold_store: ColdStore, course_id: str, user_id: str) -> tuple[Hot, Course]:
    """The user's course in both stores, fit to be merged.

    Raises, decided in this order, NotFound, PermissionDenied, Unavailable.

    A second read of MongoDB is always enough, because the batch that is missing was there before it left Redis; reading
    both stores again might never end, for there may be a flush between the reads each time.
    """
    deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS
    with metrics.READ_SECONDS.time():
        # MongoDB, which takes longer, is asked first: it works on its answer while we read that of Redis.
        course, hot = await asyncio.gather(
            _ask("MongoDB", cold_store.read(course_id), deadline),
            _ask("Redis", hot_store.read(course_id), deadline),
            return_exceptions=True,
        )
        course = _owned(_answer(course), user_id)
        hot = _answer(hot)
        if not is_consistent(hot, course.analytics):
            metrics.REREADS.inc()
            course = _owned(await _ask("MongoDB", cold_store.read_primary(course_id), deadline), user_id)
    return hot, course


async def _ask(store: str, answer: Awaitable[Answer], deadline: float) -> Answer:
    try:
        with SECONDS[store].time():
            async with asyncio.timeout_at(deadline):
                return await answer
    except (PyMongoError, RedisError, RedisUnreachable, TimeoutError) as error:
        if isinstance(error, PyMongoError):
            MONGODB_ERRORS.inc()
        raise Unavailable(f"{store} is out of reach", cause=store.lower()) from error


def _answer(outcome: Answer | BaseException) -> Answer:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _owned(course: Course | None, user_id: str) -> Course:
    if course is None:
        raise NotFound("there is no such course")
    # The platform stores the creator as an ObjectId or as its string.
    if course.creator is None or str(course.creator) != user_id:
        raise PermissionDenied("the course belongs to somebody else")
    return course
