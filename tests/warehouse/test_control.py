"""What the commands ask the running program, over the socket in its folder."""

import socket
from pathlib import Path

import pytest

from shared.serving.errors import Unavailable
from warehouse import control


async def six() -> str:
    return "6\nsix"


async def broken() -> str:
    raise ValueError("no such thing")


async def test_the_running_program_answers(tmp_path: Path) -> None:
    async with control.answering(tmp_path, {"six": six}):
        assert "6\nsix" == await control.ask(tmp_path, "six")


async def test_a_command_that_fails_there_fails_here(tmp_path: Path) -> None:
    async with control.answering(tmp_path, {"broken": broken}):
        with pytest.raises(Unavailable, match="no such thing"):
            await control.ask(tmp_path, "broken")


@pytest.mark.parametrize("was_killed", [False, True])
async def test_where_no_program_runs_nobody_answers(tmp_path: Path, *, was_killed: bool) -> None:
    if was_killed:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(tmp_path / control.SOCKET))
    assert await control.ask(tmp_path, "six") is None

    async with control.answering(tmp_path, {"six": six}):
        assert "6\nsix" == await control.ask(tmp_path, "six")
    assert await control.ask(tmp_path, "six") is None
