"""Every document's totals as records: the backfill of an installation, and the repair after lost changes.

Each part is read with the read concern "snapshot" and stamped with the cluster time of that read. A later stamp would
hide a newer total for ever. No read is older than the moment from which changes are followed; otherwise a member of the
set that lags would leave a gap between the two.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import bson
import structlog
from bson import MaxKey, Timestamp
from bson.errors import InvalidBSON
from pymongo.asynchronous.database import AsyncDatabase

from shared.data.tallies import KINDS, Kind, tally_of
from warehouse import metrics
from warehouse.changes import totals_of
from warehouse.record import Record, moment

Database = AsyncDatabase[dict[str, Any]]
Deliver = Callable[[Sequence[Record]], Awaitable[None]]  # returns once the records are stored
Known = Callable[[], Awaitable[Sequence[str]]]  # the tallies that have rows in a store

READ_DOCUMENTS = 1_000
# The fields of a document other than its counters; some are large.
LEFT_OUT = {"usersSketch": 0, "recentBatches": 0}

log = structlog.get_logger()


async def cluster_time(database: Database) -> Timestamp:
    """The cluster's current time."""
    now: Timestamp = (await database.command("ping"))["operationTime"]
    return now


async def read_all(database: Database, kind: Kind, *, after: Timestamp, generation: int) -> AsyncIterator[Record]:
    """The records of all documents of a kind. Each clears the earlier records of its tally."""
    bounds: dict[str, Any] = {}
    last = b""
    while True:
        query = {"sort": {"_id": 1}, "limit": READ_DOCUMENTS + 1, **bounds}
        try:
            documents, at = await _read(database, kind, query, after, generation)
            records = list(_records(kind, _beyond(last, documents), at))
        except InvalidBSON:
            documents, _ = await _read(database, kind, {**query, "projection": {"_id": 1}}, after, generation)
            records = [
                record
                for document in _beyond(last, documents)
                for record in await read_one(database, kind, document["_id"], after=after, generation=generation)
            ]
        for record in records:
            yield record
        end = documents[-1]["_id"] if documents else MaxKey()
        if place_of(end) == last or isinstance(end, MaxKey):  # the greatest there is
            return
        last = place_of(end)
        # `min` covers ids of all types, a comparison only one type. It includes the id itself.
        bounds = {"hint": {"_id": 1}, "min": {"_id": end}}


def place_of(document_id: object) -> bytes:
    """Equal only for equal ids. They may be of any type, and not all types can be hashed, or equal themselves."""
    return bson.encode({"_id": document_id})


def _beyond(last: bytes, documents: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    return documents[1:] if documents and place_of(documents[0]["_id"]) == last else documents


async def read_one(
    database: Database, kind: Kind, document_id: object, *, after: Timestamp, generation: int
) -> list[Record]:
    """The record of one document as it is now; none if it is gone, or was stored so that no driver can decode it."""
    try:
        documents, at = await _read(database, kind, {"filter": {"_id": document_id}, "limit": 1}, after, generation)
    except InvalidBSON as error:
        metrics.REJECTED.inc()
        log.warning("a document cannot be decoded", collection=kind.collection, id=str(document_id), reason=str(error))
        return []
    return list(_records(kind, documents, at))


async def _read(
    database: Database, kind: Kind, query: Mapping[str, Any], after: Timestamp, generation: int
) -> tuple[Sequence[Mapping[str, Any]], int]:
    """Some documents, and the time at which they were read: `after`, or later. Raises InvalidBSON, PyMongoError."""
    find = {"find": kind.collection, "projection": LEFT_OUT, "singleBatch": True}
    concern = {"level": "snapshot", "afterClusterTime": after}
    reply = await database.command({**find, **query, "readConcern": concern})
    cursor = reply["cursor"]
    if not cursor["firstBatch"]:
        return [], 0  # also for a collection that does not exist, whose reply has no time
    return cursor["firstBatch"], moment(cursor["atClusterTime"], generation)


def _records(kind: Kind, documents: Iterable[Mapping[str, Any]], at: int) -> Iterator[Record]:
    for document in documents:
        name = str(document.get(kind.key))
        if tally_of(name) is not None:  # else `flusher verify` names it
            totals, odd = totals_of(kind, document)
            metrics.REJECTED.inc(len(odd))
            yield Record(name, at, totals, cleared=True)


class Snapshot:
    """Reads all documents of a database.

    `known` lists the tallies in the store, if it can be reached, so that those without a document are cleared.
    """

    def __init__(
        self,
        database: Database,
        *,
        generation: int,
        known: Known | None = None,
    ) -> None:
        self._database = database
        self._generation = generation
        self._known = known

    async def deliver(self, deliver: Deliver) -> Timestamp:
        """Delivers every document's totals, and clears tallies whose documents no longer exist.

        Returns the moment from which changes must be followed.
        """
        begun = await cluster_time(self._database)
        gone = set(await self._known()) if self._known else set()
        for kind in KINDS:
            part: list[Record] = []
            async for record in read_all(self._database, kind, after=begun, generation=self._generation):
                gone.discard(record.tally)
                part.append(record)
                if len(part) == READ_DOCUMENTS:
                    await deliver(part)
                    part = []
            await deliver(part)
        cleared = moment(begun, self._generation)
        await deliver([Record(name, cleared, cleared=True) for name in sorted(gone)])
        return begun

    async def count(self, deliver: Deliver) -> int:
        """Delivers everything, and returns the number of records."""
        count = 0

        async def counted(records: Sequence[Record]) -> None:
            nonlocal count
            await deliver(records)
            count += len(records)

        await self.deliver(counted)
        return count
