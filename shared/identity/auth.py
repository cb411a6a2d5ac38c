"""Who is calling: the JSON Web Token (RFC 7519) of a request, verified here, whatever a gateway has checked."""

import base64
import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from shared import metrics
from shared.expiring import ExpiringCache
from shared.identity.jwks import Jwks
from shared.serving.errors import Unauthenticated
from shared.serving.refusals import Metadata
from shared.settings import ServerSettings

CACHED_TOKENS = 50_000  # ~1 KB each
CACHED_SECONDS = 300

# The algorithm and the digest of an HMAC of so many bytes (RFC 7518, 3.2).
HMACS = {32: ("HS256", "sha256"), 48: ("HS384", "sha384"), 64: ("HS512", "sha512")}

REASONS: dict[type[jwt.InvalidTokenError], str] = {
    jwt.InvalidSignatureError: "the signature is wrong",
    jwt.InvalidAlgorithmError: "its algorithm is not accepted here",
    jwt.ImmatureSignatureError: "it is not valid yet",
    jwt.InvalidAudienceError: "it is meant for another audience",
    jwt.InvalidIssuerError: "it comes from another issuer",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """The user of a valid token, and when it expires (seconds since the epoch)."""

    user_id: str
    expires: float
    scope: frozenset[str] = frozenset()


class TokenVerifier:
    """Verifies bearer tokens, with one shared secret or with the public keys of their issuer.

    With a `cookie`, the token may be in the cookie of that name instead of `authorization`.

    A verified token is cached for at most 5 minutes, and never past its `exp`.
    """

    def __init__(
        self,
        key: str | Jwks,
        *,
        algorithms: Sequence[str],
        audience: Sequence[str] = (),
        issuer: str | None = None,
        user_claim: str = "sub",
        cookie: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._algorithms = list(algorithms)
        self._audience = list(audience) or None
        self._issuer = issuer
        self._user_claim = user_claim
        self._cookie = cookie
        self._now = now
        self._verified: ExpiringCache[str, Caller] = ExpiringCache(CACHED_TOKENS, now)

    @classmethod
    def of(cls, settings: ServerSettings) -> "TokenVerifier":
        """The verifier for these settings. Raises CannotRun."""
        secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
        return cls(
            key=secret or Jwks(settings.jwt_jwks or ""),  # ServerSettings requires one of them
            algorithms=settings.jwt_algorithms,
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
            user_claim=settings.jwt_user_claim,
            cookie=settings.jwt_cookie,
        )

    async def follow_keys(self) -> None:
        """Keeps the issuer's keys up to date; never returns. With a secret it returns at once."""
        if isinstance(self._key, Jwks):
            await self._key.follow()

    async def check_keys(self) -> None:
        """Raises Unavailable while there are no keys, because their issuer has been unavailable since the start."""
        if isinstance(self._key, Jwks):
            await self._key.check()

    def caller(self, metadata: Metadata | None) -> Caller | None:
        """The caller that a request's metadata proves. Raises Unauthenticated.

        None if the token is signed with an unknown key: `caller_by_new_keys` looks for it.
        """
        token = self._token(list(metadata or ()))
        caller = self._verified.get(token)
        if caller is None:
            signed, _, signature = token.rpartition(".")
            mac = _decoded(signature)
            if mac is None:
                raise Unauthenticated("the bearer token is not valid: it cannot be read")
            if isinstance(self._key, str) and self._is_forged(self._key, signed, mac):
                raise _invalid(jwt.InvalidSignatureError())
            key = self._key_of(token)
            if key is None:
                return None
            caller = self._verify(token, *key)
            metrics.TOKENS_VERIFIED.inc()
            self._verified.put(token, caller, until=min(caller.expires, self._now() + CACHED_SECONDS))
        return caller

    async def caller_by_new_keys(self, metadata: Metadata | None) -> Caller:
        """The caller, after reading the keys again. Raises Unauthenticated, or Unavailable if they cannot be read.

        Not every such token causes a read: anybody can make up the name of a key.
        """
        if isinstance(self._key, Jwks):
            await self._key.renew()
        caller = self.caller(metadata)
        if caller is None:
            if isinstance(self._key, Jwks):
                self._key.require_current()
            raise Unauthenticated("the bearer token is not valid: its key is not known here")
        return caller

    def _token(self, metadata: list[tuple[str, str | bytes]]) -> str:
        """The token of the header; without the header that of the cookie."""
        if self._cookie is None or _values("authorization", metadata):
            return _bearer_token(_authorization(metadata))
        return _token_of_cookie(self._cookie, metadata) or _bearer_token(_authorization(metadata))

    def _is_forged(self, secret: str, signed: str, mac: bytes) -> bool:
        """Whether this is not an HMAC by the secret. If it is one, the rest is still to be verified.

        So a forged token costs a tenth of what PyJWT would need.
        """
        algorithm, digest = HMACS.get(len(mac), ("", ""))
        if algorithm not in self._algorithms:
            return False
        return not hmac.compare_digest(mac, hmac.digest(secret.encode(), signed.encode(), digest))

    def _key_of(self, token: str) -> tuple[Any, Sequence[str]] | None:
        """The key that verifies the token, and the algorithms that it may be used with; None if there is no such key.

        The token never decides about algorithms. A public key used as a secret would let everybody sign.
        """
        if isinstance(self._key, str):
            return self._key, self._algorithms
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in self._algorithms:
                raise jwt.InvalidAlgorithmError
        except jwt.InvalidTokenError as error:
            raise _invalid(error) from None
        key = self._key.find(header.get("kid"), algorithm)
        return None if key is None else (key.key, [key.algorithm])

    def _verify(self, token: str, key: Any, algorithms: Sequence[str]) -> Caller:  # noqa: ANN401 - as PyJWT has it
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=algorithms,
                audience=self._audience,
                issuer=self._issuer,
                # `exp` is compared below, with this verifier's clock. A token "issued in the future" only shows clock
                # skew.
                options={
                    "require": ["exp", self._user_claim],
                    "verify_aud": self._audience is not None,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_sub": False,
                },
            )
            expires = _time(claims["exp"])
        except jwt.InvalidTokenError as error:
            raise _invalid(error) from None
        except (TypeError, ValueError, OverflowError):
            raise Unauthenticated("the bearer token is not valid: exp is not a time") from None
        if not self._now() < expires:
            raise Unauthenticated("the bearer token has expired")
        user_id = claims[self._user_claim]
        if not isinstance(user_id, str) or not 1 <= _bytes(user_id) <= 256:
            raise Unauthenticated(
                f"the bearer token is not valid: {self._user_claim} must be a string of 1 to 256 bytes"
            )
        scope = claims.get("scope", "")
        return Caller(user_id, expires, frozenset(scope.split() if isinstance(scope, str) else ()))


def _bytes(text: str) -> int:
    """Its length in UTF-8; 0 for the half of a surrogate pair, which JSON can hold and UTF-8 cannot."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 0


def _time(claim: object) -> float:
    """A NumericDate (RFC 7519, 2). Raises TypeError."""
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        raise TypeError(claim)
    return float(claim)


def _values(name: str, metadata: Metadata) -> list[str]:
    return [str(value) for key, value in metadata if key == name]


def _token_of_cookie(name: str, metadata: Metadata) -> str:
    """The token in the cookie of that name; "" without one.

    Browsers send a cookie for any page, but `x-requested-with` only for a page whose origin the gateway allows: for any
    other page the preflight fails. So that header proves that the request is not forged (CSRF).
    """
    pairs = [pair.strip().partition("=") for value in _values("cookie", metadata) for pair in value.split(";")]
    tokens = [token for key, _, token in pairs if key == name]
    if len(tokens) > 1:
        raise Unauthenticated(f"the request has more than one cookie `{name}`")
    if tokens and not _values("x-requested-with", metadata):
        raise Unauthenticated("a call by cookie needs the header `x-requested-with`")
    return tokens[0] if tokens else ""


def _authorization(metadata: Metadata) -> str:
    values = _values("authorization", metadata)
    if not values:
        raise Unauthenticated("the request needs the metadata `authorization: Bearer <JWT>`", challenge="Bearer")
    if len(values) > 1:
        raise Unauthenticated("the request has more than one `authorization`")
    return values[0]


def _bearer_token(authorization: str) -> str:
    scheme, _, rest = authorization.partition(" ")
    token = rest.strip(" ")  # there may be several spaces (RFC 9110, 11.4)
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("`authorization` must be `Bearer <JWT>`")
    return token


def _decoded(signature: str) -> bytes | None:
    """The bytes of a signature; None unless it has the canonical base64url spelling.

    Limits count by the token's text, so a caller must not get a new limit for each spelling.
    """
    try:
        decoded = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    except ValueError:
        return None
    return decoded if base64.urlsafe_b64encode(decoded).rstrip(b"=") == signature.encode() else None


def _invalid(error: jwt.InvalidTokenError) -> Unauthenticated:
    if isinstance(error, jwt.MissingRequiredClaimError):
        reason = f"it has no {error.claim}"
    else:
        reason = next((text for kind, text in REASONS.items() if isinstance(error, kind)), "it cannot be read")
    return Unauthenticated(f"the bearer token is not valid: {reason}")
