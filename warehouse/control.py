"""Requests of the commands to the running program, if ClickHouse runs in process: one process owns its folder.

The request is one word, the answer is text, over a socket in that folder.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from shared.serving.errors import Unavailable

SOCKET = "control.sock"
WORD_BYTES = 100
FAILED = "ended early: "

Command = Callable[[], Awaitable[str]]


@asynccontextmanager
async def answering(folder: Path | None, commands: Mapping[str, Command]) -> AsyncIterator[None]:
    """Answers requests while the block runs; does nothing without a folder."""
    if folder is None:
        yield
        return

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        word = (await reader.read(WORD_BYTES)).decode()
        try:
            text = await commands[word]()
        except Exception as error:  # noqa: BLE001 - the caller is told
            text = f"{FAILED}{error}"
        writer.write(text.encode())
        writer.close()

    path = folder / SOCKET
    path.unlink(missing_ok=True)
    async with await asyncio.start_unix_server(answer, path):
        path.chmod(0o600)
        yield
    path.unlink(missing_ok=True)


async def ask(folder: Path | None, word: str) -> str | None:
    """The answer of the running program; None if none is running, so the folder is free. Raises Unavailable."""
    if folder is None:
        return None
    try:
        reader, writer = await asyncio.open_unix_connection(folder / SOCKET)
    except (FileNotFoundError, ConnectionRefusedError):  # refused: the program that made the socket was killed
        return None
    writer.write(word.encode())
    writer.write_eof()
    text = (await reader.read()).decode()
    writer.close()
    if text.startswith(FAILED):
        raise Unavailable(text, cause="warehouse")
    return text
