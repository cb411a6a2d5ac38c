"""Counts the events that are refused before they reach Redis. No caller waits for that.

Only for courses that the catalog has, so that nobody can fill Redis with names. A course that is not in the cache is
looked up in the background; while MongoDB is unavailable, its refused events are not counted.
"""

import asyncio
from collections.abc import Iterable

from ingest_server.catalog import Catalog
from ingest_server.committer import Committer
from ingest_server.events import Refused

# The most that may wait for the catalog, which answers within a fraction of a second or not at all.
MAX_UNKNOWN = 1_000


class Refusals:
    """Passes refused events to the committer. `run` looks up the courses that the cache does not have."""

    def __init__(self, catalog: Catalog, committer: Committer) -> None:
        self._catalog = catalog
        self._committer = committer
        self._unknown: list[Refused] = []
        self._some = asyncio.Event()

    def count(self, refused: Iterable[Refused | None]) -> None:
        """Counts those of a known course, at once or once it is known."""
        for each in refused:
            if each is None:
                continue
            if self._catalog.has(each.course_id):
                self._committer.refuse(each)
            elif len(self._unknown) < MAX_UNKNOWN:
                self._unknown.append(each)
                self._some.set()

    async def run(self) -> None:
        """Looks up courses as they arrive.

        Also ends if MongoDB's driver turns its cancellation into another error.
        """
        task = asyncio.current_task()
        while not (task and task.cancelling()):
            await self._some.wait()
            self._some.clear()
            unknown, self._unknown = self._unknown, []
            await self._catalog.load({each.course_id: set() for each in unknown})
            for each in unknown:
                if self._catalog.has(each.course_id):
                    self._committer.refuse(each)
