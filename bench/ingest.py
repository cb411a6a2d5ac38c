"""Ingest: single pings against the server that does nothing, batches, workers, and partitions."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from course_analytics.v1 import ingest_pb2

from bench import h2
from bench.report import Row
from bench.stage import Stage, course, cpu_seconds, write_courses
from devstack.seed import Course
from devstack.tokens import mint
from shared.data.keys import partition_of

COURSES = 8
LECTURES = 20
PARTITIONS = (1, 8, 64, 256)
IN_FLIGHT = 128
BATCH = 100
PING_SECONDS = 5
SPREAD_CALLS = 1_024
ID_COURSES = 16
BACKENDS = 16  # as many as share out the room that there is
CLASSES = 20  # of users: one class alone would come to the limit of a user
MOST_BATCHES = 1_600  # a second: more than are sent
KINDS = ("without ids", "with eventId and playbackId", "with ids and a played range")
PATH = "/course_analytics.v1.IngestService/"

Say = Callable[[str], None]


async def single(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """Single pings, in turns with the ceiling: rate, CPU time, and latency at half load."""
    calls = ping_calls(stage)
    server, ceiling = stage.program("ingest_server"), stage.ceiling()
    measured: dict[str, list[float]] = {name: [] for name in ("ours", "top", "cpu", "top cpu", "p50", "p99", "top p99")}
    for number in range(rounds):
        top, top_cpu = await closed(ceiling.address, ceiling.pid, calls, seconds)
        before = _counted(stage)
        ours, cpu = await closed(server.address, server.pid, calls, seconds)
        half_top = await h2.open_loop(ceiling.address, calls, rate=top.rate / 2, seconds=seconds)
        half = await h2.open_loop(server.address, calls, rate=ours.rate / 2, seconds=seconds)
        _check(stage, before, sent=len(ours.seconds) + len(half.seconds), failed=[ours, half, top, half_top])
        for name, value in (
            ("ours", ours.rate),
            ("top", top.rate),
            ("cpu", 1e6 * cpu / len(ours.seconds)),
            ("top cpu", 1e6 * top_cpu / len(top.seconds)),
            ("p50", half.quantile(0.5)),
            ("p99", half.quantile(0.99)),
            ("top p99", half_top.quantile(0.99)),
        ):
            measured[name].append(value)
        say(f"single pings, round {number + 1}: {ours.rate:,.0f}/s of {top.rate:,.0f}/s")
    name = "ingest"
    return [
        Row(name, f"pings, {IN_FLIGHT} in flight", "pings/s", tuple(measured["ours"])),
        Row(name, "the same, handler that does nothing", "calls/s", tuple(measured["top"])),
        Row(name, "pings ÷ ceiling", "×", _ratios(measured["ours"], measured["top"]), "≥ 0.9"),
        Row(name, "CPU time of the server", "µs/ping", tuple(measured["cpu"])),
        Row(name, "the same, handler that does nothing", "µs/call", tuple(measured["top cpu"])),
        Row(name, "p50 at half load", "ms", tuple(measured["p50"])),
        Row(name, "p99 at half load", "ms", tuple(measured["p99"]), "≤ ceiling's + 5"),
        Row(name, "p99 at half load, handler that does nothing", "ms", tuple(measured["top p99"])),
    ]


async def batches(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """Batches of 100 pings each."""
    calls = batch_calls(stage)
    server = stage.program("ingest_server")
    rates, costs, redis_costs = [], [], []
    for number in range(rounds):
        before, redis_before = _counted(stage), cpu_seconds(stage.redis_server.pid)
        result, cpu = await closed(server.address, server.pid, calls, seconds, in_flight=32)
        _check(stage, before, sent=BATCH * len(result.seconds), failed=[result])
        rates.append(BATCH * result.rate)
        costs.append(1e6 * cpu / len(result.seconds) / BATCH)
        redis_costs.append(1e6 * (cpu_seconds(stage.redis_server.pid) - redis_before) / len(result.seconds) / BATCH)
        say(f"batches, round {number + 1}: {rates[-1]:,.0f} events/s")
    return [
        Row("ingest", f"events in batches of {BATCH}", "events/s", tuple(rates), "≥ 100,000"),
        Row("ingest", "CPU time of the server", "µs/event", tuple(costs)),
        Row("ingest", "CPU time of Redis", "µs/event", tuple(redis_costs)),
    ]


async def identified(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """Batches of 100 events by backends, with and without ids and played ranges, in turns; no event is sent twice."""
    server = stage.program("ingest_server")
    tokens = [mint(stage.secret, f"backend-{number}", scope="analytics:write") for number in range(BACKENDS)]
    courses = [course(number, LECTURES) for number in range(1, ID_COURSES + 1)]
    write_courses(stage.database, courses)
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    costs: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn, kind in itertools.product(range(rounds + 1), KINDS):
        calls = _identified_calls(tokens, courses, kind, turn, most=round(MOST_BATCHES * seconds))
        before, redis_before = _counted_events(stage, courses), cpu_seconds(stage.redis_server.pid)
        result, cpu = await closed(server.address, server.pid, calls, seconds, in_flight=32)
        redis_cpu = cpu_seconds(stage.redis_server.pid) - redis_before
        sent = BATCH * len(result.seconds)
        if result.failed or len(result.seconds) > len(calls) or _counted_events(stage, courses) - before != sent:
            raise AssertionError(f"{kind}: {sent} events were acknowledged, not all of them counted: {result.failed}")
        if turn:  # the first round warms up
            rates[kind].append(BATCH * result.rate)
            costs[kind].append(1e6 * (cpu + redis_cpu) / sent)
        took = f"{1e6 * cpu / sent:.1f} µs an event, Redis {1e6 * redis_cpu / sent:.1f} µs"
        say(f"batches {kind}, round {turn}: {BATCH * result.rate:,.0f} events/s, ingest {took}")
    plain, ids, played = KINDS
    return [
        Row("ids", f"events in batches of {BATCH}, {plain}", "events/s", tuple(rates[plain])),
        Row("ids", f"the same {ids}", "events/s", tuple(rates[ids]), "≥ 30,000"),
        Row("ids", f"the same {played}", "events/s", tuple(rates[played])),
        Row("ids", f"CPU time with Redis, {plain}", "µs/event", tuple(costs[plain])),
        Row("ids", f"CPU time, {ids} ÷ {plain}", "×", _ratios(costs[ids], costs[plain]), "≤ 1.6"),
        Row("ids", f"CPU time, {played} ÷ {plain}", "×", _ratios(costs[played], costs[plain]), "≤ 2.2"),
    ]


def _identified_calls(
    tokens: Sequence[str], courses: Sequence[Course], kind: str, turn: int, *, most: int
) -> list[h2.Call]:
    """So many batches, each of a ping by each of 100 users, who stay with one lecture; some have the same users."""
    plain, _, played = KINDS
    calls = []
    for number in range(most):
        message = ingest_pb2.TrackBatchRequest()
        for user in range(BATCH):
            at = courses[user % len(courses)]
            ping = message.events.add().telemetry
            ping.course_id, ping.lecture_id = at.id, at.lectures[user % LECTURES].id
            ping.user_id, ping.watch_time_delta = f"user-{user}-{number % CLASSES}", PING_SECONDS
            if kind != plain:
                ping.event_id = f"{KINDS.index(kind)}-{turn}-{number}-{user}"
                ping.playback_id = f"playback-{user}"
            if kind == played:
                start = PING_SECONDS * number % 3600
                ping.played.add(from_seconds=start, to_seconds=start + PING_SECONDS)
        calls.append(h2.Call.grpc(f"{PATH}TrackBatch", tokens[number % BACKENDS], message.SerializeToString()))
    return calls


def _counted_events(stage: Stage, courses: Sequence[Course]) -> int:
    """How many pings the seconds are of that Redis has counted."""
    return sum(stage.views_and_seconds(each.id)[1] for each in courses) // PING_SECONDS


async def workers(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """Two workers on one port against one."""
    calls = ping_calls(stage)
    one, two = stage.program("ingest_server"), stage.program("ingest_server", ingest_workers=2)
    alone, both = [], []
    for number in range(rounds):
        alone.append((await closed(one.address, one.pid, calls, seconds))[0].rate)
        both.append((await closed(two.address, two.pid, calls, seconds))[0].rate)
        say(f"workers, round {number + 1}: {alone[-1]:,.0f}/s with one, {both[-1]:,.0f}/s with two")
    return [Row("ingest", "pings with 2 workers ÷ with 1", "×", _ratios(both, alone))]


async def partitions(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """The same pings over ever more partitions, in turns: each partition that a commit touches is one more script."""
    server = stage.program("ingest_server")
    loads = {number: _spread_calls(stage, number) for number in PARTITIONS}
    measured: dict[str, list[float]] = {}
    for turn, number in itertools.product(range(rounds), PARTITIONS):
        calls, courses = loads[number]
        before, scripts_before = _counted(stage, courses), _scripts(stage)
        redis_before = cpu_seconds(stage.redis_server.pid)
        result, cpu = await closed(server.address, server.pid, calls, seconds)
        redis_cpu = cpu_seconds(stage.redis_server.pid) - redis_before
        scripts = _scripts(stage) - scripts_before
        sent = len(result.seconds)
        _check(stage, before, sent=sent, failed=[result], courses=courses)
        name = f"partitions touched: {number}"
        for what, value in (
            (name, result.rate),
            (f"{name}, scripts", scripts / sent),
            (f"{name}, CPU time of the server", 1e6 * cpu / sent),
            (f"{name}, CPU time of Redis", 1e6 * redis_cpu / sent),
        ):
            measured.setdefault(what, []).append(value)
        say(f"{number} partitions, round {turn + 1}: {result.rate:,.0f}/s")
    return [Row("ingest", what, _unit_of(what), tuple(values)) for what, values in measured.items()]


def _unit_of(what: str) -> str:
    if what.endswith("scripts"):
        return "/ping"
    return "µs/ping" if "time" in what else "pings/s"


async def closed(
    address: str, pid: int, calls: Sequence[h2.Call], seconds: float, in_flight: int = IN_FLIGHT
) -> tuple[h2.Result, float]:
    """Keeps so many calls in flight; what came of them, and the processor seconds that the process `pid` took."""
    before = cpu_seconds(pid)
    result = await h2.closed_loop(address, calls, in_flight=in_flight, seconds=seconds, connections=8)
    return result, cpu_seconds(pid) - before


def pings(stage: Stage) -> list[ingest_pb2.TrackTelemetryRequest]:
    """A ping of each lecture; the courses are written."""
    courses = [course(number, LECTURES) for number in range(1, COURSES + 1)]
    write_courses(stage.database, courses)
    return [
        ingest_pb2.TrackTelemetryRequest(course_id=each.id, lecture_id=lecture.id, watch_time_delta=PING_SECONDS)
        for each in courses
        for lecture in each.lectures
    ]


def ping_calls(stage: Stage) -> list[h2.Call]:
    """A ping by each user."""
    pairs = zip(stage.tokens(), itertools.cycle(pings(stage)), strict=False)
    return [h2.Call.grpc(f"{PATH}TrackTelemetry", token, ping.SerializeToString()) for token, ping in pairs]


def batch_calls(stage: Stage) -> list[h2.Call]:
    """A batch by each of 64 users."""
    endless = itertools.cycle(pings(stage))
    calls = []
    for token in stage.tokens()[:64]:
        events = [ingest_pb2.Event(telemetry=ping) for ping in itertools.islice(endless, BATCH)]
        message = ingest_pb2.TrackBatchRequest(events=events).SerializeToString()
        calls.append(h2.Call.grpc(f"{PATH}TrackBatch", token, message))
    return calls


def _spread_calls(stage: Stage, number: int) -> tuple[list[h2.Call], list[Course]]:
    """As many pings of as many users whatever the `number` of partitions, one course in each."""
    by_partition: dict[int, Course] = {}
    for each in (course(candidate, LECTURES) for candidate in itertools.count(1)):
        by_partition.setdefault(partition_of(each.id), each)
        if len(by_partition) == number:
            break
    courses = list(by_partition.values())
    write_courses(stage.database, courses)
    # Each ping is of the next course: any 256 pings in a row touch all of 256 courses.
    told = zip(itertools.cycle(stage.tokens()), _round_robin(courses), strict=False)
    return [
        h2.Call.grpc(f"{PATH}TrackTelemetry", token, ping.SerializeToString())
        for token, ping in itertools.islice(told, SPREAD_CALLS)
    ], courses


def _round_robin(courses: Sequence[Course]) -> Iterator[ingest_pb2.TrackTelemetryRequest]:
    for lecture in itertools.cycle(range(LECTURES)):
        for each in courses:
            lecture_id = each.lectures[lecture].id
            yield ingest_pb2.TrackTelemetryRequest(
                course_id=each.id, lecture_id=lecture_id, watch_time_delta=PING_SECONDS
            )


def _scripts(stage: Stage) -> int:
    """How many scripts Redis has run so far."""
    info: Any = stage.redis.info("commandstats")
    return sum(info[name]["calls"] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in info)


def _counted(stage: Stage, courses: Sequence[Course] | None = None) -> int:
    if courses is None:
        courses = [course(number, 0) for number in range(1, COURSES + 1)]
    return sum(stage.views_and_seconds(each.id)[0] for each in courses)


def _check(
    stage: Stage, before: int, *, sent: int, failed: Sequence[h2.Result], courses: Sequence[Course] | None = None
) -> None:
    """Nothing that is fast because it does not count gets into a table."""
    failures = sum(result.failed.total() for result in failed)
    counted = _counted(stage, courses) - before
    if failures or counted != sent:
        raise AssertionError(f"{sent} events were acknowledged, {counted} counted, {failures} calls failed")


def _ratios(above: Sequence[float], below: Sequence[float]) -> tuple[float, ...]:
    return tuple(one / other for one, other in zip(above, below, strict=True))
