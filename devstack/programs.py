"""Our programs as child processes, as a user starts them: `python -m ingest_server` and so on."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2

from devstack.child import Child

# The setting that says where a program listens; the flusher does not.
ADDRESS_SETTING = {
    "ingest_server": "ANALYTICS_INGEST_ADDRESS",
    "query_server": "ANALYTICS_QUERY_ADDRESS",
    "warehouse": "ANALYTICS_WAREHOUSE_ADDRESS",
}

# Each probe opens a new connection, without backoff and without a proxy of the environment.
PROBE_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))


def is_serving(address: str, service: str = "", credentials: grpc.ChannelCredentials | None = None) -> bool:
    """Whether a gRPC server at this address reports that it, or one service, is SERVING.

    `credentials` are for a server with TLS.
    """
    request = health_pb2.HealthCheckRequest(service=service)
    with (
        grpc.secure_channel(address, credentials, options=PROBE_OPTIONS)
        if credentials
        else grpc.insecure_channel(address, options=PROBE_OPTIONS)
    ) as channel:
        # Not by the package's stub: its type information has no methods.
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            return check(request, timeout=1).status == health_pb2.HealthCheckResponse.SERVING
        except grpc.RpcError:
            return False


class Program(Child):
    """One of our programs, with exactly these settings: our own `ANALYTICS_*` variables do not reach it."""

    def __init__(self, module: str, folder: Path, settings: Mapping[str, str], *arguments: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANALYTICS_")}
        self.address = settings.get(ADDRESS_SETTING.get(module, ""), "")
        command = [sys.executable, "-m", module, *arguments]
        super().__init__(module, command, folder / f"{module}.log", {**inherited, **settings})

    def ready(self) -> bool:
        """Whether a server is SERVING; the flusher has no API and is ready at once."""
        return not self.address or is_serving(self.address)
