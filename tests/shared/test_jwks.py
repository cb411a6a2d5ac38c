"""The issuer's keys: which are taken, how they change, and what a token can do with them."""

import asyncio
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from hypothesis import given
from hypothesis import strategies as st

from devstack.child import HOST
from shared.identity.auth import Caller, TokenVerifier
from shared.identity.jwks import MAX_BYTES, PAUSE_SECONDS, Jwks, check_location, parse
from shared.serving.errors import Unauthenticated, Unavailable
from shared.serving.program import CannotRun
from tests.issuer import Json, Pair, Site, key_set, publishing
from tests.servers import PATIENCE
from tests.shared.test_auth import Clock, encoded, texts

ALGORITHMS = ("RS256", "ES256", "EdDSA")
PAIRS = {algorithm: Pair.make(algorithm, algorithm.lower()) for algorithm in ALGORITHMS}
RSA = PAIRS["RS256"]
ROTATED = Pair.make("EdDSA", "next")
CLAIMS = {"sub": "ann", "exp": time.time() + 3600}
ALL = key_set(*(pair.published() for pair in PAIRS.values()))


class Source:
    """What is published at the moment; an exception: nobody answers."""

    def __init__(self, content: bytes | Exception) -> None:
        self.content = content
        self.reads = 0

    def __call__(self, _location: str) -> bytes:
        self.reads += 1
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


class Issuer:
    """A verifier, and what its issuer publishes."""

    def __init__(self, content: bytes | Exception = ALL, algorithms: tuple[str, ...] = ALGORITHMS) -> None:
        self.source = Source(content)
        self.clock = Clock()
        self.jwks = Jwks("https://issuer.example/keys", read=self.source, clock=self.clock)
        self.verifier = TokenVerifier(self.jwks, algorithms=algorithms)

    def now(self, token: str) -> Caller | None:
        return self.verifier.caller([("authorization", f"Bearer {token}")])

    async def later(self, token: str) -> Caller:
        metadata = [("authorization", f"Bearer {token}")]
        return self.verifier.caller(metadata) or await self.verifier.caller_by_new_keys(metadata)

    async def refusal(self, token: str) -> str:
        with pytest.raises(Unauthenticated) as refused:
            await self.later(token)
        return str(refused.value).removeprefix("the bearer token is not valid: ")

    async def rotate(self, *keys: Json) -> None:
        self.source.content = key_set(*keys)
        self.clock.now += PAUSE_SECONDS
        await self.jwks.renew()


@pytest.fixture
def logged() -> Iterator[list[structlog.typing.EventDict]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


def forged_hs256(token: str, secret: bytes, **header: str) -> str:
    """The token as HS256, signed with what PyJWT itself refuses to take for a secret."""
    parts = [encoded(json.dumps({"alg": "HS256", **header}).encode()), token.split(".")[1]]
    signature = hmac.new(secret, ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, encoded(signature)])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_each_kind_of_key_verifies_what_it_has_signed(algorithm: str) -> None:
    issuer = Issuer()
    assert "ann" == (await issuer.later(PAIRS[algorithm].token(CLAIMS))).user_id
    stranger = Pair.make(algorithm, algorithm.lower())
    assert "the signature is wrong" == await issuer.refusal(stranger.token(CLAIMS))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("accepted", [ALGORITHMS, ("HS256",)])
async def test_a_public_key_is_never_taken_for_a_secret(algorithm: str, accepted: tuple[str, ...]) -> None:
    pair = PAIRS[algorithm]
    issuer = Issuer(algorithms=accepted)
    token = pair.token(CLAIMS)
    for secret in (pair.pem(), pair.pem().strip(), json.dumps(pair.published()).encode(), b""):
        with pytest.raises(Unauthenticated):
            await issuer.later(forged_hs256(token, secret, kid=pair.id))
        with pytest.raises(Unauthenticated):
            await issuer.later(forged_hs256(token, secret))


async def test_a_token_without_a_signature_is_refused() -> None:
    issuer = Issuer()
    unsigned = jwt.encode(CLAIMS, "", algorithm="none", headers={"kid": RSA.id})
    assert "its algorithm is not accepted here" == await issuer.refusal(unsigned)


@pytest.mark.parametrize("claimed", ["none", "None", "HS256", "RS512", "PS256", "ES384", "", None, 7, [], {}])
async def test_only_the_configured_algorithms_are_looked_at(claimed: object) -> None:
    _, payload, signature = RSA.token(CLAIMS).split(".")
    header = encoded(json.dumps({"alg": claimed, "kid": RSA.id}).encode())
    with pytest.raises(Unauthenticated):
        await Issuer().later(f"{header}.{payload}.{signature}")


async def test_the_key_s_kind_decides_and_not_the_token_that_names_it() -> None:
    """Signed with one key, and naming another of another kind."""
    issuer = Issuer()
    assert "its key is not known here" == await issuer.refusal(PAIRS["ES256"].token(CLAIMS, kid=RSA.id))
    assert "its key is not known here" == await issuer.refusal(RSA.token(CLAIMS, kid=PAIRS["EdDSA"].id))


