"""Ingest: `record.lua`, and the recorder that sends a commit once more when its reply is lost."""

from collections.abc import Iterator

from tests.model.rules import Rules
from tests.model.state import Batch, Ingest, Move, Redis, State

ACTOR = "ingest"


def moves(state: State, rules: Rules) -> Iterator[Move]:
    """What ingest may do: send its next commit, or the last one again; and what is late may arrive."""
    ingest = state.ingest
    if ingest.retrying:
        yield from _sends(state, rules, ingest, give_up=True)
    elif ingest.attempted < rules.circumstance.pings:
        yield from _sends(state, rules, ingest._replace(attempted=ingest.attempted + 1), give_up=False)
    for number in ingest.late:
        rest = ingest._replace(late=tuple(other for other in ingest.late if other != number))
        after = state._replace(redis=recorded(state.redis, number, rules), ingest=rest)
        yield Move("network", f"a late commit {number} arrives", after)


def _sends(state: State, rules: Rules, ingest: Ingest, *, give_up: bool) -> Iterator[Move]:
    number = ingest.attempted
    sends = f"sends commit {number} again" if give_up else f"sends commit {number}"
    redis = recorded(state.redis, number, rules)
    answered = ingest._replace(acknowledged=ingest.acknowledged + 1, retrying=False)
    yield Move(ACTOR, f"{sends}: acknowledged", state._replace(redis=redis, ingest=answered))
    if state.faults.lost_commits:
        faults = state.faults._replace(lost_commits=state.faults.lost_commits - 1)
        unanswered = ingest._replace(retrying=not give_up)
        yield Move(ACTOR, f"{sends}: the reply is lost", state._replace(redis=redis, ingest=unanswered, faults=faults))
        # Also stands for a commit that never arrives: what is late need not come.
        on_its_way = unanswered._replace(late=tuple(sorted({*ingest.late, number})))
        yield Move(ACTOR, f"{sends}: it is delayed", state._replace(ingest=on_its_way, faults=faults))


def recorded(redis: Redis, number: int, rules: Rules) -> Redis:
    """What `record.lua` makes of Redis: one count more, unless it has had this commit or a later one."""
    if rules.measures.commit_number and redis.commit >= number:
        return redis
    hot = Batch(redis.hot.id or number, redis.hot.pings + 1)
    return redis._replace(hot=hot, dirty=True, commit=number)
