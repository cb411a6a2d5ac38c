"""Reads a course from both stores in parallel, and from MongoDB again if the two answers are inconsistent."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import NamedTuple, TypeVar

import structlog
from pymongo.errors import OperationFailure, PyMongoError
from redis.exceptions import RedisError, ResponseError

from query_server import metrics
from query_server.cold import ColdStore, Course
from query_server.hot import HotStore
from query_server.merge import Hot, HotTallies, are_consistent
from shared.metrics import MONGODB_ERRORS
from shared.serving.errors import StoreRefuses, Unavailable
from shared.stores import mongo
from shared.stores.mongo import Document
from shared.stores.redis_connection import RedisUnreachable, error_code

# Callers are promised an answer within 2 s. This is also far below the two minutes for which Redis remembers the last
# flushed batch, so `is_consistent` notices every flush between the two reads.
DEADLINE_SECONDS = 1.5

SECONDS = {"Redis": metrics.REDIS_SECONDS, "MongoDB": metrics.MONGODB_SECONDS}

# Errors of Redis while it starts, is full, or fails over; any other error is permanent.
PASSING = frozenset({"LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "BUSY", "OOM", "READONLY"})

# The same for MongoDB: elections, shutdowns, time limits, and migrations between shards.
TRANSIENT = frozenset({6, 7, 24, 43, 50, 63, 89, 91, 112, 133, 134, 175, 189, 202, 234, 237, 262, 9001, 13388})

Answer = TypeVar("Answer")

log = structlog.get_logger()


def deadline() -> float:
    """When a call that begins now gives up on the stores, by the loop's clock."""
    return asyncio.get_running_loop().time() + DEADLINE_SECONDS


class Question(NamedTuple):
    """The course, its user, and the tallies to read, as stages of `documents`; without any, its totals."""

    course_id: str
    user_id: str
    tallies: Sequence[Document] = ()


async def read_course(hot_store: HotStore, cold_store: ColdStore, course_id: str, user_id: str) -> tuple[Hot, Course]:
    """The totals of the user's course in both stores, consistent with each other. Raises as `read_both`."""

    async def totals() -> HotTallies:
        return HotTallies({course_id: await hot_store.read(course_id)})

    hot, course = await read_both(totals(), cold_store, Question(course_id, user_id), deadline())
    return hot.tallies[course_id], course


async def read_both(
    hot: Awaitable[HotTallies], cold_store: ColdStore, question: Question, until: float
) -> tuple[HotTallies, Course]:
    """Tallies of the user's course in both stores, consistent with each other. `until` is a `deadline`.

    Checks in this order and raises NotFound, PermissionDenied, InvalidRequest, Unavailable, StoreRefuses.

    A second read of MongoDB is always enough, because the missing batch was in MongoDB before it left Redis. Reading
    both stores again might never end: each time there may be a flush between the reads.
    """
    with metrics.READ_SECONDS.time():
        # MongoDB takes longer, so it is asked first: it works while we read the reply of Redis.
        course, found = await asyncio.gather(
            ask("MongoDB", cold_store.read(*question), until), ask("Redis", hot, until), return_exceptions=True
        )
        course, found = _answer(course), _answer(found)
        if not are_consistent(found.tallies, course.documents):
            metrics.REREADS.inc()
            course = await ask("MongoDB", cold_store.read_primary(*question), until)
    return found, course


async def ask(store: str, answer: Awaitable[Answer], until: float) -> Answer:
    """The answer of a store. Raises Unavailable when it does not answer, StoreRefuses for a permanent error."""
    try:
        with SECONDS[store].time():
            if store == "MongoDB":
                return await mongo.within(answer, until - asyncio.get_running_loop().time())
            async with asyncio.timeout_at(until):
                return await answer
    except (PyMongoError, RedisError, RedisUnreachable, TimeoutError) as error:
        if isinstance(error, PyMongoError):
            MONGODB_ERRORS.inc()
        if _stays(error):
            log.exception("a store refuses", store=store, reason=str(error))
            raise StoreRefuses(f"{store} refuses to answer", cause=store.lower()) from error
        raise Unavailable(f"{store} is out of reach", cause=store.lower()) from error


def _stays(error: Exception) -> bool:
    """Whether the same request would be refused again."""
    if isinstance(error, OperationFailure):
        return not error.timeout and error.code not in TRANSIENT
    return isinstance(error, ResponseError) and error_code(error) not in PASSING


def _answer(outcome: Answer | BaseException) -> Answer:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome
