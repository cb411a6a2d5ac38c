"""The environment as settings: validated whole, secrets never shown."""

import os
from collections.abc import Iterator

import pytest
import structlog

from shared.program import CannotRun
from shared.settings import Barrier, ServerSettings, Settings, load, unknown_names

SECRET = "a secret of these tests, long enough"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("ANALYTICS_"):
            monkeypatch.delenv(name)


@pytest.fixture
def logged() -> Iterator[list[structlog.typing.EventDict]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


def given(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"ANALYTICS_{name.upper()}", value)


def complaints(kind: type[Settings] = Settings) -> list[str]:
    with pytest.raises(CannotRun) as refused:
        load(kind)
    first, *lines = str(refused.value).splitlines()
    assert "invalid settings:" == first
    return [line.strip() for line in lines]


def test_without_any_environment_everything_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, jwt_secret=SECRET)
    settings = load(ServerSettings)
    assert ("redis://127.0.0.1:6379/0", "mongodb://127.0.0.1:27017/aetherlearn") == (
        settings.redis_url,
        settings.mongo_url,
    )
    assert ("127.0.0.1:50051", "127.0.0.1:50052") == (settings.ingest_address, settings.query_address)
    assert (("HS256",), "sub") == (settings.jwt_algorithms, settings.jwt_user_claim)
    assert (300, 240, Barrier("aof"), 4) == (
        settings.flush_interval_seconds,
        settings.flush_lock_ttl_seconds,
        settings.flush_barrier,
        settings.commit_linger_ms,
    )


@pytest.mark.parametrize("database", ["/5", "/0?db=5"])
def test_a_cluster_has_only_database_0(monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    given(monkeypatch, redis_cluster="true", redis_url=f"redis://10.0.0.1{database}")
    expected = "ANALYTICS_REDIS_CLUSTER needs database 0 in ANALYTICS_REDIS_URL: a cluster has no other"
    assert [expected] == complaints()
    given(monkeypatch, redis_url="redis://10.0.0.1/0")
    assert load(Settings).redis_cluster


def test_a_server_refuses_to_be_without_a_key_for_tokens() -> None:
    assert ["ANALYTICS_JWT_SECRET is needed, to verify who is calling"] == complaints(ServerSettings)


def test_the_flusher_needs_no_key() -> None:
    assert load(Settings).jwt_secret is None


def test_every_error_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, redis_url="http://x", query_address="nowhere", jwt_secret="short", commit_linger_ms="-1")
    names = {line.split()[0] for line in complaints(ServerSettings)}
    assert {
        "ANALYTICS_REDIS_URL",
        "ANALYTICS_QUERY_ADDRESS",
        "ANALYTICS_JWT_SECRET",
        "ANALYTICS_COMMIT_LINGER_MS",
    } == names


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("redis_url", "127.0.0.1:6379"),
        ("redis_url", "redis://"),
        ("redis_url", "redis://127.0.0.1:99999"),
        ("mongo_url", "http://127.0.0.1/aetherlearn"),
        ("mongo_url", "mongodb:///aetherlearn"),
        ("mongo_url", "mongodb://127.0.0.1:27017"),
        ("mongo_url", "mongodb://127.0.0.1:27017/"),
        ("mongo_url", "mongodb://ann:p@ss@127.0.0.1/aetherlearn"),
        ("mongo_url", "mongodb://127.0.0.1:http/aetherlearn"),
        ("query_address", "127.0.0.1"),
        ("query_address", ":50052"),
        ("query_address", "127.0.0.1:0"),
        ("query_address", "127.0.0.1:65536"),
        ("query_address", "127.0.0.1:http"),
        ("jwt_secret", "x" * 31),
        ("jwt_algorithms", "none"),
        ("jwt_algorithms", "HS256,RS256"),
        ("jwt_algorithms", ","),
        ("flush_barrier", "replicas"),
        ("flush_barrier", "replicas:0"),
        ("flush_barrier", "AOF"),
        ("flush_interval_seconds", "0"),
        ("flush_interval_seconds", "inf"),
        ("flush_lock_ttl_seconds", "nan"),
        ("commit_linger_ms", "101"),
        ("ingest_metrics_address", "9101"),
        ("query_metrics_address", "127.0.0.1:0"),
        ("flusher_metrics_address", ":9103"),
        ("log_level", "loud"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, **{name: value})
    (complaint,) = complaints()
    assert complaint.startswith(f"ANALYTICS_{name.upper()} ")


def test_a_complaint_does_not_repeat_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, jwt_secret="hunter2", redis_url="hunter2")
    assert "hunter2" not in "".join(complaints())


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, jwt_audience=" web, app ,", jwt_algorithms="HS256,HS512")
    settings = load(Settings)
    assert (("web", "app"), ("HS256", "HS512")) == (settings.jwt_audience, settings.jwt_algorithms)


@pytest.mark.parametrize("text", ["aof", "none", "replicas:1", "replicas:99"])
def test_a_barrier_is_written_as_it_is_read(text: str) -> None:
    assert text == str(Barrier.parse(text))


def test_an_empty_value_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, jwt_secret="", jwt_issuer="", user_hash_key="", flush_barrier="")
    settings = load(Settings)
    assert (None, None, None) == (settings.jwt_secret, settings.jwt_issuer, settings.user_hash_key)
    assert Barrier("aof") == settings.flush_barrier


def test_a_name_that_is_no_setting_is_one_warning_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, logged: list[structlog.typing.EventDict]
) -> None:
    given(monkeypatch, reddis_url="redis://127.0.0.1")
    load(Settings)
    expected = "ANALYTICS_REDDIS_URL is not a setting; the nearest name is ANALYTICS_REDIS_URL"
    assert [expected] == [line["event"] for line in logged if line["log_level"] == "warning"]


def test_names_of_others_are_none_of_ours() -> None:
    assert [] == unknown_names({"PATH": "", "ANALYTICS": "", "ANALYTICS_REDIS_URL": ""})


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("redis_url", "redis://:hunter2@10.0.0.1:6379/0", "redis://:***@10.0.0.1:6379/0"),
        ("redis_url", "redis://ann:hunter2@10.0.0.1/0", "redis://ann:***@10.0.0.1/0"),
        (
            "redis_url",
            "redis://10.0.0.1/0?password=hunter2&username=ann",
            "redis://10.0.0.1/0?password=***&username=ann",
        ),
        ("mongo_url", "mongodb://ann:hunter2@a:1,b:2/shop?w=1", "mongodb://ann:***@a:1,b:2/shop?w=1"),
        (
            "mongo_url",
            "mongodb://a/shop?tlsCertificateKeyFilePassword=hunter2",
            "mongodb://a/shop?tlsCertificateKeyFilePassword=***",
        ),
        ("jwt_secret", f"hunter2 {SECRET}", "**********"),
        ("user_hash_key", "hunter2", "**********"),
    ],
)
def test_the_settings_are_logged_once_without_secrets(
    name: str, value: str, shown: str, monkeypatch: pytest.MonkeyPatch, logged: list[structlog.typing.EventDict]
) -> None:
    given(monkeypatch, **{name: value})
    load(Settings)
    (line,) = logged
    assert shown == line[name]
    assert "hunter2" not in str(line)
