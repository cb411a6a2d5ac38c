import subprocess
import sys
from collections.abc import Callable, Iterator

import grpc
import pytest
import yaml
from course_analytics.v1 import dashboard_pb2, dashboard_pb2_grpc, ingest_pb2, ingest_pb2_grpc

from devstack.generate import ROOT
from devstack.guide import GRPCURL
from devstack.programs import is_serving
from devstack.seed import DEMO_COURSE
from devstack.servers import EnvoyServer
from devstack.tokens import mint
from tests.gateway.conftest import Service
from tests.gateway.test_configuration import CONFIGURATION
from tests.servers import JWT_SECRET


def bearer(user: str) -> tuple[tuple[str, str]]:
    return (("authorization", f"Bearer {mint(JWT_SECRET, user)}"),)


@pytest.fixture
def channel(service: Service) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(service.gateway.address) as channel:
        yield channel


def test_native_calls_reach_the_ingest_server(channel: grpc.Channel) -> None:
    request = ingest_pb2.TrackCourseViewRequest(course_id=DEMO_COURSE.id)

    answer = ingest_pb2_grpc.IngestServiceStub(channel).TrackCourseView(request, metadata=bearer("backend"), timeout=5)

    assert "tracked" == answer.message


def test_native_calls_reach_the_query_server(channel: grpc.Channel) -> None:
    request = dashboard_pb2.GetCourseDashboardRequest(course_id=DEMO_COURSE.id)
    stub = dashboard_pb2_grpc.DashboardServiceStub(channel)

    answer = stub.GetCourseDashboard(request, metadata=bearer(DEMO_COURSE.creator), timeout=5)

    assert len(DEMO_COURSE.lectures) == len(answer.engagement_funnel)


def test_a_servers_error_keeps_its_details(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        ingest_pb2_grpc.IngestServiceStub(channel).TrackCourseView(
            ingest_pb2.TrackCourseViewRequest(), metadata=bearer("backend"), timeout=5
        )

    assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()
    assert "grpc-status-details-bin" in {item.key for item in refused.value.trailing_metadata()}


def test_the_gateways_own_error_is_plain_text_in_grpc(start_gateway: Callable[..., EnvoyServer]) -> None:
    gateway = start_gateway()

    with grpc.insecure_channel(gateway.address) as channel, pytest.raises(grpc.RpcError) as refused:
        ingest_pb2_grpc.IngestServiceStub(channel).TrackCourseView(
            ingest_pb2.TrackCourseViewRequest(), metadata=bearer("backend"), timeout=5
        )

    assert (grpc.StatusCode.UNAVAILABLE, "no healthy upstream") == (refused.value.code(), refused.value.details())


def test_reflection_is_off_in_the_file_as_it_stands(
    start_gateway: Callable[..., EnvoyServer], service: Service
) -> None:
    def as_it_stands(text: str) -> str:
        return text.replace("reflection: 100\n", "reflection: 0\n")

    gateway = start_gateway(ingest=service.ingest.address, change=as_it_stands)
    command = [str(GRPCURL), "-plaintext", gateway.address, "list"]

    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)

    settings = yaml.safe_load(CONFIGURATION.read_text())["layered_runtime"]["layers"][0]["static_layer"]
    assert {"reflection": 0} == settings
    assert "does not support the reflection API" in refused.stderr


def test_health_is_the_ingest_servers(service: Service) -> None:
    assert is_serving(service.gateway.address, "course_analytics.v1.IngestService")


def test_grpcurl_needs_no_proto_files(service: Service) -> None:
    command = [str(GRPCURL), "-plaintext", service.gateway.address, "list"]

    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split()

    assert "course_analytics.v1.IngestService" in listed


@pytest.mark.parametrize("service_name", ["IngestService", "DashboardService"])
def test_grpcurl_can_describe_and_so_call_both_services(service: Service, service_name: str) -> None:
    name = f"course_analytics.v1.{service_name}"
    command = [str(GRPCURL), "-plaintext", service.gateway.address, "describe", name]

    described = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout

    assert f"{name} is a service" in described


def test_the_python_example_counts_a_ping(service: Service) -> None:
    arguments = [mint(JWT_SECRET, "reader"), DEMO_COURSE.id, DEMO_COURSE.lectures[0].id, service.gateway.address]
    command = [sys.executable, "docs/examples/report.py", *arguments]

    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout

    assert 'message: "tracked"\n\n' == answer
