"""Sends a commit to Redis: one script a partition, all in one write, on one connection."""

import hashlib
import time
from collections.abc import Mapping
from importlib import resources
from typing import Self

import structlog
from redis.exceptions import ResponseError

from ingest_server.commit import Commit, script_call
from shared.batch_id import batch_id
from shared.durability import check_durability
from shared.errors import Overloaded, Unavailable
from shared.redis_connection import Command, RedisConnection, RedisUnreachable, Reply, error_code
from shared.settings import Barrier

# A request waits for at most two commits, the one under way and its own: together with the catalog they stay below 2 s.
COMMIT_SECONDS = 0.8

SCRIPT = resources.files(__package__).joinpath("record.lua").read_text()
SCRIPT_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

# Redis is there, but not able to write now; another attempt may well succeed.
PASSING = (
    "READONLY",
    "LOADING",
    "MASTERDOWN",
    "NOREPLICAS",
    "MISCONF",
    "BUSY",
    "TRYAGAIN",
    "MOVED",
    "ASK",
    "CLUSTERDOWN",
)

log = structlog.get_logger()

Outcomes = Mapping[int, Exception | None]


class Recorder:
    """Writes commits, one at a time. `process` is random at each start, so that its commit numbers are its own."""

    def __init__(self, url: str, barrier: Barrier, process: str) -> None:
        self._url = url
        self._barrier = barrier
        self._process = process
        self._commits = 0
        self._connection: RedisConnection | None = None
        self._probe: RedisConnection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._disconnect()
        if self._probe is not None:
            await self._probe.close()

    async def probe(self) -> None:
        """Raises RedisUnreachable when Redis is away, and UnsuitableRedis when it may lose what it acknowledged."""
        if self._probe is None or not self._probe.is_open:
            self._probe = await self._open_fit_connection()
        await self._probe.call(("PING",), timeout=COMMIT_SECONDS)

    async def _open_fit_connection(self) -> RedisConnection:
        connection = await RedisConnection.open(self._url, timeout=COMMIT_SECONDS)
        try:
            await check_durability(connection, self._barrier, timeout=COMMIT_SECONDS)
        except BaseException:
            await connection.close()  # the next probe has to check again
            raise
        return connection

    async def record(self, commit: Commit) -> Outcomes:
        """Counts the commit. Returns for each partition None, or the error that its requests get; raises nothing.

        A partition whose reply is lost is sent once more under the same commit number, which the script refuses if it
        had been counted. After that it is given up: it may have been counted or not, and the callers are told
        UNAVAILABLE.
        """
        self._commits += 1
        batch = batch_id(self._process, self._commits, time.time())
        calls = {
            number: script_call(number, partition, process=self._process, commit=self._commits, batch=batch)
            for number, partition in commit.partitions.items()
        }
        give_up = time.monotonic() + COMMIT_SECONDS
        for last_attempt in (False, True):
            try:
                replies = await self._run(
                    {n: _command("EVALSHA", SCRIPT_SHA, *call) for n, call in calls.items()}, give_up
                )
                unknown = [number for number, reply in replies.items() if error_code(reply) == "NOSCRIPT"]
                if unknown:
                    replies |= await self._run({n: _command("EVAL", SCRIPT, *calls[n]) for n in unknown}, give_up)
            except RedisUnreachable as error:
                if last_attempt or time.monotonic() >= give_up:
                    log.warning("commit given up", reason=str(error))
                    return dict.fromkeys(calls, _away())
            else:
                return {number: await self._outcome(reply) for number, reply in replies.items()}
        raise AssertionError("the last attempt returns")

    async def _run(self, commands: Mapping[int, Command], give_up: float) -> dict[int, Reply]:
        if self._connection is None or not self._connection.is_open:
            self._connection = await RedisConnection.open(self._url, timeout=_left(give_up))
        replies = await self._connection.call_each(*commands.values(), timeout=_left(give_up))
        return dict(zip(commands, replies, strict=True))

    async def _outcome(self, reply: Reply) -> Exception | None:
        if not isinstance(reply, ResponseError):
            return None
        code = error_code(reply)
        if code == "OOM":
            return Overloaded("Redis is out of memory")
        if code in PASSING:
            await self._disconnect()  # the name may lead to another server by now, such as the new primary
            return Unavailable(f"Redis cannot count now ({code})")
        log.error("record.lua failed", error=str(reply))
        return reply

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


def _away() -> Unavailable:
    # A new one for each commit: with every raise an error's traceback grows, and holds on to the requests that got it.
    return Unavailable("Redis is away; the request may or may not have been counted")


def _command(name: str, script: str, names: list[str], arguments: list[str | bytes | int]) -> Command:
    return (name, script, len(names), *names, *arguments)


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)
