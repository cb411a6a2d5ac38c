"""One connection to Redis that is never replaced behind the caller's back.

A pool, or a client that reconnects by itself, may split one exchange over two connections, or repeat a command whose
reply was lost. Both would be wrong for counting and for the flush protocol. Here a failure closes the connection, and
the caller, which knows what is safe, opens the next one.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Self, cast
from urllib.parse import urlsplit

from hiredis import HiredisError, Reader, pack_command
from redis.asyncio.connection import AbstractConnection, Connection, RedisSSLContext, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from shared import metrics

# The reply to a command: int, bytes, None, a list of these, or the ResponseError of this command.
Reply = Any
Command = tuple[str | bytes | int, ...]


TLS_SECONDS = 60

# After this age the name may resolve to another server, such as a promoted replica.
MAX_AGE_SECONDS = 30.0


class RedisUnreachable(Exception):
    """No connection, or it broke or timed out. Commands in flight may or may not have been executed."""


class RedisConnection:
    """An open connection. After a RedisUnreachable it is closed for good; every later call raises the same."""

    def __init__(self, connection: AbstractConnection) -> None:
        # The library has connected and authenticated, and lets go of the writer: only this object closes it.
        self._writer = cast("asyncio.StreamWriter", connection._writer)  # noqa: SLF001 - it has no public name
        connection._reader = connection._writer = None  # noqa: SLF001 - as above
        self._exchange = _Exchange(self._writer.transport)
        self._opened = time.monotonic()

    @classmethod
    async def open(cls, url: str, *, timeout: float) -> Self:
        """A connection to a primary, within `timeout` seconds. Raises RedisUnreachable, also for a replica."""
        give_up = time.monotonic() + timeout
        opened = await cls.open_to_any(url, timeout=timeout)
        await opened.check_primary(timeout=max(give_up - time.monotonic(), 0.001))
        return opened

    @classmethod
    async def open_to_any(cls, url: str, *, timeout: float) -> Self:
        """Connects, authenticates and selects a database within `timeout` seconds. Raises RedisUnreachable.

        The server may be a replica, which may lack the latest writes, or all writes since it lost its link.
        """
        arguments: dict[str, Any] = {"connection_class": Connection, **parse_url(url)}
        connection_class = arguments.pop("connection_class")
        arguments |= {"protocol": 2, "retry": Retry(NoBackoff(), 0), "socket_timeout": None}
        connection = connection_class(**arguments)
        try:
            if isinstance(connection, SSLConnection):
                connection.ssl_context = _tls(urlsplit(url).query, int(time.monotonic()) // TLS_SECONDS)
            async with asyncio.timeout(timeout):
                await connection.connect()
        except (RedisError, OSError, TimeoutError) as error:
            await connection.disconnect(nowait=True)
            metrics.REDIS_NO_CONNECTION.inc()
            raise RedisUnreachable(f"cannot connect to Redis: {_why(error)}") from error
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return cls(connection)

    @property
    def is_open(self) -> bool:
        """Whether calls can be made."""
        return self._exchange.is_open

    @property
    def is_fresh(self) -> bool:
        """Whether it is open, and so young that its name still leads to its server."""
        return self.is_open and time.monotonic() - self._opened < MAX_AGE_SECONDS

    async def check_primary(self, *, timeout: float) -> None:
        """Closes the connection and raises RedisUnreachable if the server is not a primary (any more)."""
        (role,) = await self.call_each(("ROLE",), timeout=timeout)
        if not isinstance(role, ResponseError) and role[0] == b"master":
            return
        await self.close()
        if isinstance(role, ResponseError):
            raise RedisUnreachable(f"Redis does not say whether it is a primary: {role}")
        kind = "replica" if role[0] == b"slave" else role[0].decode(errors="replace")
        raise RedisUnreachable(f"this Redis is a {kind}: ANALYTICS_REDIS_URL must lead to the primary")

    async def call(self, *commands: Command, timeout: float) -> list[Reply]:
        """Like `call_each`; raises the first ResponseError among the replies, once all have been read."""
        replies = await self.call_each(*commands, timeout=timeout)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        return replies

    async def call_each(self, *commands: Command, timeout: float) -> list[Reply]:
        """Sends the commands in one write and returns their replies, in order, within `timeout` seconds together.

        The reply to a command that Redis refuses is its ResponseError. Raises RedisUnreachable. A cancelled call also
        closes the connection: otherwise the next call would read its replies.
        """
        if not self.is_open:
            raise RedisUnreachable("the connection to Redis is closed")
        try:
            return await self._exchange.replies(b"".join(map(_pack, commands)), len(commands), timeout)
        except (RedisError, OSError, HiredisError, RuntimeError) as error:
            # RuntimeError is uvloop's word for a transport that was closed a moment ago.
            await self.close()
            metrics.REDIS_LOST.inc()
            raise RedisUnreachable(f"lost the connection to Redis: {_why(error)}") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Closes the connection without waiting."""
        self._exchange.is_open = False
        self._writer.close()


