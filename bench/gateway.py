"""What Envoy adds: a REST ping through the gateway against the same ping by gRPC, in CPU time."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Sequence

import httpx

from bench import h2
from bench.ingest import PATH, pings
from bench.report import Row
from bench.stage import Stage, cpu_seconds, ended
from devstack.child import free_port
from devstack.gateway import local_gateway

IN_FLIGHT = 32

Say = Callable[[str], None]


async def rest(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """CPU time of Envoy and the server for each ping, over that of the server alone."""
    server = stage.program("ingest_server")
    gateway = local_gateway(stage.folder / "envoy", port=free_port(), ingest=server.address, query=server.address)
    stage.stack.enter_context(ended(gateway))
    gateway.start()
    reported = list(zip(stage.tokens(), itertools.cycle(pings(stage)), strict=False))
    direct = [h2.Call.grpc(f"{PATH}TrackTelemetry", token, ping.SerializeToString()) for token, ping in reported]
    bodies = [
        (token, json.dumps({"courseId": ping.course_id, "lectureId": ping.lecture_id, "watchTimeDelta": 5}))
        for token, ping in reported
    ]
    ratios = []
    for number in range(rounds):
        before = cpu_seconds(server.pid) + cpu_seconds(gateway.pid)
        sent = await _rest(gateway.url, bodies, seconds)
        rest_cost = (cpu_seconds(server.pid) + cpu_seconds(gateway.pid) - before) / sent
        # At the same rate: a busier server spends less on each ping, because more of them share a commit.
        before = cpu_seconds(server.pid)
        result = await h2.open_loop(server.address, direct, rate=sent / seconds, seconds=seconds)
        grpc_cost = (cpu_seconds(server.pid) - before) / len(result.seconds)
        ratios.append(rest_cost / grpc_cost)
        say(f"gateway, round {number + 1}: {1e6 * rest_cost:.0f} µs by REST, {1e6 * grpc_cost:.0f} µs by gRPC")
    return [Row("gateway", "REST ping ÷ gRPC ping, CPU time", "×", tuple(ratios), "≤ 2")]


async def _rest(url: str, bodies: Sequence[tuple[str, str]], seconds: float) -> int:
    end = time.perf_counter() + seconds
    endless = itertools.cycle(bodies)
    sent = 0

    async def player(client: httpx.AsyncClient) -> None:
        nonlocal sent
        while time.perf_counter() < end:
            token, body = next(endless)
            headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
            answer = await client.post("/api/v1/analytics/telemetry", content=body, headers=headers)
            answer.raise_for_status()
            sent += 1

    async with httpx.AsyncClient(base_url=url, timeout=10) as client:
        await asyncio.gather(*(player(client) for _ in range(IN_FLIGHT)))
    return sent
