"""Many events of one call: valid ones are counted, invalid ones are answered with their reasons."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from course_analytics.v1 import ingest_pb2

from ingest_server import metrics, validation
from ingest_server.catalog import Catalog
from ingest_server.commit import COURSE_WEIGHT
from ingest_server.committer import Committer
from ingest_server.events import Event, Refused, Telemetry, seconds_of, weight
from ingest_server.identity import UserKey
from ingest_server.named import Batch, names_user
from ingest_server.reasons import all_refused, error_of, refused
from ingest_server.refusals import Refusals
from shared.identity.auth import Caller
from shared.serving.errors import InvalidRequest, NotFound, PermissionDenied, ServiceError

WRITE_SCOPE = "analytics:write"

# How many refused events of a batch are answered with their reason.
MAX_REASONS = 100
# Events validated between two turns of the event loop: a ping then waits for a millisecond, not for a whole batch.
SLICE = 100

NO_REASON = f"refused; of one batch only {MAX_REASONS} reasons are told"
NOT_PERMITTED = f"userId may be named only by a token with the scope {WRITE_SCOPE}"


def permit(request: validation.Request, caller: Caller) -> None:
    """Raises PermissionDenied when the request names a user, and the caller may not report for others."""
    if WRITE_SCOPE not in caller.scope and request.HasField("user_id"):
        raise PermissionDenied(NOT_PERMITTED)


def permit_all(batch: Batch, caller: Caller) -> None:
    """The same for every event of a batch, before anything else is judged: it costs the least."""
    if WRITE_SCOPE not in caller.scope and names_user(batch):
        raise PermissionDenied(NOT_PERMITTED)


@dataclass(slots=True)
class SortedEvents:
    """The events of one call: those to count, with their positions, and those refused so far."""

    valid: list[tuple[int, Event]] = field(default_factory=list)
    rejected: list[ingest_pb2.RejectedEvent] = field(default_factory=list)
    not_counted: list[Refused | None] = field(default_factory=list)

    def reject(self, index: int, error: ServiceError) -> None:
        """Records that an event is not counted. Only the first ones get a reason: texts cost more than validation."""
        metrics.rejected(error.cause).inc()
        reason = str(error) if len(self.rejected) < MAX_REASONS else NO_REASON
        self.rejected.append(ingest_pb2.RejectedEvent(index=index, reason=reason))


def check_room(events: Sequence[ingest_pb2.Event], caller: Caller, committer: Committer, refusals: Refusals) -> None:
    """Raises Overloaded for a batch that has no room, before its events are validated one by one."""
    requests = [validation.of_event(event) for event in events]
    try:
        committer.check_room(sum(map(validation.least_weight, requests)), caller.user_id)
    except ServiceError as error:
        refusals.count(all_refused([(each.course_id, validation.seconds_of(each)) for each in requests], error))
        raise


async def parse(events: Sequence[ingest_pb2.Event], caller: Caller, user_key: UserKey) -> SortedEvents:
    """Sorts a call's events, which `permit_all` has let through, into valid and refused ones."""
    batch = SortedEvents()
    own = user_key(caller.user_id)
    for index, event in enumerate(events):
        if index and not index % SLICE:
            await asyncio.sleep(0)
        request = validation.of_event(event)
        user = own
        if request.HasField("user_id"):
            user = user_key(request.user_id)
        try:
            batch.valid.append((index, validation.event(event, user)))
        except InvalidRequest as error:
            batch.reject(index, error)
            batch.not_counted.append(refused(request.course_id, validation.seconds_of(request), error))
    return batch


async def count(
    batch: SortedEvents,
    caller: Caller,
    catalog: Catalog,
    committer: Committer,
    refusals: Refusals,
    *,
    held: bool = False,
) -> int:
    """Returns how many events are accepted, once Redis has counted them. Raises ServiceError if a part failed.

    If too many events wait already, the call is refused, or `held` until there is room again.
    """
    await _drop_unknown(batch, catalog)
    refusals.count(batch.not_counted)
    events = [event for _, event in batch.valid]
    if held:
        await committer.room(_weight(events), caller.user_id)
    try:
        taken = committer.add_all(events, caller.user_id)
    except ServiceError as error:
        refusals.count(all_refused([(event.course_id, seconds_of(event)) for event in events], error))
        raise
    accepted = len(events)
    for told in await asyncio.gather(*taken):
        accepted -= len(told)
        for place, reason in told.items():
            batch.reject(batch.valid[place][0], error_of(reason))
    batch.rejected.sort(key=lambda rejected: rejected.index)
    return accepted


def _weight(events: Sequence[Event]) -> int:
    return sum(map(weight, events)) + COURSE_WEIGHT * len({event.course_id for event in events})


async def _drop_unknown(batch: SortedEvents, catalog: Catalog) -> None:
    """Refuses the events of a batch whose course or lecture does not exist."""
    lectures: defaultdict[str, set[str]] = defaultdict(set)
    for _, event in batch.valid:
        named = lectures[event.course_id]
        if isinstance(event, Telemetry):
            named.add(event.lecture_id)
    courses = await catalog.load(lectures)
    known: list[tuple[int, Event]] = []
    for index, event in batch.valid:
        lecture_id = event.lecture_id if isinstance(event, Telemetry) else None
        course = courses.get(event.course_id)
        # Only events that the cache does not confirm need the catalog's rules; they are rare.
        if course is None or not course.has(lecture_id):
            try:
                catalog.check(event.course_id, lecture_id)
            except (NotFound, InvalidRequest) as error:
                batch.reject(index, error)
                batch.not_counted.append(refused(event.course_id, seconds_of(event), error))
                continue
        known.append((index, event))
    batch.valid = known
