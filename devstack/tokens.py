"""Demo tokens, as the platform's login would issue them."""

import time

import jwt


def mint(secret: str, user: str, lifetime_seconds: int = 30 * 24 * 3600, **claims: str) -> str:
    """An HS256 token for one user, valid for so many seconds from now. `secret` has at least 32 bytes."""
    claims = {"sub": user, **claims}
    return jwt.encode({**claims, "exp": int(time.time()) + lifetime_seconds}, secret, algorithm="HS256")
