"""Every document's totals as records: the backfill of an installation, and the cure when changes were lost.

Each part is read with the read concern "snapshot" and stamped with the cluster time of that very read. A later stamp
would bury a newer total for ever.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from bson import SON
from pymongo.asynchronous.database import AsyncDatabase

from shared.data.tallies import KINDS, Kind, tally_of
from warehouse import metrics
from warehouse.changes import totals_of
from warehouse.record import Record, moment

READ_DOCUMENTS = 1_000
# What a document has beside its counters, some of it large.
LEFT_OUT = {"usersSketch": 0, "recentBatches": 0}


async def read_documents(
    database: AsyncDatabase[dict[str, Any]], kind: Kind, generation: int, *, only: Any = None
) -> AsyncIterator[Record]:
    """The records of all documents of a kind, or of the one with the `_id` `only`. Each clears what was before it."""
    last: Mapping[str, Any] | None = None if only is None else {"_id": only}
    while True:
        query = SON([("find", kind.collection), ("projection", LEFT_OUT), ("sort", {"_id": 1})])
        if only is not None:
            query["filter"] = {"_id": only}
        elif last is not None:
            # `min` goes over ids of all types, where a comparison would stay within one; it includes the last one.
            query |= {"hint": {"_id": 1}, "min": last}
        query |= {"limit": READ_DOCUMENTS + 1, "singleBatch": True, "readConcern": {"level": "snapshot"}}
        cursor = (await database.command(query))["cursor"]
        at = moment(cursor["atClusterTime"], generation)
        documents = [document for document in cursor["firstBatch"] if only is not None or not last or document["_id"] != last["_id"]]
        for document in documents:
            record = _record(kind, document, at)
            if record is not None:
                yield record
        if only is not None or not documents:
            return
        last = {"_id": documents[-1]["_id"]}


def _record(kind: Kind, document: Mapping[str, Any], at: int) -> Record | None:
    name = str(document.get(kind.key))
    if tally_of(name) is None:
        return None
    totals, odd = totals_of(kind, document)
    metrics.REJECTED.inc(len(odd))
    return Record(name, at, totals, cleared=True)


class Snapshot:
    """Reads all documents of a database. `known` names the tallies of a store that is at hand, for those that are gone."""

    def __init__(
        self,
        database: AsyncDatabase[dict[str, Any]],
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
            async for record in read_documents(self._database, kind, self._generation):
                gone.discard(record.tally)
                part.append(record)
                if len(part) == READ_DOCUMENTS:
                    await deliver(part)
                    count, part = count + len(part), []
            await deliver(part)
            count += len(part)
        await deliver([Record(name, begun, cleared=True) for name in sorted(gone)])
        return count + len(gone)
