"""Change events as records: which totals each change touched, and when by the cluster's clock."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from shared.data.tallies import COURSE, Kind, tally_of
from warehouse import metrics
from warehouse.changes import KIND_OF_COLLECTION, Document, Totals, totals_of, totals_of_update
from warehouse.record import Record, moment
from warehouse.snapshot import place_of, read_one

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

# As text, because no driver may be able to decode what somebody stored as the course's id.
NAMED = {COURSE.key: {"$convert": {"input": f"${COURSE.key}", "to": "string", "onError": None, "onNull": None}}}


class Lost(Exception):
    """The events do not describe every change: all documents must be read."""


class Events:
    """Knows to which course each document belongs: an event names its document by `_id` only."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], generation: int) -> None:
        self._database = database
        self._generation = generation
        self._courses: dict[bytes, str] = {}  # by `place_of`

    async def learn_courses(self) -> None:
        """Reads to which course each document belongs now."""
        documents = self._database[COURSE.collection].find({}, NAMED)
        self._courses = {place_of(document["_id"]): str(document.get(COURSE.key)) async for document in documents}

    async def records(self, event: Document) -> list[Record]:
        """The records of an event; none for a document of no tally, which `flusher verify` names. Raises Lost."""
        operation = event["operationType"]
        if operation in ("drop", "rename"):
            raise Lost(f"a collection was changed as a whole ({operation})")
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
        """The name of the tally. Days and lectures have it in `_id`; courses are looked up. Raises Lost."""
        document_id = event["documentKey"]["_id"]
        if kind is not COURSE:
            return str(document_id)
        place = place_of(document_id)
        known = self._courses.get(place)
        if event["operationType"] == "delete":
            if known is None:
                raise Lost("a document was deleted, and its course is not known")
            return known
        if "fullDocument" in event:
            name = str(event["fullDocument"].get(COURSE.key))
            self._courses[place] = name
            if known not in (None, name):
                raise Lost("a document was moved to another course")
            return name
        changes = event["updateDescription"]
        if COURSE.key in changes["updatedFields"] or COURSE.key in changes.get("removedFields", ()):
            raise Lost("a document was moved to another course")
        return known or await self._looked_up(document_id)

    async def _looked_up(self, document_id: object) -> str:
        """For a document that was inserted while another relay ran; "" if it is gone, as a later event will tell."""
        found = await self._database[COURSE.collection].find_one({"_id": document_id}, NAMED)
        if found is None:
            return ""
        name = self._courses[place_of(document_id)] = str(found.get(COURSE.key))
        return name


def _totals(kind: Kind, event: Document) -> Totals | None:
    """The totals in an event; None if the document must be read.

    The events of a transaction share one time, so their records would not tell their order.
    """
    if "txnNumber" in event:
        return None
    if event["operationType"] == "update":
        changes = event["updateDescription"]
        shortened = [array["field"] for array in changes.get("truncatedArrays", ())]
        return totals_of_update(kind, changes["updatedFields"], [*changes.get("removedFields", ()), *shortened])
    return totals_of(kind, event["fullDocument"])
