"""Change events as records: which totals each change touched, and when by the cluster's clock."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from shared.data.tallies import COURSE, Kind, tally_of
from warehouse import metrics
from warehouse.changes import KIND_OF_COLLECTION, Document, Totals, totals_of, totals_of_update
from warehouse.record import Record, moment
from warehouse.snapshot import read_one

PIPELINE: Sequence[Mapping[str, Any]] = [
    {
        "$match": {
            "$or": [
                {
                    "operationType": {"$in": ["insert", "update", "replace", "delete", "drop", "rename"]},
                    "ns.coll": {"$in": list(KIND_OF_COLLECTION)},
                },
                {"operationType": "rename", "to.coll": {"$in": list(KIND_OF_COLLECTION)}},
            ]
        }
    }
]


class Lost(Exception):
    """The events do not describe what happened: all documents must be read."""


class Events:
    """Knows of which course each document is: an event names its document by `_id` alone."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], generation: int) -> None:
        self._database = database
        self._generation = generation
        self._courses: dict[Any, str] = {}

    async def learn_courses(self) -> None:
        """Reads of which course each document is now."""
        documents = self._database[COURSE.collection].find({}, {COURSE.key: 1})
        self._courses = {document["_id"]: str(document.get(COURSE.key)) async for document in documents}

    async def records(self, event: Document) -> list[Record]:
        """The records of an event; none for a document that is no tally's: `flusher verify` names it. Raises Lost."""
        operation = event["operationType"]
        if operation in ("drop", "rename"):
            raise Lost(f"a collection was touched as a whole ({operation})")
        kind = KIND_OF_COLLECTION[event["ns"]["coll"]]
        name = await self._name(kind, event)
        if tally_of(name) is None:
            return []
        at = moment(event["clusterTime"], self._generation)
        if operation == "delete":
            return [Record(name, at, cleared=True)]
        found = _totals(kind, event)
        if found is None:
            after = event["clusterTime"]
            now = await read_one(
                self._database, kind, event["documentKey"]["_id"], after=after, generation=self._generation
            )
            return [Record(name, at, cleared=True), *now]
        totals, odd = found
        metrics.REJECTED.inc(len(odd))
        replaced = operation == "replace"
        return [Record(name, at, totals, cleared=replaced)] if totals or replaced else []

    async def _name(self, kind: Kind, event: Document) -> str:
        """The name of the tally. Days and lectures carry it in `_id`; of courses it is remembered. Raises Lost."""
        document_id = event["documentKey"]["_id"]
        if kind is not COURSE:
            return str(document_id)
        known = self._courses.get(document_id)
        if event["operationType"] == "delete":
            if known is None:
                raise Lost("a document is gone, and it is not known of which course it was")
            return known
        if "fullDocument" in event:
            name = str(event["fullDocument"].get(COURSE.key))
            self._courses[document_id] = name
            if known not in (None, name):
                raise Lost("a document is now another course's")
            return name
        changes = event["updateDescription"]
        if COURSE.key in changes["updatedFields"] or COURSE.key in changes.get("removedFields", ()):
            raise Lost("a document is now another course's")
        return known or await self._looked_up(document_id)

    async def _looked_up(self, document_id: object) -> str:
        """For a document that only another relay has seen arrive; "" when it is gone, as an event to come will say."""
        found = await self._database[COURSE.collection].find_one({"_id": document_id}, {COURSE.key: 1})
        if found is None:
            return ""
        self._courses[document_id] = str(found.get(COURSE.key))
        return self._courses[document_id]


def _totals(kind: Kind, event: Document) -> Totals | None:
    """The totals that an event tells; None when the document must be read.

    The events of a transaction have one time, so their order is not in their records.
    """
    if "txnNumber" in event:
        return None
    if event["operationType"] == "update":
        changes = event["updateDescription"]
        return totals_of_update(kind, changes["updatedFields"], changes.get("removedFields", ()))
    return totals_of(kind, event["fullDocument"])
