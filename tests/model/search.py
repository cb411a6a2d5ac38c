"""Breadth-first search of everything that can happen: the first fault found is one with the fewest steps."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.model import faults, flusher, ingest, invariants, reader
from tests.model.rules import Circumstance, Measures, Rules
from tests.model.state import IDLE, Document, Ingest, Move, Reader, Redis, State


class Result(NamedTuple):
    """How a search ended, and how many ends (see `is_end`) it has seen: none, and it has shown nothing."""

    states: int
    ends: int
    seconds: float
    fault: str
    trace: tuple[Move, ...]


def search(circumstance: Circumstance, measures: Measures, seen: Callable[[int], None] = lambda _: None) -> Result:
    """Visits every state that can be reached, or stops at the first fault. `seen` is told now and then how many."""
    began = time.process_time()
    rules = Rules(circumstance, measures)
    start = beginning(circumstance)
    came_from: dict[State, State | None] = {start: None}
    level, ends = [start], 0
    while level:
        next_level = []
        for state in level:
            for move in moves(state, rules):
                after = canonical(move.after)
                if after in came_from:
                    continue
                came_from[after] = state
                if wrong := invariants.fault(after, rules):
                    path = _path(after, came_from)
                    return Result(len(came_from), ends, time.process_time() - began, wrong, replayed(path, rules))
                ends += is_end(after, rules)
                next_level.append(after)
        level = next_level
        seen(len(came_from))
    return Result(len(came_from), ends, time.process_time() - began, "", ())


def stuck(circumstance: Circumstance, measures: Measures) -> list[State]:
    """The states from which no end can be reached any more."""
    rules = Rules(circumstance, measures)
    found = {beginning(circumstance)}
    comes_from: dict[State, list[State]] = {}
    ahead = list(found)
    while ahead:
        state = ahead.pop()
        for move in moves(state, rules):
            after = canonical(move.after)
            comes_from.setdefault(after, []).append(state)
            if after not in found:
                found.add(after)
                ahead.append(after)
    ahead = [state for state in found if is_end(state, rules)]
    hopeful = set(ahead)
    while ahead:
        before = [state for state in comes_from.get(ahead.pop(), ()) if state not in hopeful]
        hopeful.update(before)
        ahead += before
    return list(found - hopeful)


def is_end(state: State, rules: Rules) -> bool:
    """Whether all pings were sent and flushed, and nobody is at work."""
    return state.ingest.attempted == rules.circumstance.pings and invariants.is_quiet(state)


def beginning(circumstance: Circumstance) -> State:
    """Nothing has happened yet."""
    return State(
        redis=Redis(),
        copy=None,
        mongo=Document(),
        majority=Document(),
        refuses=False,
        flushers=(IDLE,) * circumstance.flushers,
        late=(),
        ingest=Ingest(),
        reader=Reader() if circumstance.reader else None,
        faults=circumstance.faults,
    )


def moves(state: State, rules: Rules) -> Iterator[Move]:
    """Everything that may happen next."""
    yield from ingest.moves(state, rules)
    yield from flusher.moves(state, rules)
    yield from faults.moves(state, rules)
    yield from reader.moves(state, rules)


def canonical(state: State) -> State:
    """The same state under other names, always the same ones.

    Flushers run the same program, so their order says nothing. Of epochs only the order matters, so they are numbered
    anew without gaps: that makes any number of waves a finite search.
    """
    flushers = tuple(sorted(state.flushers))
    used = {
        0,
        state.mongo.epoch,
        state.majority.epoch,
        *[flusher.epoch for flusher in flushers],
        *[update.epoch for update in state.late],
    }
    if max(used) < len(used):
        return state if flushers == state.flushers else state._replace(flushers=flushers)
    rank = {epoch: position for position, epoch in enumerate(sorted(used))}
    return state._replace(
        mongo=state.mongo._replace(epoch=rank[state.mongo.epoch]),
        majority=state.majority._replace(epoch=rank[state.majority.epoch]),
        flushers=tuple(flusher._replace(epoch=rank[flusher.epoch]) for flusher in flushers),
        late=tuple(update._replace(epoch=rank[update.epoch]) for update in state.late),
    )


def _path(state: State, came_from: dict[State, State | None]) -> list[State]:
    path = [state]
    while (before := came_from[path[-1]]) is not None:
        path.append(before)
    return path[::-1]


def replayed(path: list[State], rules: Rules) -> tuple[Move, ...]:
    """The moves that lead along a path of canonical states, under the names that everybody has in truth."""
    state, trace = path[0], []
    for target in path[1:]:
        move = next(move for move in moves(state, rules) if canonical(move.after) == target)
        trace.append(move)
        state = move.after
    return tuple(trace)
