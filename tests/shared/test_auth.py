"""Who is calling, by the token: only what the configured key has signed, for as long as it says."""

import base64
import json
import string
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.identity.auth import CACHED_SECONDS, Caller, TokenVerifier
from shared.serving.errors import Unauthenticated
from tests.issuer import Pair

SECRET = "a secret of these tests, of at least 64 bytes, so that HS512 has enough of it"
NOW = 1_800_000_000.0
ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
CLAIMS = {"sub": "ann", "exp": NOW + 60}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def signed(claims: Mapping[str, object], *, secret: str = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(dict(claims), secret, algorithm)


def verifier(**options: object) -> TokenVerifier:
    return TokenVerifier(SECRET, **{"algorithms": ["HS256"], "now": Clock(), **options})  # type: ignore[arg-type] # options of any type


def known(caller: Caller | None) -> Caller:
    assert caller is not None
    return caller


def caller(token: str, **options: object) -> Caller:
    return known(verifier(**options).caller([("user-agent", "tests"), ("authorization", f"Bearer {token}")]))


def refusal(token: str, **options: object) -> str:
    with pytest.raises(Unauthenticated) as refused:
        caller(token, **options)
    return str(refused.value)


def test_a_valid_token_tells_the_user_and_when_it_ends() -> None:
    assert Caller("ann", NOW + 60) == caller(signed(CLAIMS))


@pytest.mark.parametrize("spelling", ["Bearer {}", "bearer {}", "Bearer   {}", "Bearer {} "])
def test_the_scheme_has_any_case_and_any_number_of_spaces(spelling: str) -> None:
    authorization = spelling.format(signed(CLAIMS))

    assert "ann" == known(verifier().caller([("authorization", authorization)])).user_id


def test_all_spellings_of_the_header_are_remembered_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise one token could drive out everybody else's."""
    token, mine = signed(CLAIMS), verifier()
    first = known(mine.caller([("authorization", f"Bearer {token}")]))
    monkeypatch.setattr(jwt, "decode", None)  # whoever verifies again fails
    for spelling in ("bearer {}", "bEARER {}", "Bearer    {}", "Bearer {} "):
        assert first is mine.caller([("authorization", spelling.format(token))])


def test_a_signature_is_taken_in_its_own_spelling_alone() -> None:
    token = signed(CLAIMS)
    last = ALPHABET.index(token[-1])
    same_bytes = [token[:-1] + ALPHABET[last ^ bits] for bits in (1, 2, 3)]  # of the last letter two bits are not used

    for spelling in (*same_bytes, f"{token}="):
        assert "the bearer token is not valid: it cannot be read" == refusal(spelling)


def test_the_user_s_claim_has_the_configured_name() -> None:
    assert "u7" == caller(signed({**CLAIMS, "userId": "u7"}), user_claim="userId").user_id


def test_the_scope_is_a_list_with_spaces() -> None:
    assert {"analytics:write", "x"} == caller(signed({**CLAIMS, "scope": "analytics:write x"})).scope


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (signed(CLAIMS, secret="another secret, which is long enough too"), "the signature is wrong"),
        (jwt.encode(CLAIMS, "", algorithm="none"), "its algorithm is not accepted here"),
        (signed(CLAIMS, algorithm="HS512"), "its algorithm is not accepted here"),
        (Pair.make("RS256").token(CLAIMS), "its algorithm is not accepted here"),
        (Pair.make("ES256").token(CLAIMS), "its algorithm is not accepted here"),
        (Pair.make("EdDSA").token(CLAIMS), "its algorithm is not accepted here"),
        (signed({"sub": "ann"}), "it has no exp"),
        (signed({"exp": NOW + 60}), "it has no sub"),
        (signed({**CLAIMS, "nbf": 2**40}), "it is not valid yet"),
        (signed({**CLAIMS, "exp": None}), "it has no exp"),
        (signed({**CLAIMS, "exp": "soon"}), "exp is not a time"),
        (signed({**CLAIMS, "exp": [1]}), "exp is not a time"),
        (signed({**CLAIMS, "exp": 10**400}), "exp is not a time"),
        (signed({**CLAIMS, "sub": 7}), "sub must be a string of 1 to 256 bytes"),
        (signed({**CLAIMS, "sub": ""}), "sub must be a string of 1 to 256 bytes"),
        (signed({**CLAIMS, "sub": "é" * 129}), "sub must be a string of 1 to 256 bytes"),
        (signed({**CLAIMS, "sub": "\ud800"}), "sub must be a string of 1 to 256 bytes"),
        ("x.y.z", "it cannot be read"),
        ("x", "it cannot be read"),
    ],
)
def test_a_token_that_is_not_valid_is_refused_with_the_reason(token: str, reason: str) -> None:
    assert f"the bearer token is not valid: {reason}" == refusal(token)


