"""One ping by https, and its way to the dashboard: every stretch of it with certificates on both sides."""

import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator

import grpc
import httpx
import pytest
import yaml
from course_analytics.v1 import ingest_pb2, ingest_pb2_grpc

from devstack.child import HOST, free_port, wait_until
from devstack.gateway import GATEWAY, NOBODY, move
from devstack.gateway_tls import with_tls
from devstack.programs import Program
from devstack.seed import DEMO_COURSE
from devstack.servers import EnvoyServer, packaged
from tests.certificates import Identity
from tests.gateway.rest import DASHBOARD, TELEMETRY, TRACKED, VIEW, ping
from tests.issuer import Pair, key_set
from tests.servers import PATIENCE, running
from tests.trust.conftest import Service, Trust

CERTIFICATES = "/etc/envoy/tls"


@pytest.fixture(scope="package")
def gateway(service: Service, trust: Trust, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnvoyServer]:
    """Envoy with the configuration of the repository, but for addresses."""
    folder = tmp_path_factory.mktemp("envoy")
    files = {
        "tls.crt": trust.server.certificate,
        "tls.key": trust.server.key,
        "client.crt": trust.client.certificate,
        "client.key": trust.client.key,
        "servers-ca.crt": trust.authority.certificate,
    }
    for name, file in files.items():
        (folder / name).write_bytes(file.read_bytes())
    configuration = yaml.safe_load((GATEWAY / "envoy-tls.yaml").read_text().replace(CERTIFICATES, str(folder)))
    port, admin_port = free_port(), free_port()
    servers = {"ingest": service.ingest.address, "query": service.query.address, "warehouse": NOBODY}
    move(configuration, port=port, admin_port=admin_port, servers=servers)
    file = folder / "envoy.yaml"
    file.write_text(yaml.safe_dump(configuration, sort_keys=False))
    with running(EnvoyServer(folder, file, port=port, admin_port=admin_port)) as envoy:
        yield envoy


@pytest.fixture
def browser(gateway: EnvoyServer, trust: Trust) -> Iterator[httpx.Client]:
    context = ssl.create_default_context(cafile=str(trust.authority.certificate))
    with httpx.Client(base_url=f"https://{gateway.address}", verify=context, trust_env=False, timeout=8) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.usefixtures("redis_url")
def test_a_ping_by_https_is_counted_and_flushed_and_shown(
    service: Service, browser: httpx.Client, start_program: Callable[..., Program]
) -> None:
    learner, instructor = bearer(service.token("ann")), bearer(service.token(DEMO_COURSE.creator))
    wait_until(lambda: browser.post(VIEW, headers=learner).status_code == 200, PATIENCE, "the gateway has no server")
    shown = browser.get(DASHBOARD, headers=instructor).json()["overview"]["totalViews"]
    tracked = browser.post(TELEMETRY, json=ping(watchTimeDelta=7), headers=learner)
    assert (200, TRACKED) == (tracked.status_code, tracked.json())

    stores = {"redis_url": service.stores.redis, "mongo_url": service.stores.mongo}
    flusher = start_program("flusher", "--once", jwt_secret="", **stores)

    assert 0 == flusher.wait(PATIENCE), flusher.tail()
    overview = browser.get(DASHBOARD, headers=instructor).json()["overview"]
    assert (shown, 7, 1) == (overview["totalViews"], overview["totalWatchTimeSeconds"], overview["uniqueActiveUsers"])


def test_envoy_accepts_the_file_and_it_is_the_plain_one_with_tls(gateway: EnvoyServer) -> None:
    assert (GATEWAY / "envoy-tls.yaml").read_text() == with_tls((GATEWAY / "envoy.yaml").read_text())
    command = [str(packaged("envoy/_bin/envoy")), "--mode", "validate", "--log-level", "warning"]
    file = gateway.log.parent / "envoy.yaml"
    checked = subprocess.run([*command, "-c", file], capture_output=True, text=True, check=False, timeout=30)
    assert (0, "") == (checked.returncode, checked.stderr)


def test_the_gateway_does_not_wait_for_a_handshake_that_never_comes(gateway: EnvoyServer) -> None:
    with socket.create_connection((HOST, gateway.port), PATIENCE) as silent:
        assert b"" == silent.recv(1)
    stats = httpx.get(f"{gateway.admin_url}/stats", trust_env=False).text
    assert "downstream_cx_transport_socket_connect_timeout: 1" in stats, "and not for being idle"


def test_the_gateway_does_not_speak_plain_http(gateway: EnvoyServer) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{gateway.address}{DASHBOARD}", trust_env=False)


def view(service: Service, credentials: grpc.ChannelCredentials, token: str | None = None) -> grpc.StatusCode:
    """How a call of `TrackCourseView` ends."""
    request = ingest_pb2.TrackCourseViewRequest(course_id=DEMO_COURSE.id)
    metadata = (("authorization", f"Bearer {token or service.token('ann')}"),)
    with grpc.secure_channel(service.ingest.address, credentials) as channel:
        call = ingest_pb2_grpc.IngestServiceStub(channel).TrackCourseView.future(request, metadata=metadata, timeout=10)
        return call.code()


def test_only_who_has_a_certificate_of_the_client_s_authority_is_let_in(service: Service, trust: Trust) -> None:
    def ends(client: Identity | None) -> grpc.StatusCode:
        return view(service, trust.credentials(client))

    assert grpc.StatusCode.OK is ends(trust.client)
    assert grpc.StatusCode.UNAVAILABLE is ends(None)
    assert grpc.StatusCode.UNAVAILABLE is ends(trust.stranger)


def test_a_caller_who_trusts_somebody_else_does_not_send_its_token(service: Service, trust: Trust) -> None:
    credentials = trust.credentials(trust.client, trust.strange_authority)
    assert grpc.StatusCode.UNAVAILABLE is view(service, credentials)


def test_a_token_of_the_issuers_next_key_is_valid_and_a_strangers_is_not(service: Service, trust: Trust) -> None:
    ours = trust.credentials(trust.client)
    following = Pair.make("RS256", "following")
    claims = {"sub": "ann", "exp": 2**40}
    service.site.body = key_set(service.key.published(), following.published())

    def accepted() -> bool:  # after the pause, if somebody has just asked for a key
        return grpc.StatusCode.OK is view(service, ours, following.token(claims))

    wait_until(accepted, PATIENCE, "the new key stayed unknown")
    assert grpc.StatusCode.UNAUTHENTICATED is view(service, ours, Pair.make("RS256", "following").token(claims))
    assert grpc.StatusCode.OK is view(service, ours)
