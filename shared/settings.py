"""Settings: environment variables with the prefix `ANALYTICS_`, validated as a whole when a program starts."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jwt
import structlog
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError
from redis.asyncio.connection import parse_url

from shared import setting_names
from shared.identity import jwks
from shared.serving.program import CannotRun
from shared.setting_names import PREFIX
from shared.stores import urls

SECRETS_DIR = f"{PREFIX}SECRETS_DIR"

# By whether tokens are verified with public keys (true) or with a secret.
POSSIBLE_ALGORITHMS = {True: tuple(jwks.ALGORITHMS.values()), False: ("HS256", "HS384", "HS512")}
DEFAULT_ALGORITHMS = {True: POSSIBLE_ALGORITHMS[True], False: ("HS256",)}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Barrier:
    """What must have a write before the flusher relies on it: this server's disk, so many replicas, or nothing."""

    kind: Literal["aof", "replicas", "none"]
    replicas: int = 0

    @classmethod
    def parse(cls, text: object) -> Self:
        """`aof`, `replicas:N` or `none`. Raises ValueError."""
        match = re.fullmatch(r"(aof|none)|replicas:([1-9]\d?)", str(text))
        if match is None:
            raise ValueError("must be aof, replicas:N with N from 1 to 99, or none")
        if match[2]:
            return cls("replicas", int(match[2]))
        return cls("aof" if match[1] == "aof" else "none")

    def __str__(self) -> str:
        return f"replicas:{self.replicas}" if self.kind == "replicas" else self.kind


def _address(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("must be host:port, with a port from 1 to 65535")
    return address


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) < 32:
        raise ValueError("must have at least 32 bytes")  # RFC 7518, 3.2
    return secret


def _no_public_key(secret: SecretStr) -> SecretStr:
    try:
        jwt.get_algorithm_by_name("HS256").prepare_key(secret.get_secret_value())
    except jwt.InvalidKeyError:
        raise ValueError("must not be a public key or a certificate, which everybody knows") from None
    return secret


def _cookie_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
        raise ValueError("must be the name of a cookie: 1 to 64 letters, digits, `_`, `.` and `-`")
    return name


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _zone(name: object) -> object:
    try:
        return ZoneInfo(name) if isinstance(name, str) else name
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be the IANA name of a time zone, such as Europe/Berlin") from None


def _some(value: object) -> object:
    if isinstance(value, str) and not value.strip(" ,"):
        raise ValueError("must not be empty")
    return value


