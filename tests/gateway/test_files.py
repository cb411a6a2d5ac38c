"""The files that the gateway serves: the script, the instructor's page, the demo."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from devstack.gateway_files import BEGIN, DEMO, PUBLIC, ROOT, with_files
from tests.gateway.conftest import Service
from tests.gateway.rest import assert_refused

NOT_FOUND = 5
SCRIPT = "/player/track.js"
PAGE = "/instructor/"
VIDEO = "/demo/lecture.webm"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; media-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@pytest.fixture
def anybody(service: Service) -> Iterator[httpx.Client]:
    """Has no token."""
    with httpx.Client(base_url=service.gateway.url, trust_env=False, timeout=8) as client:
        yield client


def served() -> list[tuple[str, Path]]:
    """Each path, and the file that it is."""
    return [
        (folder.path + ("" if file.name == "index.html" else str(file.relative_to(folder.root))), file)
        for folder in (*PUBLIC, *DEMO)
        for file in folder.files()
    ]


def test_every_file_is_served_as_it_is_without_a_token(anybody: httpx.Client) -> None:
    for path, file in served():
        response = anybody.get(path)
        assert (200, file.read_bytes()) == (response.status_code, response.content), path


def test_the_script_the_page_and_the_video_are_there() -> None:
    assert {SCRIPT, PAGE, VIDEO} <= {path for path, _ in served()}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (SCRIPT, "text/javascript; charset=utf-8"),
        (PAGE, "text/html; charset=utf-8"),
        (VIDEO, "video/webm"),
    ],
)
def test_a_browser_gets_the_content_type_and_the_security_policy(anybody: httpx.Client, path: str, kind: str) -> None:
    headers = anybody.get(path).headers

    assert kind == headers["content-type"]
    assert POLICY == headers["content-security-policy"]
    assert "nosniff" == headers["x-content-type-options"]
    assert "no-referrer" == headers["referrer-policy"]


def test_any_site_may_load_the_script_and_keeps_it_for_an_hour(anybody: httpx.Client) -> None:
    headers = anybody.get(SCRIPT, headers={"origin": "https://learn.example"}).headers
    assert ("*", "public, max-age=3600") == (headers["access-control-allow-origin"], headers["cache-control"])


def test_no_site_may_read_the_page_and_browsers_ask_each_time(anybody: httpx.Client) -> None:
    headers = anybody.get(PAGE, headers={"origin": "https://learn.example"}).headers
    assert "access-control-allow-origin" not in headers
    assert "no-cache" == headers["cache-control"]


def test_text_is_compressed_and_video_is_not(anybody: httpx.Client) -> None:
    with anybody.stream("GET", SCRIPT, headers={"accept-encoding": "gzip"}) as response:
        packed = b"".join(response.iter_raw())
    assert (ROOT / "player" / "track.js").read_bytes() == gzip.decompress(packed)
    assert "accept-encoding" == response.headers["vary"].lower()
    assert "content-encoding" not in anybody.get(VIDEO).headers


@pytest.mark.parametrize("path", [SCRIPT, PAGE, VIDEO])
@pytest.mark.parametrize("asked", ["{}", 'W/"0123", {}', "*"], ids=["the tag", "one of several", "any"])
def test_a_client_that_has_the_file_is_answered_304(anybody: httpx.Client, path: str, asked: str) -> None:
    first = anybody.get(path)
    second = anybody.get(path, headers={"if-none-match": asked.format(first.headers["etag"])})

    assert (304, b"") == (second.status_code, second.content)
    kept = ("etag", "cache-control", "content-security-policy")
    assert [first.headers[name] for name in kept] == [second.headers[name] for name in kept]


def test_a_client_that_has_another_version_gets_the_file(anybody: httpx.Client) -> None:
    assert 200 == anybody.get(PAGE, headers={"if-none-match": 'W/"0123456789abcdef"'}).status_code


@pytest.mark.parametrize("path", [SCRIPT, PAGE, VIDEO])
def test_head_has_the_headers_and_no_body(anybody: httpx.Client, path: str) -> None:
    plain = {"accept-encoding": "identity"}
    head, whole = anybody.head(path, headers=plain), anybody.get(path, headers=plain)

    assert (200, b"") == (head.status_code, head.content)
    differs = {"date", "x-request-id"}
    assert {k: v for k, v in whole.headers.items() if k not in differs} == {
        k: v for k, v in head.headers.items() if k not in differs
    }


def test_a_video_is_sent_by_the_range_that_is_all_of_it(anybody: httpx.Client) -> None:
    whole = anybody.get(VIDEO).content
    response = anybody.get(VIDEO, headers={"range": "bytes=0-"})

    assert (206, whole) == (response.status_code, response.content)
    assert f"bytes 0-{len(whole) - 1}/{len(whole)}" == response.headers["content-range"]


@pytest.mark.parametrize("asked", ["bytes=2-3", "bytes=-1", "bytes=999999999-", "lines=1-2", "bytes=0-1,3-4"])
def test_any_other_range_is_answered_with_the_whole(anybody: httpx.Client, asked: str) -> None:
    response = anybody.get(VIDEO, headers={"range": asked})
    assert (200, anybody.get(VIDEO).content) == (response.status_code, response.content)


@pytest.mark.parametrize("path", [f"{PAGE}?course=650000000000000000000001&days=28", f"{SCRIPT}?v=1"])
def test_a_query_is_the_pages_own_affair(anybody: httpx.Client, path: str) -> None:
    assert 200 == anybody.get(path).status_code


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/instructor",
        "/instructor/index.html",
        "/player/",
        "/player/package.json",
        "/player/README.md",
        "/player/track.js/",
        "/player/../gateway/envoy.yaml",
        "/instructor/../../etc/passwd",
        "/instructor/%2e%2e/gateway/envoy.yaml",
        "/instructor/.%2e/pyproject.toml",
        "/player//track.js/x",
        "/demo/lecture.webm.bak",
    ],
)
def test_a_path_that_is_not_a_file_is_404(service: Service, path: str) -> None:
    assert_refused(404, NOT_FOUND, raw_get(service, path))


@pytest.mark.parametrize(
    "path", ["/player/%2e%2e%2fgateway%2fenvoy.yaml", "/instructor%2findex.html", "/player/%5ctrack.js"]
)
def test_an_encoded_slash_is_400(service: Service, path: str) -> None:
    assert 400 == raw_get(service, path).status_code


def raw_get(service: Service, path: str) -> httpx.Response:
    """Asks for exactly these bytes: httpx would resolve the dots itself."""
    with httpx.Client(trust_env=False, timeout=8) as client:
        request = client.build_request("GET", service.gateway.url)
        request.extensions["target"] = path.encode()
        return client.send(request)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", [SCRIPT, PAGE])
def test_files_are_only_read(anybody: httpx.Client, method: str, path: str) -> None:
    assert_refused(404, NOT_FOUND, anybody.request(method, path))


def test_a_configuration_without_a_place_for_the_files_is_refused() -> None:
    with pytest.raises(ValueError, match=BEGIN):
        with_files("routes: []\n")
