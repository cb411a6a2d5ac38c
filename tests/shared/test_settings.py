"""The environment as settings: validated whole, secrets never shown."""

import os
from collections.abc import Iterator

import pytest
import structlog

from shared.serving.program import CannotRun
from shared.settings import Barrier, ServerSettings, Settings, load
from tests.issuer import Pair

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
    assert ["ANALYTICS_JWT_SECRET or ANALYTICS_JWT_JWKS is needed, to verify who is calling"] == complaints(
        ServerSettings
    )


def test_tokens_have_one_kind_of_key(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, jwt_secret=SECRET, jwt_jwks="keys.json")
    assert ["ANALYTICS_JWT_SECRET and ANALYTICS_JWT_JWKS exclude each other"] == complaints(ServerSettings)


@pytest.mark.parametrize("algorithms", ["HS256", "RS256,HS256", "none"])
def test_with_public_keys_no_algorithm_is_one_for_secrets(monkeypatch: pytest.MonkeyPatch, algorithms: str) -> None:
    given(monkeypatch, jwt_jwks="keys.json", jwt_algorithms=algorithms)
    expected = "must be a list of RS256, ES256, EdDSA, the algorithms for ANALYTICS_JWT_JWKS"
    assert [f"ANALYTICS_JWT_ALGORITHMS {expected}"] == complaints(ServerSettings)


@pytest.mark.parametrize("algorithms", ["RS256", "HS256,ES256", "EdDSA"])
def test_with_a_secret_no_algorithm_is_one_for_public_keys(monkeypatch: pytest.MonkeyPatch, algorithms: str) -> None:
    given(monkeypatch, jwt_secret=SECRET, jwt_algorithms=algorithms)
    expected = "must be a list of HS256, HS384, HS512, the algorithms for ANALYTICS_JWT_SECRET"
    assert [f"ANALYTICS_JWT_ALGORITHMS {expected}"] == complaints(ServerSettings)


def test_the_algorithms_are_those_of_the_kind_of_key_unless_said(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, jwt_jwks="https://issuer.example/keys")
    assert ("RS256", "ES256", "EdDSA") == load(ServerSettings).jwt_algorithms
    given(monkeypatch, jwt_algorithms="ES256")
    assert ("ES256",) == load(ServerSettings).jwt_algorithms


def test_keys_that_anybody_on_the_way_could_replace_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, jwt_jwks="http://issuer.example/keys")
    (complaint,) = complaints(ServerSettings)
    assert complaint.startswith("ANALYTICS_JWT_JWKS must be a file or https://host/path")


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        (("tls_certificate",), "ANALYTICS_TLS_CERTIFICATE and ANALYTICS_TLS_KEY belong together"),
        (("tls_key",), "ANALYTICS_TLS_CERTIFICATE and ANALYTICS_TLS_KEY belong together"),
        (("tls_client_ca",), "ANALYTICS_TLS_CLIENT_CA needs ANALYTICS_TLS_CERTIFICATE and ANALYTICS_TLS_KEY"),
    ],
)
def test_a_certificate_comes_with_its_key(
    files: tuple[str, ...], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, jwt_secret=SECRET, **dict.fromkeys(files, "some.pem"))
    assert [complaint] == complaints(ServerSettings)


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
        ("redis_url", "redis://127.0.0.1/0?ssl_ca_certs=ca.crt"),
        ("redis_url", "rediss://127.0.0.1/0?ssl_cert_reqs=maybe"),
        ("mongo_url", "mongodb://127.0.0.1/aetherlearn?tls=true&tlsCAFile=/no/such/file"),
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
        ("jwt_secret", Pair.make("EdDSA").pem().decode()),
        ("jwt_algorithms", "none"),
        ("jwt_algorithms", "HS256,RS256"),
        ("jwt_algorithms", ","),
        ("flush_barrier", "replicas"),
        ("flush_barrier", "replicas:0"),
        ("flush_barrier", "AOF"),
        ("flush_interval_seconds", "0"),
        ("flush_interval_seconds", "inf"),
        ("flush_interval_seconds", "0.001"),
        ("flush_interval_seconds", "100000"),
        ("flush_lock_ttl_seconds", "nan"),
        ("flush_lock_ttl_seconds", "0.001"),
        ("flush_lock_ttl_seconds", "3601"),
        ("user_hash_key", "x" * 31),
        ("jwt_audience", " , "),
        ("jwt_issuer", "\n"),
        ("jwt_cookie", "two words"),
        ("jwt_cookie", "session=1"),
        ("commit_linger_ms", "101"),
        ("watch_credit_seconds", "0"),
        ("watch_credit_seconds", "inf"),
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


def test_an_empty_value_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, jwt_secret="", jwt_issuer="", user_hash_key="", flush_barrier="")
    settings = load(Settings)
    assert (None, None, None) == (settings.jwt_secret, settings.jwt_issuer, settings.user_hash_key)
    assert Barrier("aof") == settings.flush_barrier


@pytest.mark.parametrize("level", ["INFO", "Warning", "debug"])
def test_the_level_of_the_log_is_taken_in_any_case(monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    given(monkeypatch, log_level=level)
    assert level.lower() == load(Settings).log_level


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("redis_url", "redis://:hunter2@10.0.0.1:6379/0", "redis://:***@10.0.0.1:6379/0"),
        ("redis_url", "redis://ann:hunter2@10.0.0.1/0", "redis://ann:***@10.0.0.1/0"),
        ("redis_url", "redis://hunter2@10.0.0.1/0", "redis://***@10.0.0.1/0"),
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
        (
            "mongo_url",
            "mongodb://a/shop?authMechanismProperties=AWS_SESSION_TOKEN:hunter2&authMechanism=MONGODB-AWS",
            "mongodb://a/shop?authMechanismProperties=***&authMechanism=MONGODB-AWS",
        ),
        ("redis_url", "rediss://a/0?ssl_password=hunter2", "rediss://a/0?ssl_password=***"),
        ("jwt_jwks", "https://issuer.example/keys", "https://issuer.example/keys"),
        ("jwt_secret", f"hunter2 {SECRET}", "**********"),
        ("user_hash_key", f"hunter2 {SECRET}", "**********"),
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


@pytest.mark.parametrize(
    "url",
    [
        "redis://ann:hunter2/x@host/0",
        "redis://ann:7/hunter2@host/0",
        "redis://ann:7?hunter2@host/0",
        "redis://ann:hunter2#x@host/0",
        "redis://:hunter2@host:port/0",
        "redis://:hunter2@[host/0",
        "redis://:hunter2@host/0?nonsense=1",
        "rediss://:hunter2@host/0?ssl_cert_reqs=hunter2",
        "mongodb://ann:hunter2/x@host/shop",
        "mongodb://ann:7/hunter2@host/shop",
        "mongodb://ann:hunter2@x@host/shop",
        "mongodb://ann:hunter2@host:port/shop",
        "mongodb://ann:%68unter2@host/shop?authMechanism=hunter2",
        "mongodb://ann:hunter2@[host/shop",
        "mongodb://ann:hunter2@host/shop?tlsCAFile=/hunter2",
        "mongodb://host/shop?authMechanism=MONGODB-AWS&authMechanismProperties=hunter2:x",
    ],
)
def test_what_is_wrong_with_a_store_s_address_is_said_without_its_password(
    monkeypatch: pytest.MonkeyPatch, logged: list[structlog.typing.EventDict], url: str
) -> None:
    given(monkeypatch, **{"redis_url" if url.startswith("redis") else "mongo_url": url})
    (complaint,) = complaints()
    assert "hunter2" not in f"{complaint} {logged}"
