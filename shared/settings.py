"""Settings: environment variables with the prefix `ANALYTICS_`, validated as a whole when a program starts."""

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

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
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri
from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import RedisError

from shared.identity import jwks
from shared.serving.program import CannotRun

PREFIX = "ANALYTICS_"
SECRETS_DIR = f"{PREFIX}SECRETS_DIR"

# By whether tokens are verified with public keys (true) or with a secret.
POSSIBLE_ALGORITHMS = {True: tuple(jwks.ALGORITHMS.values()), False: ("HS256", "HS384", "HS512")}
DEFAULT_ALGORITHMS = {True: POSSIBLE_ALGORITHMS[True], False: ("HS256",)}

# Options of the stores' URLs whose values are secrets.
SECRET_OPTION = re.compile(r"(?i)(password|authMechanismProperties)$")

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


def _redis_url(url: str) -> str:
    parts = _split_url(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.port == 0:
        raise ValueError("must look like redis://host:6379/0, or rediss:// for TLS")
    try:
        arguments: dict[str, Any] = {"connection_class": Connection, **parse_url(url)}
        arguments.pop("connection_class")(**arguments)  # does not connect yet, but knows its options
    except (ValueError, TypeError, RedisError) as error:
        raise ValueError(f"is not valid: {_without_secrets(str(error), url)}") from None
    return url


def _mongo_url(url: str) -> str:
    parts = _split_url(url)
    if parts.scheme not in ("mongodb", "mongodb+srv") or not parts.netloc:
        raise ValueError("must look like mongodb://host:27017/database")
    if not parts.path.strip("/"):
        raise ValueError("must name the database in its path, as in mongodb://host:27017/aetherlearn")
    if parts.scheme == "mongodb":  # to check the other kind, DNS would have to be asked
        try:
            parse_uri(url)
        except (PyMongoError, ValueError, OSError) as error:
            raise ValueError(f"is not valid: {_without_secrets(str(error), url)}") from None
    return url


def _split_url(url: str) -> SplitResult:
    """The parts of a store's URL. Raises ValueError in words that hold nothing of it."""
    try:
        parts = urlsplit(url)
        if parts.scheme.startswith("redis"):
            _ = parts.port
    except ValueError:
        raise ValueError(
            "is not a URL, or its port is no number (in a password, / ? # @ are %2F %3F %23 %40)"
        ) from None
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":  # then what stands before is a piece of the password
        raise ValueError("has an @ behind its host: in a password, / ? # @ are written %2F %3F %23 %40")
    return parts


def _address(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("must be host:port, with a port from 1 to 65535")
    return address


def _jwt_secret(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) < 32:
        raise ValueError("must have at least 32 bytes")  # RFC 7518, 3.2
    try:
        jwt.get_algorithm_by_name("HS256").prepare_key(secret.get_secret_value())
    except jwt.InvalidKeyError:
        raise ValueError("must not be a public key or a certificate, which everybody knows") from None
    return secret


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _some(value: object) -> object:
    if isinstance(value, str) and not value.strip(" ,"):
        raise ValueError("must not be empty")
    return value


URLS = ("redis_url", "mongo_url", "jwt_jwks")
Workers = Annotated[int, Field(ge=1, le=256)]
Address = Annotated[str, AfterValidator(_address)]
List = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """What any of the programs can be told. One class, so that one environment can serve all three."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, hide_input_in_errors=True)

    redis_url: Annotated[str, AfterValidator(_redis_url)] = "redis://127.0.0.1:6379/0"
    redis_cluster: bool = False
    mongo_url: Annotated[str, AfterValidator(_mongo_url)] = "mongodb://127.0.0.1:27017/aetherlearn"
    ingest_address: Address = "127.0.0.1:50051"
    query_address: Address = "127.0.0.1:50052"
    ingest_workers: Workers = 1
    query_workers: Workers = 1
    jwt_secret: Annotated[SecretStr, AfterValidator(_jwt_secret)] | None = None
    jwt_jwks: Annotated[str, AfterValidator(jwks.check_location)] | None = None
    jwt_algorithms: Annotated[List, BeforeValidator(_some)] = ()
    jwt_audience: List = ()
    jwt_issuer: str | None = None
    jwt_user_claim: Annotated[str, Field(min_length=1)] = "sub"
    user_hash_key: SecretStr | None = None
    flush_interval_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 300
    flush_lock_ttl_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 240
    flush_barrier: Annotated[Barrier, BeforeValidator(Barrier.parse), NoDecode] = Barrier("aof")
    commit_linger_ms: Annotated[float, Field(ge=0, le=100)] = 4
    watch_credit_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    ingest_metrics_address: Address | None = None
    query_metrics_address: Address | None = None
    flusher_metrics_address: Address | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    secrets_dir: Path | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _is_text(cls, value: object) -> object:
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:  # an environment may hold any bytes
                raise ValueError("must be text in UTF-8") from None
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
        """A public key that is taken for a secret would let everybody sign: the two kinds never mix (RFC 8725, 3.1)."""
        public = info.data.get("jwt_jwks") is not None
        source, possible = ("ANALYTICS_JWT_JWKS" if public else "ANALYTICS_JWT_SECRET"), POSSIBLE_ALGORITHMS[public]
        if not set(algorithms) <= set(possible):
            raise ValueError(f"must be a list of {', '.join(possible)}, the algorithms for {source}")
        return algorithms or DEFAULT_ALGORITHMS[public]

    def redacted(self) -> dict[str, Any]:
        """The settings as they may be logged: without secrets and passwords."""
        shown = {name: str(value) for name, value in self if value is not None}
        return shown | {name: _without_password(shown[name]) for name in URLS if name in shown}


class ServerSettings(Settings):
    """What a server needs beyond that: it refuses to start when it could not verify tokens."""

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
    for warning in unknown_names([*os.environ, *_names_of_files(secrets_dir)]):
        log.warning(warning)
    try:
        settings = kind(_secrets_dir=secrets_dir)  # type: ignore[call-arg] # pydantic's plugin would know it
    except ValidationError as error:
        raise CannotRun("\n  ".join(["invalid settings:", *_complaints(error)])) from None
    except SettingsError as error:
        # With the name of the setting, and without what it was caused by: a decoding error quotes the file.
        raise CannotRun(f"{SECRETS_DIR}: {error}: not a file of text in UTF-8, or not ours to read") from None
    log.info("settings", **settings.redacted())
    return settings


def _names_of_files(secrets_dir: str | None) -> list[str]:
    """Raises CannotRun."""
    try:
        return [path.name.upper() for path in Path(secrets_dir).iterdir()] if secrets_dir else []
    except OSError as error:
        path = os.fsencode(secrets_dir or "").decode(errors="backslashreplace")
        raise CannotRun(f"{SECRETS_DIR}: cannot read {path}: {error.strerror}") from None


def unknown_names(names: Iterable[str]) -> list[str]:
    """One sentence for each `ANALYTICS_*` name that is no setting, with the nearest name that is one."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    sentences = []
    for name in sorted(names):
        if name.startswith(PREFIX) and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            sentences.append(f"{name} is not a setting; the nearest name is {nearest}")
    return sentences


def _complaints(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        name = f"{PREFIX}{str(item['loc'][0]).upper()} " if item["loc"] else ""
        lines.append(name + item["msg"].removeprefix("Value error, "))
    return lines


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    options = [option.partition("=") for option in parts.query.split("&")]
    shown = [name + is_ + ("***" if SECRET_OPTION.search(name) else value) for name, is_, value in options]
    parts = parts._replace(query="&".join(shown))
    if "@" not in parts.netloc:
        return urlunsplit(parts)
    login, _, hosts = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    return urlunsplit(parts._replace(netloc=f"{user if colon else ''}{colon}***@{hosts}"))


def _without_secrets(text: str, url: str) -> str:
    """What a library says of a URL, without its secrets: as they are written, and as they are meant."""
    parts = urlsplit(url)
    password = parts.netloc.rpartition("@")[0].partition(":")[2]
    values = [value for name, value in parse_qsl(parts.query) if SECRET_OPTION.search(name)]
    pieces = [piece for value in values for piece in (value, *re.split("[:,]", value))]
    for secret in sorted({password, unquote(password), *pieces} - {""}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
