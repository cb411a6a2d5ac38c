"""A platform whose pages have their token in a cookie: the gateway and the servers, set up as docs/adopt.md says."""

import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import grpc
import httpx
import pytest
import redis
from course_analytics.v1 import ingest_pb2, ingest_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from devstack.child import HOST, free_port
from devstack.programs import Program
from devstack.seed import DEMO_COURSE
from devstack.servers import EnvoyServer
from devstack.tokens import mint
from tests.gateway.conftest import Service, gateway_of
from tests.gateway.rest import TRACKED, VIEW, assert_refused
from tests.gateway.test_tokens import UNAUTHENTICATED, with_buckets
from tests.servers import JWT_SECRET, PATIENCE, program, running
from tests.stage import at_work

ROOT = Path(__file__).parents[2]
COOKIE, ORIGIN = "platform_session", "https://courses.example.org"
REQUESTED = ("x-requested-with", "fetch")


def documented(text: str) -> str:
    """The gateway's configuration, changed by the commands of docs/adopt.md."""
    commands = re.findall(r"^sed -i ('.*') gateway/", (ROOT / "docs/adopt.md").read_text(), re.MULTILINE)
    assert len(commands) == 2
    # The local stack allows pages of this machine instead of the example's.
    text = re.sub(r"- safe_regex:\s+regex: http.*localhost.*\n", "- exact: https://learn.example.com\n", text)
    for command in commands:
        script = command.strip("'")
        text = subprocess.run(["sed", script], input=text, capture_output=True, text=True, check=True).stdout
    return text


@pytest.fixture(scope="module")
def by_cookie(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EnvoyServer, Program]]:
    """A gateway and an ingest server that take the token from the cookie."""
    folder = tmp_path_factory.mktemp("cookies")
    settings = {"redis_url": service.redis_url, "mongo_url": service.mongo_url, "jwt_secret": JWT_SECRET}
    ingest = program("ingest_server", folder, {**settings, "jwt_cookie": COOKIE})
    gateway = gateway_of(folder / "envoy", ingest=ingest.address, change=documented)
    with at_work(ingest), running(gateway):
        yield gateway, ingest


@pytest.fixture
def page(by_cookie: tuple[EnvoyServer, Program]) -> Iterator[httpx.Client]:
    """A page without a token."""
    with httpx.Client(base_url=by_cookie[0].url, trust_env=False, timeout=8) as client:
        yield client


@pytest.fixture
def learner() -> str:
    return f"learner-{secrets.token_hex(4)}"


def cookie(user: str, name: str = COOKIE) -> str:
    return f"{name}={mint(JWT_SECRET, user)}"


def users(service: Service) -> int:
    with redis.Redis.from_url(service.redis_url) as client:
        (key,) = client.scan_iter(f"course_users:*:{DEMO_COURSE.id}", count=10_000)
        return int(client.pfcount(key))


@pytest.mark.parametrize("cookies", ["{}", "theme=dark; {}; lang=en", "a={};{}"])
def test_the_user_of_the_cookie_is_counted(page: httpx.Client, learner: str, cookies: str, service: Service) -> None:
    assert 200 == page.post(VIEW, headers=[("cookie", cookie("somebody")), REQUESTED]).status_code
    before = users(service)
    value = cookies.replace("a={}", f"a={mint(JWT_SECRET, 'somebody')}").format(cookie(learner))

    response = page.post(VIEW, headers=[("cookie", value), REQUESTED])

    assert (200, TRACKED) == (response.status_code, response.json())
    assert before + 1 == users(service)


def test_a_cookie_without_the_header_that_only_an_allowed_page_can_send_is_refused(
    page: httpx.Client, learner: str
) -> None:
    response = page.post(VIEW, headers={"cookie": cookie(learner), "origin": ORIGIN})

    assert_refused(401, UNAUTHENTICATED, response)
    assert "x-requested-with" in response.json()["message"]


def test_the_gateway_refuses_it_by_itself(start_gateway: Callable[..., EnvoyServer], learner: str) -> None:
    """What it lets pass gets 503: it has no server."""
    gateway = start_gateway(change=documented)
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=8) as client:
        statuses = [
            client.post(VIEW, headers=[("cookie", cookie(learner)), *more]).status_code for more in ([REQUESTED], [])
        ]

    assert [503, 401] == statuses


@pytest.mark.parametrize("cookies", ["", f"{COOKIE}=", f"{COOKIE}=1", f"x{COOKIE}=a.b.c", "session=a.b.c"])
def test_other_cookies_are_not_tokens(page: httpx.Client, cookies: str) -> None:
    assert_refused(401, UNAUTHENTICATED, page.post(VIEW, headers=[("cookie", cookies), REQUESTED]))


def test_the_header_counts_before_the_cookie(page: httpx.Client, learner: str) -> None:
    forged = f"Bearer {mint('another secret ' * 3, 'ann')}"

    response = page.post(VIEW, headers=[("cookie", cookie(learner)), ("authorization", forged), REQUESTED])

    assert_refused(401, UNAUTHENTICATED, response)