class _Exchange(asyncio.Protocol):
    """Sends commands and reads their replies, as often as one after the other; each commit to Redis is one exchange.

    Streams would take more CPU time, and one more turn of the event loop before whoever waits goes on.
    """

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(replyError=_error)
        self._wanted = 0
        self._replies: list[Reply] = []
        self._complete: asyncio.Future[list[Reply]] | None = None
        self.is_open = not transport.is_closing()
        transport.set_protocol(self)

    async def replies(self, packed: bytes, wanted: int, timeout: float) -> list[Reply]:
        """What the commands are answered. Raises RedisError, OSError or HiredisError, then and for ever."""
        if not wanted:
            return []
        complete: asyncio.Future[list[Reply]] = self._loop.create_future()
        self._wanted, self._replies, self._complete = wanted, [], complete
        timer = self._loop.call_later(timeout, self._fail, TimeoutError())
        try:
            self._transport.write(packed)
            return await complete
        finally:
            timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._take(reply)
        except (RedisError, HiredisError) as error:
            self._fail(error)
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionError("Redis has closed the connection"))

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, BusyLoadingError):  # has not read its files yet
            raise reply
        if self._complete is None or self._complete.done():
            raise RedisError("a reply that nobody waits for")
        self._replies.append(reply)
        if len(self._replies) == self._wanted:
            self._complete.set_result(self._replies)

    def _fail(self, error: Exception) -> None:
        self.is_open = False
        if self._complete is not None and not self._complete.done():
            self._complete.set_exception(error)


def _error(text: str) -> RedisError:
    return BusyLoadingError(text) if text.startswith("LOADING ") else ResponseError(text)


@lru_cache(maxsize=2)
def _tls(options: str, _period: int) -> RedisSSLContext:
    """The certificates that a URL's options name. Raises OSError.

    Reading them takes 50 ms of CPU time, which would delay every call, so it does not happen for each connection. Once
    a minute is enough to notice renewed ones.
    """
    arguments: dict[str, Any] = {**parse_url(f"rediss://host?{options}")}
    connection = arguments.pop("connection_class")(**arguments)
    context: RedisSSLContext = connection.ssl_context
    context.get()
    return context


def _pack(command: Command) -> bytes:
    try:
        packed: bytes = pack_command(command)  # type: ignore[arg-type] # its stub allows only a tuple of one
    except UnicodeEncodeError:  # names of keys or members that are not UTF-8: see `text_of`
        parts = (part.encode(errors="surrogateescape") if isinstance(part, str) else part for part in command)
        packed = pack_command(tuple(parts))  # type: ignore[arg-type] # its stubs want strings
    return packed


def _why(error: Exception) -> str:
    return str(error) or "timed out"


def error_code(reply: Reply) -> str:
    """The first word of an error reply, such as OOM; "" for any other reply."""
    if not isinstance(reply, ResponseError):
        return ""
    return str(reply).partition(" ")[0]


def text_of(name: bytes) -> str:
    """A name in Redis as text. Bytes that are not UTF-8 survive the way back to Redis."""
    return name.decode(errors="surrogateescape")


def texts_of(names: Sequence[bytes]) -> list[str]:
    """Each as text. Nearly all are UTF-8, and quicker to read together."""
    try:
        return list(map(bytes.decode, names))
    except UnicodeDecodeError:
        return list(map(text_of, names))


def is_utf8(text: str) -> bool:
    """Whether a text from Redis is valid outside of Redis."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def pairs(flat: Sequence[bytes]) -> dict[str, bytes]:
    """A reply such as HGETALL's or CONFIG GET's, [name, value, name, value, ...], as a mapping."""
    return {text_of(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
