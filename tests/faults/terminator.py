"""TLS in front of a server that has none: the servers that the tests start were built without it."""

import asyncio
import contextlib
import ssl
import threading
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from devstack.child import HOST, free_port
from tests.certificates import Identity

CHUNK = 64 * 1024

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Terminator:
    """Listens with TLS on 127.0.0.1 and forwards, decrypted, to the server of `url`. Runs on a thread of its own.

    With `client_ca`, clients must present a certificate that it has signed.
    """

    def __init__(self, url: str, identity: Identity, client_ca: Path | None = None) -> None:
        self._server = urlsplit(url)
        self.port = free_port()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(identity.certificate, identity.key)
        if client_ca is not None:
            self._context.load_verify_locations(client_ca)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._run()], name="terminator")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()
        self._loop.close()

    async def _run(self) -> None:
        self._loop.set_exception_handler(lambda _loop, _context: None)  # handshakes that fail are the tests' subject
        links: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            link = asyncio.create_task(self._link((reader, writer)))
            links.add(link)
            link.add_done_callback(links.discard)

        async with await asyncio.start_server(accept, HOST, self.port, ssl=self._context):
            self._listening.set()
            await self._closing.wait()
            for link in links:
                link.cancel()
            await asyncio.gather(*links, return_exceptions=True)

    async def _link(self, client: Stream) -> None:
        server = await asyncio.open_connection(self._server.hostname, self._server.port)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_forward(client[0], server[1]))
                tasks.create_task(_forward(server[0], client[1]))
        finally:
            for _, writer in (client, server):
                writer.transport.abort()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
