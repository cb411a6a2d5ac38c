"""Names in the environment that are not settings: misspelled ones are errors, foreign ones warnings."""

import pytest
import structlog

from shared.settings import Settings, load
from tests.shared.test_settings import _no_settings, complaints, given, logged

__all__ = ["_no_settings", "logged"]  # the fixtures by their names


@pytest.mark.parametrize(
    ("misspelled", "meant"),
    [
        ("reddis_url", "REDIS_URL"),
        ("redis_uri", "REDIS_URL"),
        ("jwt_algorithm", "JWT_ALGORITHMS"),
        ("lock_ttl_seconds", "FLUSH_LOCK_TTL_SECONDS"),
        ("flush_interval", "FLUSH_INTERVAL_SECONDS"),
    ],
)
def test_a_misspelled_name_is_an_error_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, misspelled: str, meant: str
) -> None:
    given(monkeypatch, **{misspelled: "x"})
    assert [f"ANALYTICS_{misspelled.upper()} is not a setting: do you mean ANALYTICS_{meant}?"] == complaints()


def test_misspelled_names_are_reported_with_all_other_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, reddis_url="x", log_level="loud")
    assert ["ANALYTICS_REDDIS_URL", "ANALYTICS_LOG_LEVEL"] == [line.split()[0] for line in complaints()]


def test_a_name_that_is_like_no_setting_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, logged: list[structlog.typing.EventDict]
) -> None:
    given(monkeypatch, site_id="7")
    load(Settings)
    warnings = [line["event"] for line in logged if line["log_level"] == "warning"]
    assert ["ANALYTICS_SITE_ID is not a setting"] == warnings


@pytest.mark.parametrize("service", ["INGEST", "QUERY", "REDIS", "JWT_SECRET", "FLUSH_BARRIER"])
def test_the_variables_of_a_kubernetes_service_are_ignored(
    monkeypatch: pytest.MonkeyPatch, logged: list[structlog.typing.EventDict], service: str
) -> None:
    address = "tcp://10.0.0.1:50051"
    of_kubernetes = {
        f"{service}_SERVICE_HOST": "10.0.0.1",
        f"{service}_SERVICE_PORT": "50051",
        f"{service}_SERVICE_PORT_GRPC": "50051",
        f"{service}_PORT": address,
        f"{service}_PORT_50051_TCP": address,
        f"{service}_PORT_50051_TCP_PROTO": "tcp",
        f"{service}_PORT_50051_TCP_PORT": "50051",
        f"{service}_PORT_50051_TCP_ADDR": "10.0.0.1",
    }
    given(monkeypatch, **of_kubernetes)
    load(Settings)
    assert [] == [line["event"] for line in logged if line["log_level"] == "warning"]
