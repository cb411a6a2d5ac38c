"""The repository's gateway configuration, moved to other ports."""

import resource
from pathlib import Path
from typing import Any

import yaml

from devstack.child import HOST, StartError, free_port
from devstack.gateway_files import DEMO, PUBLIC, ROOT, with_files
from devstack.servers import EnvoyServer

GATEWAY = Path(__file__).parent.parent / "gateway"
LOCAL_ORIGINS = r"http://(localhost|127\.0\.0\.1)(:[0-9]+)?"


# Where nobody listens (RFC 863): the address of a missing warehouse.
NOBODY = f"{HOST}:9"


def local_gateway(folder: Path, *, port: int, ingest: str, query: str, warehouse: str = NOBODY) -> EnvoyServer:
    """An Envoy on this port of 127.0.0.1, in front of these servers (host:port), for web pages of this machine.

    With reflection, for grpcurl. Raises StartError if it may not open enough files.
    """
    admin_port = free_port()
    # Only the local stack serves the demo's page.
    configuration = yaml.safe_load(with_files((GATEWAY / "envoy.yaml").read_text(), (*PUBLIC, *DEMO)))
    check_open_files(configuration, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    move(
        configuration,
        port=port,
        admin_port=admin_port,
        servers={"ingest": ingest, "query": query, "warehouse": warehouse},
    )
    path = folder / "envoy.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(configuration, sort_keys=False))
    return EnvoyServer(folder, path, port=port, admin_port=admin_port)


def move(configuration: dict[str, Any], *, port: int, admin_port: int, servers: dict[str, str]) -> None:
    """Replaces what depends on the machine: addresses, file paths, the CORS origins, and reflection."""
    configuration["layered_runtime"]["layers"][0]["static_layer"]["reflection"] = 100
    resources = configuration["static_resources"]
    configuration["admin"]["address"] = address(f"{HOST}:{admin_port}")
    resources["listeners"][0]["address"] = address(f"{HOST}:{port}")
    for cluster in resources["clusters"]:
        endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        endpoint["address"] = address(servers[cluster["name"]])
    for http_filter in manager(configuration)["http_filters"]:
        if "proto_descriptor" in http_filter["typed_config"]:
            http_filter["typed_config"]["proto_descriptor"] = str(GATEWAY / "course_analytics.binpb")
    host = virtual_host(configuration)
    cors = host["typed_per_filter_config"]["envoy.filters.http.cors"]
    cors["allow_origin_string_match"] = [{"safe_regex": {"regex": LOCAL_ORIGINS}}]
    for route in host["routes"]:
        body = route.get("direct_response", {}).get("body", {})
        if "filename" in body:
            body["filename"] = str(ROOT / body["filename"])


def manager(configuration: dict[str, Any]) -> dict[str, Any]:
    """The part about HTTP."""
    listener = configuration["static_resources"]["listeners"][0]
    found: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def virtual_host(configuration: dict[str, Any]) -> dict[str, Any]:
    """The part about routes."""
    found: dict[str, Any] = manager(configuration)["route_config"]["virtual_hosts"][0]
    return found


def check_open_files(configuration: dict[str, Any], most: int) -> None:
    """Raises StartError if the gateway could run out of open files before it reaches its limit of connections.

    It would then fail to accept connections below the limit instead of refusing those above it.
    """
    (monitor,) = (
        each["typed_config"]
        for each in configuration["overload_manager"]["resource_monitors"]
        if each["name"].endswith("downstream_max_connections")
    )
    needed = monitor["max_active_downstream_connections"] * 3 // 2
    if most != resource.RLIM_INFINITY and most <= needed:
        raise StartError(f"the gateway needs more than {needed} open files, and may have {most}: raise `ulimit -Hn`")


def address(host_and_port: str) -> dict[str, Any]:
    """An Envoy address."""
    host, _, port = host_and_port.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
