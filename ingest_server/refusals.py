"""Counts the events that are refused before they reach Redis. Nobody waits for that.

Only for courses that the catalog has, so that nobody can fill Redis with names. One that is not in the cache is looked
up in the background; what was refused for it is not counted while MongoDB is away.
"""

import asyncio
from collections.abc import Iterable

from ingest_server.catalog import Catalog
from ingest_server.committer import Committer
from ingest_server.events import Refused

# As many may wait for the catalog, which answers within a fraction of a second or not at all.
MAX_UNKNOWN = 1_000


class Refusals:
    """Takes what is refused, for the committer to count it. `run` looks up the courses that the cache does not have."""

    def __init__(self, catalog: Catalog, committer: Committer) -> None:
        self._catalog = catalog
        self._committer = committer
        self._unknown: list[Refused] = []
        self._some = asyncio.Event()

    def count(self, events: Iterable[Refused | None]) -> None:
        """Counts those that are events of a known course, at once or once it is known."""
        for event in events:
            if event is None:
                continue
            if self._catalog.has(event.course_id):
                self._committer.refuse(event)
            elif len(self._unknown) < MAX_UNKNOWN:
                self._unknown.append(event)
                self._some.set()

    async def run(self) -> None:
        """Looks up what has come in, again and again.

        It also ends when it was cancelled and the driver of MongoDB made another error of that.
        """
        task = asyncio.current_task()
        while not (task and task.cancelling()):
            await self._some.wait()
            self._some.clear()
            unknown, self._unknown = self._unknown, []
            await self._catalog.load({event.course_id: set() for event in unknown})
            for event in unknown:
                if self._catalog.has(event.course_id):
                    self._committer.refuse(event)
