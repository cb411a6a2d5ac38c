"""The bound of watch time, as arithmetic and as the script does it: what it lets pass, and what it never refuses."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_server.commit import Commit
from ingest_server.events import Telemetry
from ingest_server.recorder import SCRIPT
from ingest_server.script_call import Argument, script_call
from shared.data import keys
from tests.ingest_server.test_commit import DONE

COURSE, LECTURE = "650000000000000000000001", "650000000000000000000011"
START = 1_760_000_000_000  # ms


class Ping(NamedTuple):
    """What a user reports, `after` so many milliseconds since the last time."""

    after: int
    seconds: int


def verdicts(pings: Iterable[Ping], credit: int) -> list[bool]:
    """What the bound says of each ping: the rule (GCRA: generic cell rate algorithm) in plain arithmetic, in ms."""
    now, watched, answers = START, 0, []
    for ping in pings:
        now += ping.after
        moved_on = max(now, watched) + ping.seconds * 1000
        answers.append(moved_on - now <= credit)
        if answers[-1]:
            watched = moved_on
    return answers


reports = st.lists(st.builds(Ping, st.integers(0, 60_000), st.integers(0, 60)), max_size=30)
allowances = st.integers(1, 120_000)


@given(reports, allowances)
def test_in_no_stretch_of_time_more_is_counted_than_it_is_long_and_the_credit(
    pings: Sequence[Ping], credit: int
) -> None:
    times = list(accumulate(ping.after for ping in pings))
    counted = [1000 * ping.seconds * allowed for ping, allowed in zip(pings, verdicts(pings, credit), strict=True)]
    for first in range(len(pings)):
        for last in range(first, len(pings)):
            assert sum(counted[first : last + 1]) <= times[last] - times[first] + credit


@given(st.lists(st.integers(0, 60), max_size=30), st.integers(0, 60_000))
def test_a_player_that_reports_real_time_is_never_refused(stretches: Sequence[int], pause: int) -> None:
    """From the first ping on, whose seconds went before it, and with any pause; the credit is the longest stretch."""
    pings = [Ping(1000 * seconds + pause, seconds) for seconds in stretches]
    assert all(verdicts(pings, 1000 * max(stretches, default=0)))


@given(st.integers(1, 60), st.integers(1, 30))
def test_what_was_watched_while_the_network_was_away_may_come_at_once_up_to_the_credit(every: int, held: int) -> None:
    watched = [Ping(every * 1000, every)] * 3
    late = [Ping(every * 1000 * held, every), *[Ping(0, every)] * (held - 1)]
    assert all(verdicts([*watched, *late, *watched], 1000 * every * held))
    assert not all(verdicts([*watched, *late, Ping(0, every)], 1000 * every * held))


@given(reports, reports, allowances)
def test_a_refused_ping_changes_nothing(before: Sequence[Ping], after: Sequence[Ping], credit: int) -> None:
    too_much = Ping(0, credit // 1000 + 1)
    with_it = verdicts([*before, too_much, *after], credit)
    assert not with_it.pop(len(before))
    assert verdicts([*before, *after], credit) == with_it


@settings(max_examples=40)
@given(reports, allowances)
def test_the_script_says_the_same(redis_server_url: str, pings: Sequence[Ping], credit: int) -> None:
    """Its clock is read from a list of ours; a watch key then ends by another clock, and so must be kept."""
    script = SCRIPT.replace("redis.call('TIME')", "redis.call('LRANGE', 'now', 0, 1)")
    script = script.replace(", 'PX', string.format('%.0f', watched - now)", "")
    now = START
    with redis.Redis.from_url(redis_server_url, decode_responses=True) as client:
        client.flushdb()
        commits = client.pipeline(transaction=False)
        for number, ping in enumerate(pings, 1):
            now += ping.after
            commits.delete("now")
            commits.rpush("now", now // 1000, now % 1000 * 1000)
            names, arguments = call_of(ping, number, credit / 1000)
            commits.eval(script, len(names), *names, *arguments)
        answers = commits.execute()[2::3]
        allowed = verdicts(pings, credit)
        assert allowed == [answer == 1 for answer in answers]
        counted = sum(ping.seconds for ping, one in zip(pings, allowed, strict=True) if one)
        assert (allowed.count(True), counted) == (stored(client, "lecture_views"), stored(client, "lecture_watchtime"))


def call_of(ping: Ping, number: int, credit: float) -> tuple[list[str], list[Argument]]:
    """The keys and arguments of a commit with this ping."""
    commit = Commit(watch_credit=credit)
    commit.add(Telemetry(COURSE, b"ann", None, LECTURE, ping.seconds, None), DONE)
    ((partition, share),) = commit.partitions.items()
    return script_call(
        partition, share, process="p", commit=number, batch="batch", now=START / 1000, watch_credit=credit
    )


def stored(client: "redis.Redis", counter: str) -> int:
    """What the course has of it."""
    counters = keys.course_counters(keys.partition_of(COURSE), COURSE)
    return int(client.hget(counters, f"{counter}:{LECTURE}") or 0)
