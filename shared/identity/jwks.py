"""The public keys of the tokens' issuer: a JSON Web Key Set (RFC 7517) in a file or behind a URL.

Issuers rotate their keys: they publish a new one, and later withdraw the old one. So the set is read again every
minute, and at once for a token whose key is not in it. Keys stay valid while their source is unavailable.
"""

import asyncio
import http.client
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import structlog

from shared.serving.errors import Unavailable
from shared.serving.program import CannotRun

REFRESH_SECONDS = 60
# Whatever keys the incoming tokens name, their issuer is not asked more often.
PAUSE_SECONDS = 10
FIRST_PAUSE_SECONDS = 1  # while there are no keys at all
READ_SECONDS = 1.5  # callers who wait for it get an answer within 2 s
MAX_BYTES = 256 * 1024

# A key's own type decides what it can do, never a token. Other kinds of keys in a set are skipped.
ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
MIN_RSA_BITS = 2048  # RFC 7518, 3.3

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies signatures of one algorithm; `id` is its `kid`."""

    id: str | None
    algorithm: str
    key: Any


def parse(text: bytes) -> tuple[PublicKey, ...]:
    """The usable keys of a set; skips others (RFC 7517, 5). Raises ValueError if there are none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    members = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(members, list):
        raise ValueError("it is not a JSON Web Key Set")  # noqa: TRY004 - it is what was read that is wrong
    keys = tuple(key for member in members if (key := _public_key(member)) is not None)
    if not keys:
        raise ValueError("it holds no usable key")
    return keys


def _public_key(member: object) -> PublicKey | None:
    if not isinstance(member, dict):
        return None
    kind, curve, key_id = (member.get(name) for name in ("kty", "crv", "kid"))
    algorithm = next((ALGORITHMS[known] for known in ALGORITHMS if known == (kind, curve)), None)
    if algorithm is None or "d" in member or not isinstance(key_id, str | None):
        return None  # another kind of key, or a private one that is published and so worthless
    operations = member.get("key_ops", ["verify"])
    if (
        member.get("alg", algorithm) != algorithm
        or member.get("use", "sig") != "sig"
        or not (isinstance(operations, list) and "verify" in operations)
    ):
        return None
    try:
        key = jwt.PyJWK(member, algorithm).key
    except Exception:  # noqa: BLE001 - whatever is wrong with this key, the other keys are still usable
        return None
    if kind == "RSA" and key.key_size < MIN_RSA_BITS:
        return None
    return PublicKey(key_id, algorithm, key)


def is_url(location: str) -> bool:
    """Whether keys are fetched from there; otherwise it is a file."""
    return "://" in location


def check_location(location: str) -> str:
    """The location, if keys may be read from there. Raises ValueError."""
    parts = urlsplit(location)
    if is_url(location) and (
        not parts.hostname
        or parts.username is not None
        or not (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname)))
    ):
        raise ValueError("must be a file or https://host/path, without credentials; http:// only on this machine")
    return location


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Jwks:
    """The keys as last read from `location`. Tests pass in `read` and `clock`."""

    def __init__(
        self,
        location: str,
        *,
        read: Callable[[str], bytes] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._location = location
        self._read = read or (_fetch if is_url(location) else _file)
        self._clock = clock
        self._keys: tuple[PublicKey, ...] = ()
        self._problem: str | None = "they have not been read yet"
        self._reading: asyncio.Task[None] | None = None
        self._answer: Future[bytes] | None = None
        self._last_read = -float("inf")
        if not is_url(location):
            self._load_file()

    def _load_file(self) -> None:
        """An issuer may be unavailable for a while; a file that is missing at start is a mistake."""
        try:
            self._take(self._read(self._location))
        except (OSError, ValueError) as error:
            raise CannotRun(f"ANALYTICS_JWT_JWKS: no keys in {self._location}: {_why(error)}") from None

    def find(self, key_id: str | None, algorithm: str) -> PublicKey | None:
        """The key of that id. A token that names none gets the only key of its algorithm, if there is only one."""
        fitting = [key for key in self._keys if key.algorithm == algorithm and (key_id is None or key.id == key_id)]
        return fitting[0] if len(fitting) == 1 else None

    async def check(self) -> None:
        """Raises Unavailable until keys have been read for the first time, and never after that."""
        if not self._keys:
            raise Unavailable(f"there are no keys to verify tokens with: {self._problem}", cause="keys")

    def require_current(self) -> None:
        """Raises Unavailable if the source cannot be read, so that an unknown key may be valid."""
        if self._problem is not None:
            raise Unavailable("the keys to verify tokens with are out of reach", cause="keys")

    async def follow(self) -> None:
        """Keeps the keys up to date; never returns."""
        while True:
            await self.renew()
            await asyncio.sleep(REFRESH_SECONDS if self._keys else FIRST_PAUSE_SECONDS)

    async def renew(self) -> None:
        """Reads the keys again, unless a read began a moment ago. Concurrent callers share one read."""
        if self._reading is None:
            if self._clock() < self._last_read + (PAUSE_SECONDS if self._keys else FIRST_PAUSE_SECONDS):
                return
            self._last_read = self._clock()
            self._reading = asyncio.create_task(self._renew())
        await asyncio.shield(self._reading)  # a caller who gives up does not end it for the others

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                text = await self._read_apart()
            self._take(text)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._report(_why(error))
        finally:
            self._reading = None

    async def _read_apart(self) -> bytes:
        """Reads in a thread that ends with the program: of asyncio's own a stop would wait for the end.

        A name server or an issuer may be slower than anybody waits here; then another thread would only hang as well.
        """
        if self._answer is not None and not self._answer.done():
            raise TimeoutError
        answer = self._answer = Future()
        answer.set_running_or_notify_cancel()  # whoever waits may give up, and the thread goes on

        def read() -> None:
            try:
                answer.set_result(self._read(self._location))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is for who waits
                answer.set_exception(error)

        threading.Thread(target=read, name="keys", daemon=True).start()
        return await asyncio.wrap_future(answer)

    def _take(self, text: bytes) -> None:
        keys = parse(text)
        known = {(key.id, key.algorithm) for key in self._keys}
        if self._problem is not None or known != {(key.id, key.algorithm) for key in keys}:
            log.info("keys for tokens", ids=[key.id for key in keys], algorithms=[key.algorithm for key in keys])
        self._keys = keys
        self._problem = None

    def _report(self, problem: str) -> None:
        """Says so once, until the source is back."""
        if self._problem != problem:
            log.warning("keys for tokens cannot be read; those known stay in use", reason=problem)
        self._problem = problem


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    # Without the name of the file, which the sentence has already.
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _file(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return _limited(file.read(MAX_BYTES + 1))


def _fetch(url: str) -> bytes:
    """Blocks; from the URL itself only: redirects could lead anywhere. Raises OSError, HTTPException, ValueError."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    deadline = time.monotonic() + READ_SECONDS
    connection = (
        http.client.HTTPSConnection(host, parts.port, timeout=READ_SECONDS, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=READ_SECONDS)
    )
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"accept": "application/json"})
        with connection.getresponse() as response:
            if response.status != http.client.OK:
                raise ValueError(f"the answer was HTTP {response.status}")
            body = b""
            while chunk := response.read1(MAX_BYTES):
                body = _limited(body + chunk)
                if time.monotonic() > deadline:
                    raise TimeoutError
            return body
    finally:
        connection.close()


def _limited(text: bytes) -> bytes:
    if len(text) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES // 1024} KiB")
    return text
