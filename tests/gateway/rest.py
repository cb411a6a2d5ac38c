"""Paths and bodies of the REST contract, and how its errors look."""

from collections.abc import Callable

import httpx

from devstack.seed import DEMO_COURSE

ANALYTICS = "/api/v1/analytics"
VIEW = f"{ANALYTICS}/view/{DEMO_COURSE.id}"
TELEMETRY = f"{ANALYTICS}/telemetry"
DASHBOARD = f"{ANALYTICS}/instructor/{DEMO_COURSE.id}"
TRACKED = {"message": "tracked"}
BODY_LIMIT = 64 * 1024

INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, UNAVAILABLE = 3, 4, 5, 14


def ping(**fields: object) -> dict[str, object]:
    """The body of a good ping, with other fields where a test wants them."""
    good = {"courseId": DEMO_COURSE.id, "lectureId": DEMO_COURSE.lectures[0].id, "watchTimeDelta": 5}
    return {**good, **fields}


def body_of(size: int) -> bytes:
    """A JSON object of so many bytes, whose one field nobody knows."""
    return b'{"padding":"%s"}' % (b"x" * (size - len(b'{"padding":""}')))


def assert_refused(status: int, code: int, response: httpx.Response) -> None:
    """The one shape of all errors."""
    assert (status, "application/json") == (response.status_code, response.headers["content-type"])
    error = response.json()
    assert {"code", "message", "details"} == set(error)
    assert code == error["code"]
    assert error["message"]


def with_bucket(tokens: int, most: int) -> Callable[[str], str]:
    """Gives the buckets that have so many tokens `most` of them, and no bucket more than it has."""

    def change(text: str) -> str:
        text = text.replace("fill_interval: 1s", "fill_interval: 3600s")
        return text.replace(f"max_tokens: {tokens}\n", f"max_tokens: {most}\n")

    return change


def in_rotation(admin_url: str) -> set[str]:
    """The ingest servers that the gateway holds for healthy."""
    clusters = httpx.get(f"{admin_url}/clusters?format=json", trust_env=False).json()["cluster_statuses"]
    (ingest,) = (cluster for cluster in clusters if cluster["name"] == "ingest")
    return {
        f"{host['address']['socket_address']['address']}:{host['address']['socket_address']['port_value']}"
        for host in ingest["host_statuses"]
        if host["health_status"] == {"eds_health_status": "HEALTHY"}
    }
