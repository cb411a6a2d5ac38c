"""Records into the store: the highest `at` of a key, one insert a batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from shared.data.tallies import DAY, LECTURE
from warehouse import metrics, rows
from warehouse.record import Malformed, Record
from warehouse.store import Store

# A snapshot's record has up to thousands of rows; so many rows at once take about 100 MB.
INSERT_ROWS = 100_000

log = structlog.get_logger()


class Sink:
    """Writes records; repeating a write changes nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def write(self, records: Sequence[Record]) -> list[tuple[Record, str]]:
        """Inserts the records' rows, and returns the malformed records with the reasons. Raises Unavailable."""
        batch: rows.Rows = {}
        refused = []
        for record in records:
            try:
                rows.add(batch, record)
            except Malformed as problem:
                refused.append((record, str(problem)))
            if len(batch) >= INSERT_ROWS:
                await self._insert(batch)
                batch = {}
        await self._insert(batch)
        return refused

    async def deliver(self, records: Sequence[Record]) -> None:
        """Inserts the records' rows, and logs the malformed records. Raises Unavailable."""
        refused = await self.write(records)
        if refused:
            metrics.REJECTED.inc(len(refused))
            log.error("records rejected", records=len(refused), reason=refused[0][1])

    async def _insert(self, batch: rows.Rows) -> None:
        await self._store.insert(batch)
        metrics.ROWS.inc(len(batch))


async def known_tallies(store: Store) -> list[str]:
    """The names of all tallies that have rows."""
    found = await store.query(
        "SELECT DISTINCT kind, course, if(kind = 'lecture', lecture, ''), toString(day) FROM tallies"
    )
    return [_name(*row) for row in found]


def _name(kind: str, course: str | bytes, lecture: str, day: str) -> str:
    course_id = course.decode() if isinstance(course, bytes) else course
    return {DAY.name: f"{course_id}/{day}", LECTURE.name: f"{course_id}/{lecture}"}.get(kind, course_id)


class StoreProgress:
    """The position in the change stream, kept in the store itself: written after the rows."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def load(self) -> Mapping[str, Any] | None:
        """The token that was saved last."""
        token = await self._store.saved("resume token")
        return {"_data": token} if token else None

    async def save(self, token: Mapping[str, Any]) -> None:
        """Remembers a token."""
        await self._store.save("resume token", token["_data"])
