"""Events that wait for room in a commit. Callers take turns, so that none waits for everything that another has sent.

Pure.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ingest_server.commit import COURSE_WEIGHT, LECTURE_WEIGHT, Told
from ingest_server.events import Event, Telemetry, weight

# The most weight of one turn, and more than any event weighs. A larger call has several turns.
TURN_WEIGHT = 500

# An event, the future of its caller, and its position in its call, see `commit.Waiter`.
Asked = tuple[Event, "asyncio.Future[Told]", int | None]


class Turn(NamedTuple):
    """Events of one call that go into a commit together, and their greatest weight there."""

    asked: Sequence[Asked]
    weight: int


def portions(events: Sequence[Event], ping_weight: int = 0) -> Iterator[tuple[Sequence[Event], int]]:
    """The events of one call, divided into turns, with the weight of each; a ping weighs so much more than it says."""
    portion: list[Event] = []
    portion_weight = 0
    named: set[object] = set()
    for event in events:
        own = weight(event) + ping_weight * isinstance(event, Telemetry)
        more = own + _first_weight(event, named)
        if portion and portion_weight + more > TURN_WEIGHT:
            yield portion, portion_weight
            portion, portion_weight, named = [], 0, set()
            more = own + _first_weight(event, named)
        portion.append(event)
        portion_weight += more
    if portion:
        yield portion, portion_weight


def _first_weight(event: Event, named: set[object]) -> int:
    """What the event weighs as the first of its course and lecture; adds those to the names."""
    more = 0
    if event.course_id not in named:
        named.add(event.course_id)
        more = COURSE_WEIGHT
    if isinstance(event, Telemetry):
        for what in ("counters", "segments") if event.played is not None else ("counters",):
            lecture = event.course_id, event.lecture_id, what
            if lecture not in named:
                named.add(lecture)
                more += LECTURE_WEIGHT
    return more


class Waiting:
    """The turns of all callers, each caller's in the order in which they came."""

    def __init__(self) -> None:
        self._turns: OrderedDict[str, deque[Turn]] = OrderedDict()
        self._weights: dict[str, int] = {}
        self.weight = 0

    def __bool__(self) -> bool:
        return bool(self._turns)

    def weight_of(self, caller: str) -> int:
        """The weight of a caller's turns."""
        return self._weights.get(caller, 0)

    def put(self, caller: str, turn: Turn) -> None:
        """Adds a turn behind the caller's others."""
        self._turns.setdefault(caller, deque()).append(turn)
        self._weights[caller] = self.weight_of(caller) + turn.weight
        self.weight += turn.weight

    def take(self, room: Callable[[], int]) -> Iterator[Turn]:
        """Removes and yields turns, one of each caller after the other, as long as there is room for the next."""
        while self._turns:
            caller, own = next(iter(self._turns.items()))
            if own[0].weight > room():
                return
            turn = own.popleft()
            self.weight -= turn.weight
            if own:
                self._weights[caller] -= turn.weight
                self._turns.move_to_end(caller)
            else:
                del self._turns[caller], self._weights[caller]
            yield turn
