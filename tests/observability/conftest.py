"""What a Prometheus and a kubelet see of a program."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from devstack.child import HOST, free_port
from devstack.seed import DEMO_COURSE
from tests.stage import platform


@dataclass(frozen=True)
class Watcher:
    """Asks at a metrics address."""

    address: str

    def get(self, path: str) -> tuple[int, str]:
        """Status and text."""
        response = httpx.get(f"http://{self.address}{path}", trust_env=False, timeout=10)
        return response.status_code, response.text.strip()

    def value(self, name: str, **labels: str) -> float:
        """The value of one series; 0 for one that is not there."""
        return next((one.value for one in self.samples(name) if one.labels == labels), 0.0)

    def samples(self, name: str) -> list[Sample]:
        """All series of this name."""
        status, text = self.get("/metrics")
        assert 200 == status
        families = text_string_to_metric_families(text)
        return [sample for family in families for sample in family.samples if sample.name == name]


@pytest.fixture
def watcher() -> Watcher:
    return Watcher(f"{HOST}:{free_port()}")


@pytest.fixture(scope="package")
def platform_url(mongo_server_url: str) -> Iterator[str]:
    """A MongoDB that has the demo course."""
    with platform(mongo_server_url, DEMO_COURSE) as url:
        yield url
