"""How the issuer's keys change: what is read again, when, and who waits for it."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from devstack.child import HOST
from shared.identity.auth import TokenVerifier
from shared.identity.jwks import MAX_BYTES, PAUSE_SECONDS, Jwks
from shared.serving.errors import Unavailable
from shared.serving.program import CannotRun
from tests.issuer import Json, Site, key_set, publishing
from tests.servers import PATIENCE
from tests.shared.test_auth import Clock
from tests.shared.test_jwks import ALGORITHMS, ALL, CLAIMS, ROTATED, RSA, Issuer


@pytest.fixture
def logged() -> Iterator[list[structlog.typing.EventDict]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


async def test_a_token_of_a_new_key_is_valid_at_once() -> None:
    issuer = Issuer()
    await issuer.jwks.renew()
    issuer.source.content = key_set(RSA.published(), ROTATED.published())
    issuer.clock.now += PAUSE_SECONDS
    assert issuer.now(ROTATED.token(CLAIMS)) is None
    assert "ann" == (await issuer.later(ROTATED.token(CLAIMS))).user_id


async def test_unknown_key_names_reach_the_issuer_at_a_limited_rate() -> None:
    issuer = Issuer()
    for number in range(20):
        assert "its key is not known here" == await issuer.refusal(ROTATED.token(CLAIMS, kid=f"made up {number}"))
    assert 1 == issuer.source.reads
    issuer.clock.now += PAUSE_SECONDS
    await issuer.refusal(ROTATED.token(CLAIMS, kid="made up again"))
    assert 2 == issuer.source.reads


async def test_callers_that_wait_for_the_same_key_share_one_reading() -> None:
    issuer = Issuer()
    asking = (issuer.later(RSA.token({**CLAIMS, "sub": f"user-{number}"})) for number in range(20))
    callers = await asyncio.gather(*asking)
    assert ([f"user-{number}" for number in range(20)], 1) == (
        [caller.user_id for caller in callers],
        issuer.source.reads,
    )


async def test_a_caller_that_gives_up_does_not_end_the_reading_for_others() -> None:
    issuer = Issuer()
    first = asyncio.create_task(issuer.later(RSA.token(CLAIMS)))
    second = asyncio.create_task(issuer.later(RSA.token({**CLAIMS, "sub": "bob"})))
    await asyncio.sleep(0)
    first.cancel()
    assert "bob" == (await second).user_id


async def test_a_token_seen_before_needs_no_waiting() -> None:
    issuer = Issuer()
    await issuer.later(RSA.token(CLAIMS))
    assert issuer.now(RSA.token(CLAIMS)) is not None


async def test_a_withdrawn_key_is_rejected_for_new_tokens() -> None:
    issuer = Issuer()
    seen = RSA.token(CLAIMS)
    await issuer.later(seen)
    await issuer.rotate(ROTATED.published())
    assert "its key is not known here" == await issuer.refusal(RSA.token({**CLAIMS, "sub": "bob"}))
    assert issuer.now(seen) is not None  # remembered, for five minutes at most


async def test_a_remembered_token_of_a_withdrawn_key_ends_after_five_minutes() -> None:
    issuer = Issuer()
    verifier = TokenVerifier(issuer.jwks, algorithms=ALGORITHMS, now=issuer.clock)
    metadata = [("authorization", f"Bearer {RSA.token({**CLAIMS, 'exp': issuer.clock.now + 10_000})}")]
    await verifier.caller_by_new_keys(metadata)
    await issuer.rotate(ROTATED.published())
    issuer.clock.now += 300
    assert verifier.caller(metadata) is None


async def test_with_the_issuer_away_known_keys_stay_and_unknown_ones_may_be_good_later(
    logged: list[structlog.typing.EventDict],
) -> None:
    issuer = Issuer()
    await issuer.jwks.renew()
    issuer.source.content = ConnectionRefusedError(111, "Connection refused")
    for _ in range(3):
        issuer.clock.now += PAUSE_SECONDS
        await issuer.jwks.renew()
    assert "ann" == (await issuer.later(RSA.token(CLAIMS))).user_id
    with pytest.raises(Unavailable, match="out of reach"):
        await issuer.later(ROTATED.token(CLAIMS))
    await issuer.jwks.check()  # which is no reason not to be ready
    warnings = [line["reason"] for line in logged if line["log_level"] == "warning"]
    assert ["Connection refused"] == warnings


async def test_what_the_issuer_publishes_by_mistake_takes_no_key_away() -> None:
    issuer = Issuer()
    await issuer.jwks.renew()
    await issuer.rotate()
    assert "ann" == (await issuer.later(RSA.token(CLAIMS))).user_id


async def test_there_is_nothing_to_verify_with_until_the_issuer_was_there_once() -> None:
    issuer = Issuer(TimeoutError())
    with pytest.raises(Unavailable, match="no keys to verify tokens with"):
        await issuer.jwks.check()
    with pytest.raises(Unavailable, match="out of reach"):
        await issuer.later(RSA.token(CLAIMS))
    await issuer.rotate(RSA.published())
    await issuer.jwks.check()
    assert "ann" == (await issuer.later(RSA.token(CLAIMS))).user_id


async def test_keys_are_read_from_a_file_at_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(key_set(RSA.published()))
    clock = Clock()
    jwks = Jwks(str(file), clock=clock)
    assert jwks.find(RSA.id, "RS256")
    file.write_bytes(key_set(ROTATED.published()))
    await jwks.renew()
    assert jwks.find(ROTATED.id, "EdDSA")
    assert not jwks.find(RSA.id, "RS256")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"{}", "it is not a JSON Web Key Set"),
        (b" " * (MAX_BYTES + 1), "it has more than 256 KiB"),
    ],
)
def test_a_file_without_keys_is_a_mistake_at_start(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CannotRun) as refused:
        Jwks(str(file))
    assert f"ANALYTICS_JWT_JWKS: no keys in {file}: {reason}" == str(refused.value)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": 500}, "the answer was HTTP 500"),
        ({"status": 302, "headers": {"location": "/elsewhere"}}, "the answer was HTTP 302"),
        ({"body": b" " * (MAX_BYTES + 1)}, "it has more than 256 KiB"),
        ({"headers": {"content-length": "nonsense", "transfer-encoding": "chunked"}}, ""),
    ],
)
async def test_an_answer_without_keys_is_reported_and_changes_nothing(
    answer: Json, reason: str, logged: list[structlog.typing.EventDict]
) -> None:
    site = Site(body=ALL)
    with publishing(site):
        clock = Clock()
        jwks = Jwks(site.url, clock=clock)
        await jwks.renew()
        for name, value in answer.items():
            setattr(site, name, value)
        clock.now += PAUSE_SECONDS
        await jwks.renew()
    (warning,) = [line["reason"] for line in logged if line["log_level"] == "warning"]
    assert reason in warning
    assert jwks.find(RSA.id, "RS256")


async def test_a_silent_issuer_delays_no_caller(
    monkeypatch: pytest.MonkeyPatch, logged: list[structlog.typing.EventDict]
) -> None:
    monkeypatch.setattr("shared.identity.jwks.READ_SECONDS", 0.1)
    with socket.create_server((HOST, 0)) as silent:
        jwks = Jwks(f"http://{HOST}:{silent.getsockname()[1]}/keys")
        renewing = asyncio.create_task(jwks.renew())
        await asyncio.sleep(0)
        assert not renewing.done()  # and the loop is free
        await renewing
    assert ["no answer in time"] == [line["reason"] for line in logged]


async def test_a_reading_that_takes_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.identity.jwks.READ_SECONDS", 0.1)
    over = threading.Event()

    def drip(_location: str) -> bytes:
        over.wait()
        return ALL

    jwks = Jwks("https://issuer.example/keys", read=drip)
    try:
        await jwks.renew()
        with pytest.raises(Unavailable):
            await jwks.check()
    finally:
        over.set()


def test_a_read_that_does_not_end_does_not_delay_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.identity.jwks.READ_SECONDS", 0.1)
    over = threading.Event()
    started = []

    def hang(location: str) -> bytes:
        started.append(location)
        over.wait()
        return ALL

    async def program() -> None:
        clock = Clock()
        jwks = Jwks("https://issuer.example/keys", read=hang, clock=clock)
        for _ in range(3):
            await jwks.renew()
            clock.now += PAUSE_SECONDS

    running = threading.Thread(target=asyncio.run, args=(program(),))
    running.start()
    try:
        running.join(PATIENCE)
        assert not running.is_alive()
        assert 1 == len(started), "and there is never more than one"
    finally:
        over.set()
        running.join()
