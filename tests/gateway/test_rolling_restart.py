"""Servers are replaced one after the other while players ping, and no ping fails."""

import copy
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import yaml

from devstack.child import wait_until
from devstack.programs import Program
from devstack.seed import DEMO_COURSE
from devstack.servers import EnvoyServer
from tests.gateway.conftest import caller
from tests.gateway.rest import TELEMETRY, in_rotation, ping
from tests.servers import PATIENCE
from tests.stage import platform

PLAYERS = 4


def test_no_ping_fails_while_each_of_two_ingest_servers_is_restarted(
    start_program: Callable[..., Program], start_gateway: Callable[..., EnvoyServer], mongo_server_url: str
) -> None:
    with platform(mongo_server_url, DEMO_COURSE) as mongo_url:
        servers = [start_program("ingest_server", mongo_url=mongo_url) for _ in range(2)]
        first, second = (server.address for server in servers)
        gateway = start_gateway(ingest=first, change=also_to(second))
        with pinging(gateway) as answers:
            for server in servers:
                wait_until(lambda: {first, second} == in_rotation(gateway.admin_url), PATIENCE, "not both got calls")
                assert 0 == server.stop()
                server.start()

    assert {200} == set(answers)


def also_to(address: str) -> Callable[[str], str]:
    """Gives the gateway a second ingest server."""

    def change(text: str) -> str:
        configuration = yaml.safe_load(text)
        (ingest,) = (each for each in configuration["static_resources"]["clusters"] if each["name"] == "ingest")
        endpoints = ingest["load_assignment"]["endpoints"][0]["lb_endpoints"]
        endpoints.append(copy.deepcopy(endpoints[0]))
        host, _, port = address.rpartition(":")
        endpoints[1]["endpoint"]["address"] = {"socket_address": {"address": host, "port_value": int(port)}}
        return yaml.safe_dump(configuration)

    return change


@contextmanager
def pinging(gateway: EnvoyServer) -> Iterator[list[int]]:
    """Players who ping one after the other, from the first answer of each to the end; the status of all answers."""
    answers: list[int] = []
    end = threading.Event()
    begun = threading.Barrier(PLAYERS + 1)

    def play(number: int) -> None:
        with caller(gateway, f"player-{number}") as client:
            answers.append(client.post(TELEMETRY, json=ping()).status_code)
            begun.wait(PATIENCE)
            while not end.is_set():
                answers.append(client.post(TELEMETRY, json=ping()).status_code)

    with ThreadPoolExecutor(PLAYERS) as players:
        playing = [players.submit(play, number) for number in range(PLAYERS)]
        begun.wait(PATIENCE)
        try:
            yield answers
        finally:
            end.set()
        for each in playing:
            each.result()
