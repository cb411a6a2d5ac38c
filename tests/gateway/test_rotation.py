"""Envoy in front of two ingest servers, one of which loses its Redis."""

from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from pymongo import MongoClient

from devstack.child import HOST, free_port, wait_until
from devstack.gateway import address, local_gateway
from devstack.programs import Program
from devstack.seed import DEMO_COURSE, write_course
from tests.faults.proxy import Proxy
from tests.gateway.conftest import caller
from tests.gateway.rest import TELEMETRY, TRACKED, in_rotation, ping
from tests.servers import PATIENCE, running


def test_an_ingest_server_that_is_not_ready_is_out_of_rotation_until_it_is_again(
    tmp_path: Path, start_program: Callable[..., Program], redis_url: str, mongo_url: str
) -> None:
    with MongoClient[Mapping[str, object]](mongo_url) as client:
        write_course(client.get_default_database(), DEMO_COURSE)
    with Proxy(redis_url) as proxy:
        well, broken = start_program("ingest_server"), start_program("ingest_server", redis_url=proxy.url)
        gateway = local_gateway(
            tmp_path / "envoy", port=free_port(), ingest=well.address, query=f"{HOST}:{free_port()}"
        )
        add_ingest_server(tmp_path / "envoy" / "envoy.yaml", broken.address)
        with running(gateway), caller(gateway, "somebody") as player:
            both = {well.address, broken.address}
            wait_until(lambda: both == in_rotation(gateway.admin_url), PATIENCE, "not both got calls")

            proxy.refuse()
            proxy.reset()
            wait_until(lambda: {well.address} == in_rotation(gateway.admin_url), PATIENCE, "it still got calls")
            assert {str(TRACKED)} == {str(player.post(TELEMETRY, json=ping()).json()) for _ in range(20)}

            proxy.heal()
            wait_until(lambda: both == in_rotation(gateway.admin_url), PATIENCE, "it got no calls again")


def add_ingest_server(path: Path, added: str) -> None:
    """Puts another endpoint into the gateway's configuration."""
    configuration = yaml.safe_load(path.read_text())
    (cluster,) = (one for one in configuration["static_resources"]["clusters"] if one["name"] == "ingest")
    endpoints = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    endpoints.append({"endpoint": {"address": address(added)}})
    path.write_text(yaml.safe_dump(configuration))