@pytest.mark.parametrize("exp", [NOW, NOW - 1, -1, float("nan")])
def test_a_token_ends_exactly_at_its_exp(exp: float) -> None:
    assert "the bearer token has expired" == refusal(signed({**CLAIMS, "exp": exp}))


def test_an_audience_is_checked_when_one_is_configured() -> None:
    token = signed({**CLAIMS, "aud": ["shop", "analytics"]})
    assert "ann" == caller(token, audience=["analytics"]).user_id
    assert "the bearer token is not valid: it is meant for another audience" == refusal(token, audience=["mail"])
    assert "the bearer token is not valid: it has no aud" == refusal(signed(CLAIMS), audience=["mail"])


def test_an_issuer_is_checked_when_one_is_configured() -> None:
    token = signed({**CLAIMS, "iss": "login"})
    assert "ann" == caller(token, issuer="login").user_id
    assert "the bearer token is not valid: it comes from another issuer" == refusal(token, issuer="other")
    assert "the bearer token is not valid: it has no iss" == refusal(signed(CLAIMS), issuer="other")


def test_audience_and_issuer_are_ignored_when_none_is_configured() -> None:
    assert "ann" == caller(signed({**CLAIMS, "aud": "shop", "iss": "login"})).user_id


def test_a_token_issued_by_a_clock_that_is_ahead_is_valid() -> None:
    assert "ann" == caller(signed({**CLAIMS, "iat": NOW + 30})).user_id


def test_a_remembered_token_ends_at_its_exp_too() -> None:
    clock = Clock()
    verify = verifier(now=clock)
    metadata = [("authorization", f"Bearer {signed(CLAIMS)}")]
    assert "ann" == known(verify.caller(metadata)).user_id
    clock.now = NOW + 60
    with pytest.raises(Unauthenticated, match="expired"):
        verify.caller(metadata)


def test_a_token_is_verified_once_in_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    verify = verifier(now=clock)
    metadata = [("authorization", f"Bearer {signed({**CLAIMS, 'exp': NOW + 10_000})}")]
    verified = []
    decode = jwt.decode

    def noting(*args: Any, **options: Any) -> Any:
        verified.append(clock.now)
        return decode(*args, **options)

    monkeypatch.setattr(jwt, "decode", noting)
    for clock.now in (NOW, NOW + CACHED_SECONDS - 1, NOW + CACHED_SECONDS):
        verify.caller(metadata)
    assert [NOW, NOW + CACHED_SECONDS] == verified


def test_a_refused_token_is_not_remembered() -> None:
    verify = verifier()
    metadata = [("authorization", "Bearer x.y.z")]
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            verify.caller(metadata)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        [],
        [("authorization", "")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer ")],
        [("authorization", signed(CLAIMS))],
        [("authorization", f"Basic {signed(CLAIMS)}")],
        [("authorization", f"Bearer {signed(CLAIMS)}")] * 2,
        [("authorization", f"Bearer {signed(CLAIMS)}".encode())],
    ],
)
def test_anything_but_one_bearer_token_is_refused(metadata: list[tuple[str, str | bytes]] | None) -> None:
    with pytest.raises(Unauthenticated):
        verifier().caller(metadata)


def test_the_scheme_is_written_in_any_case() -> None:
    assert "ann" == known(verifier().caller([("authorization", f"bEARER {signed(CLAIMS)}")])).user_id


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


texts = st.text(st.characters(codec="ascii"), max_size=40)
parts = st.one_of(
    st.binary(max_size=40).map(encoded),
    st.recursive(
        st.none() | st.booleans() | st.integers() | texts, lambda each: st.lists(each) | st.dictionaries(texts, each)
    )
    .map(json.dumps)
    .map(str.encode)
    .map(encoded),
    texts,
)


@given(st.lists(parts, max_size=4))
def test_no_text_is_taken_for_a_token_and_none_breaks_the_verifier(token: list[str]) -> None:
    with pytest.raises(Unauthenticated):
        caller(".".join(token))


def test_a_header_too_deep_to_be_read_is_refused() -> None:
    deep = encoded(b"[" * 50_000)
    assert "the bearer token is not valid: it cannot be read" == refusal(f"{deep}.{deep}.{deep}")
