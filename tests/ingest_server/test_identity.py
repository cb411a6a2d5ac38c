"""How users appear in what is stored."""

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from ingest_server.identity import user_key

SECRET = "the key of this installation"
users = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(users)
def test_without_a_secret_a_user_is_stored_as_he_is(user: str) -> None:
    assert user.encode() == user_key(None)(user)


@given(users)
def test_with_a_secret_a_user_is_its_hmac_sha256(user: str) -> None:
    assert hmac.new(SECRET.encode(), user.encode(), hashlib.sha256).digest() == user_key(SECRET)(user)


def test_another_secret_is_another_user() -> None:
    assert user_key("one secret")("a user") != user_key("another secret")("a user")
