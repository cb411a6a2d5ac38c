"""A gateway that knows the issuer's keys, by the filter in the operator's guide: it refuses forged tokens itself."""

import base64
import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from devstack.child import HOST
from devstack.gateway import manager
from devstack.servers import EnvoyServer
from devstack.tokens import mint
from tests.gateway.rest import ANALYTICS, VIEW, assert_refused
from tests.gateway.test_cookies import COOKIE, REQUESTED, documented
from tests.servers import JWT_SECRET, PATIENCE

GUIDE = Path(__file__).parent.parent.parent / "docs" / "operations.md"
PASSED = 503  # it has no server
UNAUTHENTICATED = 16
FORGED = mint("another secret " * 3, "eve")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The issuer's keys, as the gateway reads them."""
    secret = base64.urlsafe_b64encode(JWT_SECRET.encode()).rstrip(b"=").decode()
    path = tmp_path / "issuer.jwks"
    path.write_text(json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "k": secret}]}))
    return path


def with_filter(text: str, keys: Path, cookie: str = "no_cookie") -> str:
    """The gateway's configuration with the filter of the guide."""
    (block,) = re.findall(r"```yaml\n(- name: envoy.filters.http.jwt_authn\n.*?)```", GUIDE.read_text(), re.DOTALL)
    block = block.replace("/etc/envoy/issuer.jwks", str(keys)).replace("no_cookie", cookie)
    configuration = yaml.safe_load(text)
    filters = manager(configuration)["http_filters"]
    place = [each["name"] for each in filters].index("envoy.filters.http.local_ratelimit") + 1
    filters[place:place] = yaml.safe_load(block)
    return yaml.safe_dump(configuration, sort_keys=False)


@pytest.fixture
def gateway(keys: Path, start_gateway: Callable[..., EnvoyServer]) -> EnvoyServer:
    return start_gateway(change=lambda text: with_filter(text, keys))


@pytest.fixture
def client(gateway: EnvoyServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=8) as client:
        yield client


def test_a_good_token_passes(client: httpx.Client) -> None:
    for scheme in ("Bearer", "bearer", "Bearer  "):
        token = f"{scheme} {mint(JWT_SECRET, 'ann')}"
        assert PASSED == client.post(VIEW, headers={"authorization": token}).status_code


def test_a_forged_one_is_401_in_the_shape_of_all_errors(client: httpx.Client) -> None:
    response = client.post(VIEW, headers={"authorization": f"Bearer {FORGED}"})

    assert_refused(401, UNAUTHENTICATED, response)
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_for_a_forged_one_no_body_is_waited_for(gateway: EnvoyServer) -> None:
    lines = [f"POST {ANALYTICS}/events:batch HTTP/1.1", "host: a", f"authorization: Bearer {FORGED}"]
    head = "\r\n".join([*lines, "content-length: 1048576", "", ""])
    with socket.create_connection((HOST, gateway.port), PATIENCE) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 401")


def test_by_cookie_a_good_token_passes_and_a_forged_one_does_not(
    keys: Path, start_gateway: Callable[..., EnvoyServer]
) -> None:
    gateway = start_gateway(change=lambda text: with_filter(documented(text), keys, COOKIE))
    good = f"{COOKIE}={mint(JWT_SECRET, 'ann')}"

    def status(cookie: str, *more: tuple[str, str]) -> int:
        headers = [("cookie", cookie), REQUESTED, *more]
        return httpx.post(f"{gateway.url}{VIEW}", headers=headers, trust_env=False, timeout=8).status_code

    assert PASSED == status(good)
    assert PASSED == status(f"theme=dark; {good}", ("authorization", f"Bearer {mint(JWT_SECRET, 'bob')}"))
    assert 401 == status(f"{COOKIE}={FORGED}")
    assert 401 == status(f"{COOKIE}={FORGED}", ("authorization", f"Bearer {mint(JWT_SECRET, 'bob')}"))
