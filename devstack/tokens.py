"""Demo tokens, as the platform's login would issue them."""

import time

import jwt


def mint(secret: str, user: str, lifetime_seconds: int = 30 * 24 * 3600) -> str:
    """An HS256 token for one user, valid from now on for so many seconds. `secret` has at least 32 bytes."""
    return jwt.encode({"sub": user, "exp": int(time.time()) + lifetime_seconds}, secret, algorithm="HS256")