async def test_an_algorithm_that_is_not_configured_is_refused_though_there_is_a_key() -> None:
    issuer = Issuer(algorithms=("ES256",))
    assert "its algorithm is not accepted here" == await issuer.refusal(RSA.token(CLAIMS))
    assert "ann" == (await issuer.later(PAIRS["ES256"].token(CLAIMS))).user_id


async def test_keys_in_the_token_itself_are_not_looked_at() -> None:
    mine = Pair.make("EdDSA", RSA.id)
    token = mine.token(CLAIMS, jwk=mine.published(), jku="http://127.0.0.1/keys", x5u="http://127.0.0.1/certificate")
    assert "its key is not known here" == await Issuer().refusal(token)


async def test_a_token_that_names_no_key_gets_the_only_one_of_its_algorithm() -> None:
    token = RSA.token_without_kid(CLAIMS)
    assert "ann" == (await Issuer().later(token)).user_id
    two = Issuer(key_set(RSA.published(), Pair.make("RS256", "k2").published()))
    assert "its key is not known here" == await two.refusal(token)


async def test_two_keys_of_one_name_and_kind_are_no_key() -> None:
    both = Issuer(key_set(ROTATED.published(), Pair.make("EdDSA", "next").published()))
    assert "its key is not known here" == await both.refusal(ROTATED.token(CLAIMS))


async def test_claims_are_checked_as_with_a_secret() -> None:
    issuer = Issuer()
    assert "the bearer token has expired" == await issuer.refusal(RSA.token({**CLAIMS, "exp": time.time()}))
    assert "it has no exp" == await issuer.refusal(RSA.token({"sub": "ann"}))
    assert "it has no sub" == await issuer.refusal(RSA.token({"exp": time.time() + 60}))


WEAK = Pair.make("RS256", "weak", bits=1024)
UNUSABLE: list[object] = [
    RSA.published(use="enc"),
    RSA.published(key_ops=["encrypt"]),
    RSA.published(key_ops="verify"),
    RSA.published(alg="RS512"),
    RSA.published(alg="HS256"),
    RSA.published(kid=7),
    RSA.published(kty="unheard-of"),
    RSA.published(kty=["RSA"]),
    RSA.published(n=None),
    RSA.published(n="!"),
    *(pair.published_by_mistake() for pair in PAIRS.values()),
    PAIRS["ES256"].published(crv="P-384"),
    PAIRS["ES256"].published(x=PAIRS["ES256"].published()["y"]),
    PAIRS["EdDSA"].published(crv="X25519"),
    WEAK.published(),
    {"kty": "oct", "k": "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA", "kid": "shared"},
    {},
    None,
    "RSA",
]


@pytest.mark.parametrize("member", UNUSABLE)
def test_a_key_that_is_not_for_this_is_skipped_and_the_others_count(member: object) -> None:
    (only,) = parse(key_set(member, ROTATED.published()))
    assert ("next", "EdDSA") == (only.id, only.algorithm)


def test_a_key_that_this_machine_does_not_support_is_skipped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise UnsupportedAlgorithm("as Ed25519 where FIPS 140 holds")

    monkeypatch.setattr(
        "cryptography.hazmat.primitives.asymmetric.ed25519.Ed25519PublicKey.from_public_bytes", unsupported
    )
    (only,) = parse(key_set(ROTATED.published(), RSA.published()))
    assert RSA.id == only.id


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "it is not a JSON Web Key Set"),
        (b'{"keys": {}}', "it is not a JSON Web Key Set"),
        (key_set(), "it holds no usable key"),
        (key_set(*UNUSABLE), "it holds no usable key"),
    ],
)
def test_a_malformed_key_set_is_refused_with_the_reason(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        parse(text)


values = st.recursive(st.none() | st.booleans() | st.integers() | texts, lambda each: st.lists(each, max_size=3))
members = st.dictionaries(st.sampled_from(["kty", "crv", "kid", "alg", "use", "key_ops", "n", "e", "x", "y"]), values)


@given(members | values, st.sampled_from([RSA.published(), PAIRS["ES256"].published(), PAIRS["EdDSA"].published()]))
def test_whatever_is_published_does_not_break_the_reading(member: object, good: Json) -> None:
    strange = {**good, **member} if isinstance(member, dict) else member
    assert ROTATED.id in [key.id for key in parse(key_set(strange, ROTATED.published()))]


async def test_a_token_of_a_key_that_is_new_is_good_at_once() -> None:
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


def test_a_reading_that_does_not_end_holds_up_no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(
    "location",
    ["keys.json", "/etc/keys.json", "https://issuer.example/keys?tenant=7", "http://127.0.0.1:8000/", "http://[::1]/"],
)
def test_keys_come_from_a_file_or_over_tls(location: str) -> None:
    assert location == check_location(location)


@pytest.mark.parametrize(
    "location",
    [
        "http://issuer.example/keys",
        "http://127.0.0.1.example/",
        "https://ann:hunter2@issuer.example/",
        "https:///keys",
        "ftp://issuer.example/keys",
        "file:///etc/keys.json",
        "://",
    ],
)
def test_keys_that_somebody_else_could_have_sent_are_refused(location: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a file or https://"):
        check_location(location)
