"""A TCP proxy that misbehaves on command, for standing in front of Redis or MongoDB.

    with Proxy(redis_url) as proxy:
        client = connect(proxy.url)                        # all is well
        loss = proxy.lose_reply(containing(b"EVALSHA"))    # the next script runs, and its caller never hears of it
        ...
        assert loss.happened
        proxy.black_hole()                                 # nothing gets through, and nobody is told
        proxy.heal()                                       # what was held back arrives now: late

It runs on a thread of its own: a test may block, as the fixtures that start programs do, and every method may be called
from anywhere and has taken effect when it returns.

One request is what a client sent in one write, up to 64 KiB of it. Redis and MongoDB connections have one request (or
pipeline) under way at a time, so the bytes that come back after it are its reply.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self
from urllib.parse import urlsplit

from devstack.child import HOST, free_port
from tests.faults.link import Link
from tests.faults.loss import End, Loss, Matching


class Proxy:
    """Forwards to the server of `url` and back, until told otherwise. Every fault lasts until `heal`."""

    def __init__(self, url: str) -> None:
        self._upstream = self._target = urlsplit(url)
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._listener: asyncio.Server | None = None
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._losses: list[Loss] = []
        self._delay = 0.0
        self._open = asyncio.Event()
        self._open.set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """The address of the same server, by way of the proxy.

        A MongoDB is connected to directly: a client of the replica set would ask the server for its address, and go
        past the proxy.
        """
        login = self._upstream.netloc.rpartition("@")
        url = self._upstream._replace(netloc=f"{login[0]}{login[1]}{HOST}:{self.port}")
        if url.scheme.startswith("mongodb"):
            url = url._replace(query="directConnection=true")
        return url.geturl()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._links)

    def lose_reply(
        self, matching: Matching, *, nth: int = 1, times: int = 1, keep: int = 0, end: End = End.CLOSE
    ) -> Loss:
        """The n-th matching request from now on is carried out; its reply is lost, but for the first `keep` bytes.

        So are those of the matching requests after it, `times` of them in all.
        """
        return self._expect(Loss(matching, nth, times, end, forward=True, keep=keep))

    def lose_request(self, matching: Matching, *, nth: int = 1, times: int = 1, end: End = End.CLOSE) -> Loss:
        """The n-th matching request from now on never reaches the server; nor do those after it, `times` in all."""
        return self._expect(Loss(matching, nth, times, end, forward=False, keep=0))

    def delay(self, seconds: float) -> None:
        """Every reply takes so much longer."""
        self._delay = seconds

    def black_hole(self) -> None:
        """Holds back every byte in both directions, as a broken route does: connections stay, and new ones come about.

        What is held back arrives when healed, even when its sender has given up and gone.
        """
        self._run(self._set_open(to=False))

    def reset(self) -> None:
        """Ends every connection by RST, as the kernel does for a process that was killed; new ones are welcome."""
        self._run(self._reset())

    def refuse(self) -> None:
        """Refuses new connections, as a host does whose server is down; those that are open stay."""
        self._run(self._stop_listening())

    def lead_to(self, url: str) -> None:
        """New connections reach another server, as after a failover that moves a name; those that are open stay."""
        self._target = urlsplit(url)

    def heal(self) -> None:
        """Ends every fault, also those that have not happened yet."""
        self._target = self._upstream
        self._losses.clear()
        self._delay = 0.0
        self._run(self._set_open(to=True))
        self._run(self._listen())

    def _expect(self, loss: Loss) -> Loss:
        self._losses.append(loss)
        return loss

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, HOST, self.port)

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _set_open(self, *, to: bool) -> None:
        if to:
            self._open.set()
        else:
            self._open.clear()

    async def _reset(self) -> None:
        for link in self._links:
            link.reset()

    async def _close(self) -> None:
        await self._stop_listening()
        await self._reset()
        tasks = list(self._links.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link((reader, writer), fate=self._fate, passage=self._passage)
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task of its own"
        self._links[link] = task
        try:
            await link.forward(self._target.hostname or HOST, self._target.port or 0)
        except asyncio.CancelledError:
            pass  # the proxy is closing; asyncio reports a cancelled connection as an error
        finally:
            del self._links[link]

    def _fate(self, request: bytes) -> Loss | None:
        return next((loss for loss in list(self._losses) if loss.strikes(request)), None)

    async def _passage(self, *, reply: bool) -> None:
        if reply and self._delay:
            await asyncio.sleep(self._delay)
        await self._open.wait()
