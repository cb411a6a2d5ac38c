"""Pages of a list, by AIP-158: how many courses, and after which one. Pure.

A token names the last course of the previous page and the user whose list it is: with another user's token the list
would begin in the middle.
"""

import base64
import hashlib

from shared.serving.errors import InvalidRequest, Violation

DEFAULT_SIZE = 20
LARGEST_SIZE = 100
_ID_BYTES = 12
_CREATOR_BYTES = 8


def size_of(asked: int) -> int:
    """How many courses a page has at most. Raises InvalidRequest."""
    if asked < 0:
        raise InvalidRequest([Violation("pageSize", "must not be negative")])
    return min(asked or DEFAULT_SIZE, LARGEST_SIZE)


def token_after(course_id: str, creator: str) -> str:
    """The token of the page after this course."""
    return base64.urlsafe_b64encode(bytes.fromhex(course_id) + _mark(creator)).decode().rstrip("=")


def last_of(token: str, creator: str) -> str | None:
    """The last course of the page before the token's; None without a token. Raises InvalidRequest."""
    if not token:
        return None
    try:
        content = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        content = b""
    if len(content) != _ID_BYTES + _CREATOR_BYTES or content[_ID_BYTES:] != _mark(creator):
        raise InvalidRequest([Violation("pageToken", "must be the nextPageToken of a page of this list")])
    return content[:_ID_BYTES].hex()


def _mark(creator: str) -> bytes:
    return hashlib.blake2b(creator.encode(errors="surrogatepass"), digest_size=_CREATOR_BYTES).digest()
