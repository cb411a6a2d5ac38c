"""How the program starts, or says in one sentence why it does not."""

from collections.abc import Callable

import pytest

from devstack.programs import Program
from devstack.servers import RedisServer
from tests.servers import PATIENCE

Start = Callable[..., Program]


def ended(program: Program) -> tuple[int, str]:
    """The exit code and everything that was printed."""
    return program.wait(PATIENCE), program.output()


def test_help_names_the_program(start_program: Start) -> None:
    code, output = ended(start_program("ingest_server", "--help", wait=False))
    assert (0, True) == (code, output.startswith("usage: analytics-ingest"))


def test_version_is_one_line(start_program: Start) -> None:
    code, output = ended(start_program("ingest_server", "--version", wait=False))
    assert (0, ["analytics-ingest"]) == (code, [line.split()[0] for line in output.splitlines()])


def test_all_wrong_settings_are_named_at_once(start_program: Start) -> None:
    wrong = {"redis_url": "http://x", "ingest_address": "nowhere", "jwt_secret": "short", "flush_barrier": "hope"}
    code, output = ended(start_program("ingest_server", wait=False, **wrong))
    assert (2, []) == (code, [name for name in wrong if f"ANALYTICS_{name.upper()} " not in output])


def test_it_refuses_to_start_without_a_way_to_verify_tokens(start_program: Start) -> None:
    code, output = ended(start_program("ingest_server", wait=False, jwt_secret=""))
    assert (2, True) == (code, "ANALYTICS_JWT_SECRET" in output)


def test_a_port_that_is_taken_is_one_sentence(start_program: Start, server: Program) -> None:
    code, output = ended(start_program("ingest_server", wait=False, ingest_address=server.address))
    sentence = f"cannot listen on {server.address}: the address is taken, or not one of this machine"
    assert (2, sentence) == (code, output.splitlines()[-1])


def test_a_misspelled_setting_ends_it_with_the_name_that_is_meant(start_program: Start) -> None:
    code, output = ended(start_program("ingest_server", wait=False, commit_linger="5"))
    assert (2, True) == (code, "do you mean ANALYTICS_COMMIT_LINGER_MS?" in output)


def test_secrets_are_not_logged(server: Program) -> None:
    assert '"settings"' in server.output()
    assert "a secret for tests" not in server.output()


def test_tokens_for_other_services_are_a_warning(start_program: Start, server: Program) -> None:
    assert "ANALYTICS_JWT_AUDIENCE is unset" in server.output()
    with_audience = start_program("ingest_server", jwt_audience="analytics")
    assert "ANALYTICS_JWT_AUDIENCE is unset" not in with_audience.output()


UNFIT = [
    ("valkey", {"appendonly": "no"}, "set appendonly yes"),
    ("valkey", {"appendfsync": "everysec"}, "set appendfsync always"),
    ("valkey", {"maxmemory_policy": "allkeys-lru"}, "set maxmemory-policy noeviction"),
]


@pytest.mark.parametrize(("flavour", "options", "remedy"), UNFIT)
def test_a_redis_that_may_lose_counts_is_refused_with_the_remedy(
    start_program: Start,
    start_redis: Callable[..., RedisServer],
    flavour: str,
    options: dict[str, str],
    remedy: str,
) -> None:
    unfit = start_redis(flavour, **options)
    code, output = ended(start_program("ingest_server", wait=False, redis_url=unfit.url))
    assert (2, True) == (code, remedy in output)


def test_everysec_is_enough_on_redis_8(start_program: Start, start_redis: Callable[..., RedisServer]) -> None:
    start_program("ingest_server", redis_url=start_redis("redis", appendfsync="everysec").url)


def test_a_replica_may_stand_in_for_the_disk(start_program: Start, start_redis: Callable[..., RedisServer]) -> None:
    start_program("ingest_server", redis_url=start_redis(appendonly="no").url, flush_barrier="replicas:1")
