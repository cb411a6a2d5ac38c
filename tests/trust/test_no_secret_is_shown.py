"""No secret in what programs print, nor in how they are listed: whatever goes wrong."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import redis

from devstack.child import HOST, free_port, wait_until
from devstack.programs import Program
from devstack.servers import RedisServer
from tests.servers import PATIENCE

Start = Callable[..., Program]

# In each, so that one look finds all; the letter tells which.
REDIS, MONGO, JWT, HASH = (f"hunter2-{kind}-0123456789abcdef0123456789abcdef" for kind in ("r", "m", "j", "h"))
SIGN = "hunter2"


def logins(redis_address: str, mongo_address: str) -> dict[str, object]:
    """Settings with all secrets there are, for stores at these hosts."""
    return {
        "redis_url": f"redis://:{REDIS}@{redis_address}/0",
        "mongo_url": f"mongodb://ann:{MONGO}@{mongo_address}/shop?authSource=admin&serverSelectionTimeoutMS=500",
        "jwt_secret": JWT,
        "user_hash_key": HASH,
    }


@pytest.fixture
def refusing(start_redis: Callable[..., RedisServer], mongo_server_url: str) -> dict[str, object]:
    """Stores that answer, and do not accept the passwords."""
    server = start_redis()
    with redis.Redis.from_url(server.url) as client:
        client.config_set("requirepass", "another")
    return logins(server.address, mongo_server_url.partition("://")[2].partition("/")[0])


def told(program: Program, what: str) -> bool:
    return what in program.output()


def listed(pid: int) -> str:
    """How a process and its children are listed by `ps`."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = [
        Path(f"/proc/{process}/{file}").read_text() for process in (pid, *children) for file in ("cmdline", "comm")
    ]
    return "".join([*lines, *(listed(int(child)) for child in children)])


def test_programs_whose_stores_refuse_their_passwords_show_none(
    start_program: Start, refusing: dict[str, object], tmp_path: Path
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name, value in refusing.items():
        (secrets / f"analytics_{name}").write_text(str(value))
    from_files = {**dict.fromkeys(refusing, ""), "secrets_dir": secrets}
    servers = [
        start_program("ingest_server", wait=False, ingest_workers=2, **refusing),
        start_program("query_server", wait=False, **from_files),
    ]
    commands = [start_program("flusher", word, wait=False, **from_files) for word in ("--once", "status")]

    for server in servers:
        wait_until(partial(told, server, "not ready"), PATIENCE, server.tail())
        assert SIGN not in listed(server.pid)
    assert [3, 3] == [command.wait(PATIENCE) for command in commands]
    for program in (*servers, *commands):
        assert SIGN not in program.output()
        assert "Traceback" not in program.output()


def test_programs_whose_stores_are_away_show_no_password(start_program: Start) -> None:
    nobody = f"{HOST}:{free_port()}"
    query = start_program("query_server", wait=False, **logins(nobody, nobody))
    flusher = start_program("flusher", "--once", wait=False, **logins(nobody, nobody))
    query.wait_for(lambda: "not ready" in query.output(), PATIENCE, "did not notice")
    assert 3 == flusher.wait(PATIENCE)
    for program in (query, flusher):
        assert SIGN not in program.output()
        assert "Traceback" not in program.output()


def test_programs_that_cannot_start_show_no_secret(start_program: Start, tmp_path: Path) -> None:
    good = logins(HOST, HOST)
    wrong: list[dict[str, object]] = [
        {"redis_url": f"redis://:{REDIS}/x@{HOST}", "mongo_url": f"mongodb://ann:{MONGO}@x@{HOST}/shop"},
        {"jwt_secret": "", "jwt_jwks": tmp_path / "missing.json"},
        {"tls_certificate": tmp_path / "missing.crt", "tls_key": tmp_path / "missing.key"},
    ]
    programs = [start_program("query_server", wait=False, **{**good, **each}) for each in wrong]
    for program in programs:
        assert 2 == program.wait(PATIENCE), program.tail()
        assert SIGN not in program.output()
        assert "Traceback" not in program.output()
