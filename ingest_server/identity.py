"""How a user appears in what is stored: in the HyperLogLogs, and in the digests of event and playback ids."""

import hashlib
import hmac
from collections.abc import Callable

UserKey = Callable[[str], bytes]


def user_key(secret: str | None) -> UserKey:
    """Plain ids without a secret; with one, HMAC-SHA256(secret, id).

    Destroying the secret then unlinks all stored data from its users.
    """
    if secret is None:
        return str.encode
    key = secret.encode()
    return lambda user_id: hmac.digest(key, user_id.encode(), hashlib.sha256)
