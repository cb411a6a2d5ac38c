"""MongoDB's change stream as records: which totals each change touched, and when by the cluster's clock.

Only what a majority of MongoDB's members has is in the stream, so a fenced or quarantined batch never shows.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import structlog
from bson import Timestamp
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from shared.data.tallies import COURSE, Kind, tally_of
from warehouse import metrics
from warehouse.changes import KIND_OF_COLLECTION, Document, totals_of, touches_counters
from warehouse.record import Record, moment, seconds_of
from warehouse.snapshot import Snapshot, read_one

BATCH_RECORDS = 2_000
BATCH_SECONDS = 0.5
IDLE_SECONDS = 10.0
RETRY_SECONDS = 1.0

# Unauthorized, AuthenticationFailed, MaxTimeMSExpired, ShutdownInProgress, ExceededTimeLimit and InterruptedAtShutdown
# pass, or an operator mends them. Any other refusal of a place in the stream means that it is gone (286) or spoilt.
PASSING = frozenset({13, 18, 50, 91, 262, 11600})

PIPELINE: Sequence[Mapping[str, Any]] = [
    {
        "$match": {
            "ns.coll": {"$in": list(KIND_OF_COLLECTION)},
            "operationType": {"$in": ["insert", "update", "replace", "delete"]},
        }
    }
]

Deliver = Callable[[Sequence[Record]], Awaitable[None]]

log = structlog.get_logger()


class Progress(Protocol):
    """Where the place in the stream is remembered: in MongoDB beside a Kafka, or in the store itself."""

    async def load(self) -> Mapping[str, Any] | None:
        """The resume token that was saved last."""

    async def save(self, token: Mapping[str, Any]) -> None:
        """Remembers a token; what was delivered before it will not be delivered again."""


class Source:
    """Follows the documents of a database; `deliver` returns once the records are safe."""

    def __init__(
        self,
        database: AsyncDatabase[dict[str, Any]],
        progress: Progress,
        deliver: Deliver,
        snapshot: Snapshot,
        *,
        generation: int,
    ) -> None:
        self._database = database
        self._progress = progress
        self._deliver = deliver
        self._snapshot = snapshot
        self._generation = generation
        self._courses: dict[Any, str] = {}
        self._saved = 0.0

    async def follow(self, stop: asyncio.Event) -> None:
        """Delivers every change until `stop`: also across what MongoDB, Kafka and ClickHouse do meanwhile."""
        while not stop.is_set():
            try:
                await self._read_on(stop)
            except Exception as error:  # noqa: BLE001 - whatever it is, what was not delivered is read once more
                metrics.STORE_AWAY.inc()
                log.warning("not delivered, tried again", reason=str(error)[:500])
                await _pause(stop)

    async def _read_on(self, stop: asyncio.Event) -> None:
        await self._learn_courses()
        token = await self._progress.load()
        try:
            if token is None:
                await self._begin(stop)
            else:
                await self._watch(stop, resume_after=token)
        except OperationFailure as error:
            if token is None or error.code in PASSING:
                raise
            log.warning("the oplog does not have the place that was read last: all documents are read", code=error.code)
            await self._begin(stop)

    async def _begin(self, stop: asyncio.Event) -> None:
        """All documents first, then what has changed since before they were read."""
        metrics.SNAPSHOTS.inc()
        started: Timestamp = (await self._database.command("ping"))["operationTime"]
        await self._snapshot.deliver(self._deliver)
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

    async def _save(self, token: Mapping[str, Any] | None, *, due: bool) -> None:
        """Remembers the place: after each delivery, and now and then while nothing happens, or the oplog rolls on."""
        now = time.monotonic()
        if token is not None and (due or now - self._saved >= IDLE_SECONDS):
            await self._progress.save(token)
            self._saved = now

    async def _gather(self, stream: AsyncChangeStream[dict[str, Any]]) -> AsyncIterator[Record]:
        """What is there now, and what comes within half a second."""
        count, until = 0, time.monotonic() + BATCH_SECONDS
        while count < BATCH_RECORDS and time.monotonic() < until:
            event = await stream.try_next()
            if event is None:
                return
            async for record in self._records(event):
                count += 1
                yield record

    async def _records(self, event: Document) -> AsyncIterator[Record]:
        kind = KIND_OF_COLLECTION[event["ns"]["coll"]]
        name = self._name(kind, event)
        if name is None:
            return  # a document that is no tally's: `flusher verify` names it
        at = moment(event["clusterTime"], self._generation)
        operation = event["operationType"]
        if operation == "update":
            changes = event["updateDescription"]
            removed = changes.get("removedFields", [])
            renamed = COURSE.key in changes["updatedFields"] and kind is COURSE
            if renamed or touches_counters(kind, removed):
                yield Record(name, at, cleared=True)
                for record in await read_one(self._database, kind, self._generation, event["documentKey"]["_id"]):
                    yield record
                return
            totals, odd = totals_of(kind, changes["updatedFields"])
        elif operation == "delete":
            yield Record(name, at, cleared=True)
            return
        else:
            totals, odd = totals_of(kind, event["fullDocument"])
        metrics.REJECTED.inc(len(odd))
        if totals or operation == "replace":
            yield Record(name, at, totals, cleared=operation == "replace")

    def _name(self, kind: Kind, event: Document) -> str | None:
        """The tally that an event is about. Days and lectures carry it in `_id`; of courses it is remembered."""
        document_id = event["documentKey"]["_id"]
        if kind is not COURSE:
            name = str(document_id)
        else:
            shown = event.get("fullDocument") or event.get("updateDescription", {}).get("updatedFields", {})
            if COURSE.key in shown:
                self._courses[document_id] = str(shown[COURSE.key])
            name = self._courses.get(document_id, "")
        return name if tally_of(name) is not None else None

    async def _learn_courses(self) -> None:
        """Which course each document is of: an event of a deleted one could not be told otherwise."""
        async for document in self._database[COURSE.collection].find({}, {COURSE.key: 1}):
            self._courses[document["_id"]] = str(document.get(COURSE.key))


class MongoProgress:
    """The place in the stream, in MongoDB, for a relay that hands records to Kafka."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._collection = database["analyticsrelay"]

    async def load(self) -> Mapping[str, Any] | None:
        """The token that was saved last."""
        found = await self._collection.find_one({"_id": "relay"})
        return found["token"] if found else None

    async def save(self, token: Mapping[str, Any]) -> None:
        """Acknowledged by a majority."""
        await self._collection.update_one({"_id": "relay"}, {"$set": {"token": token}}, upsert=True)


async def _pause(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(RETRY_SECONDS):
            await stop.wait()
    except TimeoutError:
        pass
