"""Settings: environment variables with the prefix `ANALYTICS_`, validated as a whole when a program starts."""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

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
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri
from redis.asyncio.connection import parse_url

from shared.program import CannotRun

PREFIX = "ANALYTICS_"

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
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.port == 0:
        raise ValueError("must look like redis://host:6379/0, or rediss:// for TLS")
    return url


def _mongo_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("mongodb", "mongodb+srv") or not parts.netloc:
        raise ValueError("must look like mongodb://host:27017/database")
    if not parts.path.strip("/"):
        raise ValueError("must name the database in its path, as in mongodb://host:27017/aetherlearn")
    if parts.scheme == "mongodb":  # to check the other kind, DNS would have to be asked
        try:
            parse_uri(url)
        except PyMongoError as error:
            raise ValueError(f"is not valid: {error}") from None
    return url


def _address(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("must be host:port, with a port from 1 to 65535")
    return address


def _jwt_secret(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) < 32:
        raise ValueError("must have at least 32 bytes")  # RFC 7518, 3.2
    return secret


def _algorithms(algorithms: tuple[str, ...]) -> tuple[str, ...]:
    if not algorithms or not set(algorithms) <= {"HS256", "HS384", "HS512"}:
        raise ValueError("must be a list of HS256, HS384 and HS512")
    return algorithms


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


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
    jwt_algorithms: Annotated[List, AfterValidator(_algorithms)] = ("HS256",)
    jwt_audience: List = ()
    jwt_issuer: str | None = None
    jwt_user_claim: Annotated[str, Field(min_length=1)] = "sub"
    user_hash_key: SecretStr | None = None
    flush_interval_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 300
    flush_lock_ttl_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 240
    flush_barrier: Annotated[Barrier, BeforeValidator(Barrier.parse), NoDecode] = Barrier("aof")
    commit_linger_ms: Annotated[float, Field(ge=0, le=100)] = 4
    ingest_metrics_address: Address | None = None
    query_metrics_address: Address | None = None
    flusher_metrics_address: Address | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("redis_cluster")
    @classmethod
    def _cluster_has_one_database(cls, cluster: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - as pydantic calls it
        if cluster and parse_url(info.data.get("redis_url", "redis://")).get("db", 0) != 0:
            raise ValueError("needs database 0 in ANALYTICS_REDIS_URL: a cluster has no other")
        return cluster

    def redacted(self) -> dict[str, Any]:
        """The settings as they may be logged: without secrets and passwords."""
        shown = {name: str(value) for name, value in self if value is not None}
        return shown | {name: _without_password(shown[name]) for name in ("redis_url", "mongo_url")}


class ServerSettings(Settings):
    """What a server needs beyond that: it refuses to start when it could not verify tokens."""

    @model_validator(mode="after")
    def _can_verify_tokens(self) -> Self:
        if self.jwt_secret is None:
            raise ValueError("ANALYTICS_JWT_SECRET is needed, to verify who is calling")
        return self


S = TypeVar("S", bound=Settings)


def load(kind: type[S]) -> S:
    """The settings of this process, logged once. Raises CannotRun with every error at once when they are not valid."""
    for warning in unknown_names(os.environ):
        log.warning(warning)
    try:
        settings = kind()
    except ValidationError as error:
        raise CannotRun("\n  ".join(["invalid settings:", *_complaints(error)])) from None
    log.info("settings", **settings.redacted())
    return settings


def unknown_names(environment: Mapping[str, str]) -> list[str]:
    """One sentence for each `ANALYTICS_*` name that is no setting, with the nearest name that is one."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    sentences = []
    for name in sorted(environment):
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
    parts = parts._replace(query=re.sub(r"(?i)(password=)[^&]*", r"\1***", parts.query))
    if "@" not in parts.netloc:
        return urlunsplit(parts)
    user = parts.netloc.rpartition("@")[0].partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}:***@{parts.netloc.rpartition('@')[2]}"))
