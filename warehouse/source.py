"""MongoDB's change stream as records: which totals each change touched, and when, by the cluster's clock.

The stream has only what a majority of MongoDB's members has, so a fenced or quarantined batch never appears in it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import structlog
from bson import Timestamp
from bson.errors import InvalidBSON
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from warehouse import metrics
from warehouse.events import PIPELINE, Events, Lost
from warehouse.record import Record, seconds_of
from warehouse.snapshot import Deliver, Snapshot

BATCH_RECORDS = 2_000
BATCH_SECONDS = 0.5
IDLE_SECONDS = 10.0
# While a flush writes, MongoDB would answer thousands of requests with a few events each: asking less often saves it
# work. Events of the same reply are available at once.
FEW, LINGER_SECONDS, AT_HAND_SECONDS = 200, 0.2, 0.0003
RETRY_SECONDS = 1.0

# Unauthorized, AuthenticationFailed, MaxTimeMSExpired, ShutdownInProgress, ExceededTimeLimit and InterruptedAtShutdown
# are transient, or an operator fixes them. Any other error for a resume token means that it is gone (286) or invalid.
PASSING = frozenset({13, 18, 50, 91, 262, 11600})

log = structlog.get_logger()


class Progress(Protocol):
    """Where the position in the stream is saved: in MongoDB if Kafka is used, or in the store itself."""

    async def load(self) -> Mapping[str, Any] | None:
        """The resume token that was saved last."""

    async def save(self, token: Mapping[str, Any]) -> None:
        """Saves a token; what was delivered before it will not be delivered again."""


class Source:
    """Follows the documents of a database; `deliver` returns once the records are stored."""

    def __init__(
        self,
        database: AsyncDatabase[dict[str, Any]],
        progress: Progress,
        deliver: Deliver,
        snapshot: Snapshot,
        events: Events,
    ) -> None:
        self._database = database
        self._progress = progress
        self._deliver = deliver
        self._snapshot = snapshot
        self._events = events
        self._place: Mapping[str, Any] | None = None
        self._saved = 0.0

    async def follow(self, stop: asyncio.Event) -> None:
        """Delivers every change until `stop`, through any outage of MongoDB, Kafka and ClickHouse."""
        while not stop.is_set():
            try:
                await self._read_on(stop)
            except Exception as error:  # noqa: BLE001 - what was not delivered is read again
                metrics.STORE_AWAY.inc()
                log.warning("not delivered, tried again", reason=str(error)[:500])
                await _pause(stop)

    async def _read_on(self, stop: asyncio.Event) -> None:
        token = await self._progress.load()
        if token is None:
            await self._begin(stop)
            return
        if token != self._place:  # another process read up to here
            await self._events.learn_courses()
            self._place = token
        try:
            await self._watch(stop, resume_after=token)
        except (OperationFailure, Lost, InvalidBSON) as error:
            if isinstance(error, OperationFailure) and error.code in PASSING:
                raise
            log.warning("the change stream is incomplete: all documents are read again", reason=str(error)[:500])
            await self._begin(stop)

    async def _begin(self, stop: asyncio.Event) -> None:
        """Delivers all documents first, then every change since before they were read."""
        metrics.SNAPSHOTS.inc()
        await self._events.learn_courses()
        started = await self._snapshot.deliver(self._deliver)
        await self._watch(stop, start_at_operation_time=started)

    async def _watch(
        self,
        stop: asyncio.Event,
        *,
        resume_after: Mapping[str, Any] | None = None,
        start_at_operation_time: Timestamp | None = None,
    ) -> None:
        async with await self._database.watch(
            PIPELINE,
            resume_after=resume_after,
            start_at_operation_time=start_at_operation_time,
            max_await_time_ms=int(BATCH_SECONDS * 1000),
            batch_size=BATCH_RECORDS,
        ) as stream:
            while not stop.is_set():
                records = [record async for record in self._gather(stream)]
                await self._deliver(records)
                metrics.RECORDS.inc(len(records))
                full = len(records) >= BATCH_RECORDS
                metrics.LAG.set(max(0.0, time.time() - seconds_of(records[-1].at)) if full else 0.0)
                await self._save(stream.resume_token, due=bool(records))
                if not stream.alive:
                    raise Lost("the database was dropped")

    async def _save(self, token: Mapping[str, Any] | None, *, due: bool) -> None:
        """Saves the position: after each delivery, and periodically while idle, because the oplog rolls over."""
        now = time.monotonic()
        if token is not None and (due or now - self._saved >= IDLE_SECONDS):
            await self._progress.save(token)
            self._place, self._saved = token, now

    async def _gather(self, stream: AsyncChangeStream[dict[str, Any]]) -> AsyncIterator[Record]:
        """The events that are available, and those that arrive within half a second."""
        count, until = 0, time.monotonic() + BATCH_SECONDS
        in_hand = FEW  # events of the last reply
        while count < BATCH_RECORDS and (asked := time.monotonic()) < until:
            event = await stream.try_next()
            if event is None:
                return
            in_hand += 1
            if time.monotonic() - asked > AT_HAND_SECONDS:  # it was asked for
                if in_hand < FEW:
                    await asyncio.sleep(LINGER_SECONDS)
                in_hand = 0
            for record in await self._events.records(event):
                count += 1
                yield record


class MongoProgress:
    """The position in the stream, kept in MongoDB, for a relay that sends records to Kafka."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._collection = database["analyticsrelay"]

    async def load(self) -> Mapping[str, Any] | None:
        """The token that was saved last."""
        found = await self._collection.find_one({"_id": "relay"})
        return found["token"] if found else None

    async def save(self, token: Mapping[str, Any]) -> None:
        """Saves the token, acknowledged by a majority."""
        await self._collection.update_one({"_id": "relay"}, {"$set": {"token": token}}, upsert=True)


async def _pause(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(RETRY_SECONDS):
            await stop.wait()
    except TimeoutError:
        pass
