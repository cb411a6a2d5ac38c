"""The addresses of the stores: checked before anything connects, and shown without their secrets."""

import re
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri
from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import RedisError

# Options of the stores' URLs whose values are secrets.
SECRET_OPTION = re.compile(r"(?i)(password|authMechanismProperties)$")


def redis_url(url: str) -> str:
    """The URL itself. Raises ValueError if the client does not accept it."""
    parts = _split_url(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.port == 0:
        raise ValueError("must look like redis://host:6379/0, or rediss:// for TLS")
    try:
        arguments: dict[str, Any] = {"connection_class": Connection, **parse_url(url)}
        arguments.pop("connection_class")(**arguments)  # does not connect yet, but knows its options
    except (ValueError, TypeError, RedisError) as error:
        raise ValueError(f"is not valid: {_without_secrets(str(error), url)}") from None
    return url


def mongo_url(url: str) -> str:
    """The URL itself. Raises ValueError if the client does not accept it, or it names no database."""
    parts = _split_url(url)
    if parts.scheme not in ("mongodb", "mongodb+srv") or not parts.netloc:
        raise ValueError("must look like mongodb://host:27017/database")
    if not parts.path.strip("/"):
        raise ValueError("must name the database in its path, as in mongodb://host:27017/aetherlearn")
    if parts.scheme == "mongodb":  # checking the other kind would need DNS
        try:
            parse_uri(url)
        except (PyMongoError, ValueError, OSError) as error:
            raise ValueError(f"is not valid: {_without_secrets(str(error), url)}") from None
    return url


def _split_url(url: str) -> SplitResult:
    """The parts of a store's URL. Raises ValueError with a text that contains nothing of it."""
    try:
        parts = urlsplit(url)
        if parts.scheme.startswith("redis"):
            _ = parts.port
    except ValueError:
        raise ValueError(
            "is not a URL, or its port is no number (in a password, / ? # @ are %2F %3F %23 %40)"
        ) from None
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":  # then the part before it belongs to the password
        raise ValueError("has an @ behind its host: in a password, / ? # @ are written %2F %3F %23 %40")
    return parts


def without_password(url: str) -> str:
    """The URL as it may be logged."""
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
    """A library's message about a URL without its secrets, encoded or decoded."""
    parts = urlsplit(url)
    password = parts.netloc.rpartition("@")[0].partition(":")[2]
    values = [value for name, value in parse_qsl(parts.query) if SECRET_OPTION.search(name)]
    pieces = [piece for value in values for piece in (value, *re.split("[:,]", value))]
    for secret in sorted({password, unquote(password), *pieces} - {""}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