def refusal(address: str, metadata: tuple[tuple[str, str], ...]) -> str:
    """What a server says to a native call."""
    request = ingest_pb2.TrackCourseViewRequest(course_id=DEMO_COURSE.id)
    with grpc.insecure_channel(address) as channel:
        stub = ingest_pb2_grpc.IngestServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.TrackCourseView(request, metadata=metadata, timeout=PATIENCE)
    assert grpc.StatusCode.UNAUTHENTICATED == refused.value.code()
    return str(refused.value.details())


def test_the_server_itself_asks_for_the_header_whatever_the_gateway_did(
    by_cookie: tuple[EnvoyServer, Program], learner: str
) -> None:
    assert "x-requested-with" in refusal(by_cookie[1].address, (("cookie", cookie(learner)),))


def test_a_server_refuses_two_cookies_of_the_name(by_cookie: tuple[EnvoyServer, Program], learner: str) -> None:
    metadata = (("cookie", f"{cookie(learner)}; {cookie('ann')}"), REQUESTED)

    assert "more than one" in refusal(by_cookie[1].address, metadata)


def test_without_the_setting_a_cookie_is_not_a_token(service: Service, learner: str) -> None:
    assert "authorization" in refusal(service.ingest.address, (("cookie", cookie(learner)), REQUESTED))


def test_of_all_cookies_only_that_one_reaches_a_server(start_gateway: Callable[..., EnvoyServer]) -> None:
    seen: list[str] = []

    def note(_request: bytes, context: grpc.ServicerContext) -> NoReturn:
        seen.extend(str(value) for key, value in context.invocation_metadata() if key == "cookie")
        context.abort(grpc.StatusCode.UNAVAILABLE, "noted")

    name = "course_analytics.v1.IngestService"
    readiness = health.HealthServicer()
    readiness.set(name, health_pb2.HealthCheckResponse.SERVING)
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "TrackCourseView": grpc.unary_unary_rpc_method_handler(note)
    }
    server = grpc.server(ThreadPoolExecutor(2), [grpc.method_handlers_generic_handler(name, methods)])
    health_pb2_grpc.add_HealthServicer_to_server(readiness, server)
    port = free_port()
    server.add_insecure_port(f"{HOST}:{port}")
    server.start()
    try:
        gateway = start_gateway(ingest=f"{HOST}:{port}", change=documented)
        with httpx.Client(base_url=gateway.url, trust_env=False, timeout=8) as client:
            client.post(VIEW, headers=[("cookie", f"theme=dark; {COOKIE}=a.b.c; login=secret"), REQUESTED])
            client.post(VIEW, headers={"cookie": "theme=dark", "authorization": "Bearer a.b.c"})
    finally:
        server.stop(None).wait()

    assert [f"{COOKIE}=a.b.c"] == seen


def test_a_users_limit_is_one_by_cookie_and_by_header(start_gateway: Callable[..., EnvoyServer], learner: str) -> None:
    gateway = start_gateway(change=lambda text: with_buckets(documented(text)))
    token = mint(JWT_SECRET, learner)
    ways = [("cookie", f"{COOKIE}={token}"), ("authorization", f"Bearer {token}")]
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=8) as client:
        statuses = [client.post(VIEW, headers=[way, REQUESTED]).status_code for way in ways * 3]

    assert [503] * 3 + [429] * 3 == statuses


def preflight(page: httpx.Client, origin: str) -> httpx.Headers:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "x-requested-with"}
    return page.options(VIEW, headers={"origin": origin, **asked}).headers


def test_a_page_of_a_named_origin_may_send_the_cookie(page: httpx.Client) -> None:
    headers = preflight(page, ORIGIN)

    assert (ORIGIN, "true") == (headers["access-control-allow-origin"], headers["access-control-allow-credentials"])
    assert "x-requested-with" in headers["access-control-allow-headers"]


@pytest.mark.parametrize("origin", ["https://evil.example", "https://learn.example.com", f"{ORIGIN}.evil.example"])
def test_a_page_of_another_origin_may_not(page: httpx.Client, origin: str) -> None:
    headers = preflight(page, origin)

    assert not {"access-control-allow-origin", "access-control-allow-credentials"} & set(headers)


@pytest.mark.parametrize("headers", [{}, {"cookie": f"{COOKIE}=a.b.c", "x-requested-with": "fetch"}])
def test_a_page_that_sends_cookies_can_read_that_it_needs_a_new_token(
    page: httpx.Client, headers: dict[str, str]
) -> None:
    response = page.post(VIEW, headers={"origin": ORIGIN, **headers})

    told = response.headers
    assert 401 == response.status_code
    assert [ORIGIN] == told.get_list("access-control-allow-origin")
    assert "true" == told["access-control-allow-credentials"]


def test_browsers_send_no_cookie_to_a_gateway_that_was_not_told_of_one(service: Service) -> None:
    with httpx.Client(base_url=service.gateway.url, trust_env=False, timeout=8) as page:
        assert "access-control-allow-credentials" not in preflight(page, "http://localhost:3000")
