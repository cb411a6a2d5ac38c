"""The issuer's keys: which are taken, and what a token can do with them."""

import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from hypothesis import given
from hypothesis import strategies as st

from shared.identity.auth import Caller, TokenVerifier
from shared.identity.jwks import PAUSE_SECONDS, Jwks, check_location, parse
from shared.serving.errors import Unauthenticated
from tests.issuer import Json, Pair, key_set
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


async def test_two_keys_of_one_name_and_kind_are_ambiguous_and_not_used() -> None:
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
def test_an_unusable_key_is_skipped_and_the_others_are_used(member: object) -> None:
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
