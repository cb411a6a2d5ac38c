"""Every document's totals as records: the backfill of an installation, and the cure when changes were lost.

Each part is read with the read concern "snapshot" and stamped with the cluster time of that very read. A later stamp
would bury a newer total for ever.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from shared.data.tallies import KINDS, Kind, tally_of
from warehouse import metrics
from warehouse.changes import totals_of
from warehouse.record import Record, moment

Database = AsyncDatabase[dict[str, Any]]

READ_DOCUMENTS = 1_000
# What a document has beside its counters, some of it large.
LEFT_OUT = {"usersSketch": 0, "recentBatches": 0}


async def read_all(database: Database, kind: Kind, generation: int) -> AsyncIterator[Record]:
    """The records of all documents of a kind. Each clears what was recorded of its tally before."""
    last: object = None
    while True:
        query: dict[str, Any] = {"sort": {"_id": 1}, "limit": READ_DOCUMENTS + 1}
        if last is not None:
            # `min` goes over ids of all types, where a comparison would stay within one; it includes the last one.
            query |= {"hint": {"_id": 1}, "min": {"_id": last}}
        documents, at = await _read(database, kind, query, generation)
        documents = [document for document in documents if document["_id"] != last]
        if not documents:
            return
        last = documents[-1]["_id"]
        for record in _records(kind, documents, at):
            yield record


async def read_one(database: Database, kind: Kind, generation: int, document_id: object) -> list[Record]:
    """The record of one document, as it is now; none when it is gone."""
    documents, at = await _read(database, kind, {"filter": {"_id": document_id}, "limit": 1}, generation)
    return list(_records(kind, documents, at))


async def _read(
    database: Database, kind: Kind, query: Mapping[str, Any], generation: int
) -> tuple[Sequence[Mapping[str, Any]], int]:
    """Some documents, and the moment of which they are."""
    find = {"find": kind.collection, "projection": LEFT_OUT, "singleBatch": True}
    reply = await database.command({**find, **query, "readConcern": {"level": "snapshot"}})
    cursor = reply["cursor"]
    if not cursor["firstBatch"]:
        return [], 0  # also of a collection that is not there, which has no time
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

    `known` names the tallies of a store that is at hand, so that those whose documents are gone are cleared.
    """

    def __init__(
        self,
        database: Database,
        *,
        generation: int,
        known: Callable[[], Awaitable[Sequence[str]]] | None = None,
    ) -> None:
        self._database = database
        self._generation = generation
        self._known = known

    async def deliver(self, deliver: Callable[[Sequence[Record]], Awaitable[None]]) -> int:
        """Hands every document's totals on, and clears what has no document any more. Returns how many records."""
        reply = await self._database.command("ping")
        begun = moment(reply["operationTime"], self._generation)
        gone = set(await self._known()) if self._known else set()
        count = 0
        for kind in KINDS:
            part: list[Record] = []
            async for record in read_all(self._database, kind, self._generation):
                gone.discard(record.tally)
                part.append(record)
                if len(part) == READ_DOCUMENTS:
                    await deliver(part)
                    count, part = count + len(part), []
            await deliver(part)
            count += len(part)
        await deliver([Record(name, begun, cleared=True) for name in sorted(gone)])
        return count + len(gone)