URLS = ("redis_url", "mongo_url", "jwt_jwks", "clickhouse_url")
Workers = Annotated[int, Field(ge=1, le=256)]
Address = Annotated[str, AfterValidator(_address)]
Secret = Annotated[SecretStr, AfterValidator(_long_enough)]
List = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """What any of the programs can be told. One class, so that one environment can serve all three."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, hide_input_in_errors=True)

    redis_url: Annotated[str, AfterValidator(urls.redis_url)] = "redis://127.0.0.1:6379/0"
    redis_cluster: bool = False
    mongo_url: Annotated[str, AfterValidator(urls.mongo_url)] = "mongodb://127.0.0.1:27017/aetherlearn"
    ingest_address: Address = "127.0.0.1:50051"
    query_address: Address = "127.0.0.1:50052"
    ingest_workers: Workers = 1
    query_workers: Workers = 1
    jwt_secret: Annotated[Secret, AfterValidator(_no_public_key)] | None = None
    jwt_jwks: Annotated[str, AfterValidator(jwks.check_location)] | None = None
    jwt_algorithms: Annotated[List, BeforeValidator(_some)] = ()
    jwt_audience: Annotated[List, BeforeValidator(_some)] = ()
    jwt_issuer: Annotated[str, Field(min_length=1)] | None = None
    jwt_user_claim: Annotated[str, Field(min_length=1)] = "sub"
    jwt_cookie: Annotated[str, AfterValidator(_cookie_name)] | None = None
    user_hash_key: Secret | None = None
    flush_interval_seconds: Annotated[float, Field(ge=0.05, le=86_400)] = 300
    # A lock must outlive one wave; it also keeps others out when its flusher has died.
    flush_lock_ttl_seconds: Annotated[float, Field(ge=1, le=3_600)] = 240
    flush_barrier: Annotated[Barrier, BeforeValidator(Barrier.parse), NoDecode] = Barrier("aof")
    # The zone of the days, fixed for the life of the data.
    day_zone: Annotated[ZoneInfo, BeforeValidator(_zone), NoDecode] = ZoneInfo("UTC")
    commit_linger_ms: Annotated[float, Field(ge=0, le=100)] = 4
    watch_credit_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    ingest_metrics_address: Address | None = None
    query_metrics_address: Address | None = None
    flusher_metrics_address: Address | None = None
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    secrets_dir: Path | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        """A value without surrounding white space, such as the newline at the end of a file."""
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:  # an environment may hold any bytes
                raise ValueError("must be text in UTF-8") from None
            return value.strip()
        return value

    @field_validator("redis_cluster")
    @classmethod
    def _cluster_has_one_database(cls, cluster: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - as pydantic calls it
        if cluster and parse_url(info.data.get("redis_url", "redis://")).get("db", 0) != 0:
            raise ValueError("needs database 0 in ANALYTICS_REDIS_URL: a cluster has no other")
        return cluster

    @field_validator("jwt_algorithms")
    @classmethod
    def _algorithms_fit_the_key(cls, algorithms: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """A public key used as a secret would let everybody sign: the two kinds never mix (RFC 8725, 3.1)."""
        public = info.data.get("jwt_jwks") is not None
        source, possible = ("ANALYTICS_JWT_JWKS" if public else "ANALYTICS_JWT_SECRET"), POSSIBLE_ALGORITHMS[public]
        if not set(algorithms) <= set(possible):
            raise ValueError(f"must be a list of {', '.join(possible)}, the algorithms for {source}")
        return algorithms or DEFAULT_ALGORITHMS[public]

    def redacted(self) -> dict[str, Any]:
        """The settings as they may be logged: without secrets and passwords."""
        shown = {name: str(value) for name, value in self if value is not None}
        return shown | {name: urls.without_password(shown[name]) for name in URLS if name in shown}


class ServerSettings(Settings):
    """What a server needs beyond that: it refuses to start if it could not verify tokens."""

    @model_validator(mode="after")
    def _can_verify_tokens(self) -> Self:
        if self.jwt_secret is None and self.jwt_jwks is None:
            raise ValueError("ANALYTICS_JWT_SECRET or ANALYTICS_JWT_JWKS is needed, to verify who is calling")
        if self.jwt_secret is not None and self.jwt_jwks is not None:
            raise ValueError("ANALYTICS_JWT_SECRET and ANALYTICS_JWT_JWKS exclude each other")
        return self

    @model_validator(mode="after")
    def _certificate_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("ANALYTICS_TLS_CERTIFICATE and ANALYTICS_TLS_KEY belong together")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("ANALYTICS_TLS_CLIENT_CA needs ANALYTICS_TLS_CERTIFICATE and ANALYTICS_TLS_KEY")
        return self


S = TypeVar("S", bound=Settings)


def load(kind: type[S]) -> S:
    """The settings of this process, logged once. Raises CannotRun with every error at once when they are not valid.

    A setting is a variable of the environment, or else a file of its name in ANALYTICS_SECRETS_DIR.
    """
    secrets_dir = os.environ.get(SECRETS_DIR) or None
    names = [*setting_names.of_environment(os.environ), *_names_of_files(secrets_dir)]
    for warning in setting_names.foreign(names, kind.model_fields):
        log.warning(warning)
    complaints = setting_names.misspelled(names, kind.model_fields)
    try:
        settings = kind(_secrets_dir=secrets_dir)  # type: ignore[call-arg] # pydantic's plugin would know it
    except ValidationError as error:
        complaints += _complaints(error)
    except SettingsError as error:
        # Names the setting but not the cause: a decoding error quotes the file.
        raise CannotRun(f"{SECRETS_DIR}: {error}: not a file of text in UTF-8, or not ours to read") from None
    if complaints:
        raise CannotRun("\n  ".join(["invalid settings:", *complaints]))
    log.info("settings", **settings.redacted())
    return settings


def _names_of_files(secrets_dir: str | None) -> list[str]:
    """Raises CannotRun."""
    try:
        return [path.name.upper() for path in Path(secrets_dir).iterdir()] if secrets_dir else []
    except OSError as error:
        path = os.fsencode(secrets_dir or "").decode(errors="backslashreplace")
        raise CannotRun(f"{SECRETS_DIR}: cannot read {path}: {error.strerror}") from None


def _complaints(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        name = f"{PREFIX}{str(item['loc'][0]).upper()} " if item["loc"] else ""
        lines.append(name + item["msg"].removeprefix("Value error, "))
    return lines
