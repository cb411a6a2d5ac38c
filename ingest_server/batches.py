"""Many events of one call: what is valid is counted, what is not is answered with its reason."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from course_analytics.v1 import ingest_pb2

from ingest_server import validation
from ingest_server.catalog import Catalog
from ingest_server.committer import Committer
from ingest_server.events import Event, Telemetry
from ingest_server.identity import UserKey
from shared.auth import Caller
from shared.errors import InvalidRequest, NotFound, PermissionDenied

WRITE_SCOPE = "analytics:write"

Events = Sequence[ingest_pb2.Event]


def permit(request: validation.Request, caller: Caller) -> None:
    """Raises PermissionDenied when a request names a user, and the caller may not report for others."""
    if validation.named_user(request) is not None and WRITE_SCOPE not in caller.scope:
        raise PermissionDenied(f"userId may be named only by a token with the scope {WRITE_SCOPE}")


def check(events: Events, caller: Caller) -> None:
    """Raises InvalidRequest or PermissionDenied for what is wrong with a batch as a whole."""
    validation.check_batch(events)
    for event in events:
        permit(validation.of_event(event), caller)


@dataclass(slots=True)
class Counted:
    """What became of a batch: how many events are counted, and place and reason of the others."""

    accepted: int = 0
    rejected: list[ingest_pb2.RejectedEvent] = field(default_factory=list)

    def reject(self, index: int, error: Exception) -> None:
        """Notes that one is not counted."""
        self.rejected.append(ingest_pb2.RejectedEvent(index=index, reason=str(error)))


class BatchCounter:
    """Counts batches that have passed `check`."""

    def __init__(self, user_key: UserKey, catalog: Catalog, committer: Committer) -> None:
        self._user_key = user_key
        self._catalog = catalog
        self._committer = committer

    async def count(self, events: Events, caller: Caller) -> Counted:
        """Returns once Redis has counted every valid event. Raises ServiceError when a part of it failed."""
        counted = Counted()
        valid = self._valid(events, caller, counted)
        await self._catalog.load({event.course_id for _, event in valid})
        known: list[Event] = []
        for index, event in valid:
            try:
                await self._catalog.require(event.course_id, event.lecture_id if isinstance(event, Telemetry) else None)
            except NotFound as error:
                counted.reject(index, error)
            else:
                known.append(event)
        await asyncio.gather(*self._committer.add_all(known))
        counted.accepted = len(known)
        counted.rejected.sort(key=lambda rejected: rejected.index)
        return counted

    def _valid(self, events: Events, caller: Caller, counted: Counted) -> list[tuple[int, Event]]:
        valid = []
        for index, event in enumerate(events):
            try:
                user = validation.named_user(validation.of_event(event)) or caller.user_id
                valid.append((index, validation.event(event, self._user_key(user))))
            except InvalidRequest as error:
                counted.reject(index, error)
        return valid
