"""What Envoy adds: a REST ping through the gateway against the same ping by gRPC, in latency and CPU time."""

import itertools
import json
from collections.abc import Callable

from bench import h2
from bench.ingest import PATH, PING_SECONDS, pings
from bench.report import Row
from bench.stage import Stage, cpu_seconds, ended
from devstack.child import HOST, free_port
from devstack.gateway import local_gateway

# At one rate: a busier server spends less on each ping, because more of them share a commit.
RATE = 1_000
CONNECTIONS = 8
REST_PATH = "/api/v1/analytics/telemetry"

Say = Callable[[str], None]


async def rest(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """p99 of both in turns, and the CPU time of Envoy and the server for each ping, over that of the server alone."""
    server = stage.program("ingest_server")
    port = free_port()
    gateway = local_gateway(stage.folder / "envoy", port=port, ingest=server.address, query=server.address)
    stage.stack.enter_context(ended(gateway))
    gateway.start()
    reported = list(zip(stage.tokens(), itertools.cycle(pings(stage)), strict=False))
    by_grpc = [h2.Call.grpc(f"{PATH}TrackTelemetry", token, ping.SerializeToString()) for token, ping in reported]
    by_rest = [h2.Call.rest(REST_PATH, token, _json(ping.course_id, ping.lecture_id)) for token, ping in reported]
    ways = {
        "gRPC": (server.address, by_grpc, (server.pid,)),
        "REST": (f"{HOST}:{port}", by_rest, (server.pid, gateway.pid)),
    }
    p99s: dict[str, list[float]] = {way: [] for way in ways}
    costs: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, (address, calls, pids) in ways.items():
            before = sum(map(cpu_seconds, pids))
            result = await h2.open_loop(address, calls, rate=RATE, seconds=seconds, connections=CONNECTIONS)
            if result.failed:
                raise AssertionError(f"{way}: {result.failed}")
            p99s[way].append(result.quantile(0.99))
            costs[way].append(1e6 * (sum(map(cpu_seconds, pids)) - before) / len(result.seconds))
        line = ", ".join(f"{way} {costs[way][-1]:.0f} µs, p99 {p99s[way][-1]:.1f} ms" for way in ways)
        say(f"gateway, round {number + 1}: {line}")
    pairs = list(zip(p99s["REST"], p99s["gRPC"], strict=True))
    ratios = tuple(rest / grpc for rest, grpc in zip(costs["REST"], costs["gRPC"], strict=True))
    return [
        Row("gateway", f"REST ping ÷ gRPC ping at {RATE:,}/s, CPU time", "×", ratios, "≤ 1.5"),
        Row("gateway", f"gRPC pings at {RATE:,}/s, p99", "ms", tuple(p99s["gRPC"])),
        Row("gateway", "the same by REST, more than by gRPC", "ms", tuple(rest - grpc for rest, grpc in pairs), "≤ 3"),
    ]


def _json(course_id: str, lecture_id: str) -> bytes:
    return json.dumps({"courseId": course_id, "lectureId": lecture_id, "watchTimeDelta": PING_SECONDS}).encode()
