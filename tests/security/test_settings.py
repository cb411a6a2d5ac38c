"""Any environment: settings, or one text that says what is wrong with it and holds no secret."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.serving.program import CannotRun
from shared.settings import ServerSettings, Settings, load

PASSWORD = "hunter2"
# An environment holds bytes, and what is no UTF-8 comes as surrogates; a NUL it cannot hold.
values = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60),
    st.binary(max_size=30).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape")),
    st.sampled_from(
        ["9" * 5000, "1e400", "nan", "-1", "true", "replicas:1", "h:1", "٣", "redis://", "mongodb://a/b", ","]
    ),
)
names = st.sampled_from([name for name in Settings.model_fields if not name.endswith("_url")])
words = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=8)
users = words.map(lambda text: quote(text, safe=""))
hosts = st.from_regex(r"[a-z0-9.:,\[\]-]{0,12}", fullmatch=True)
paths = words.map(lambda text: quote(text, safe="=&?/"))
STORES = {"redis": "redis_url", "rediss": "redis_url", "mongodb": "mongo_url", "mongodb+srv": "mongo_url"}


@contextmanager
def environment(**given: str) -> Iterator[None]:
    """Exactly these settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("ANALYTICS_")]:
            patch.delenv(name)
        for name, value in given.items():
            patch.setenv(f"ANALYTICS_{name.upper()}", value)
        yield


def what_is_said(**given: str) -> str:
    """All that a start with this environment tells: its log, and its last word when it refuses."""
    with environment(**given), structlog.testing.capture_logs() as logged:
        try:
            load(ServerSettings)
        except CannotRun as refused:
            return f"{logged} {refused}"
        return str(logged)


@settings(max_examples=100)
@given(st.dictionaries(names, values, max_size=6))
def test_any_environment_is_taken_or_refused_in_words(given: dict[str, str]) -> None:
    what_is_said(**given).encode()  # which a log must be able to hold


@settings(max_examples=100)
@given(user=users, host=hosts, rest=paths, store=st.sampled_from(list(STORES)))
def test_the_password_of_a_store_is_never_told(user: str, host: str, rest: str, store: str) -> None:
    url = f"{store}://{user}:{PASSWORD}@{host}/{rest}"

    assert PASSWORD not in what_is_said(**{STORES[store]: url, "jwt_secret": "x" * 32})


@given(st.sampled_from(["jwt_secret", "user_hash_key"]), st.sampled_from(["", "x" * 32, "\udcff"]))
def test_a_key_is_never_told(name: str, more: str) -> None:
    assert PASSWORD not in what_is_said(**{name: PASSWORD + more})


@pytest.mark.parametrize("name", ["user_hash_key", "jwt_secret", "jwt_issuer", "redis_url", "ingest_address"])
def test_malformed_utf_8_is_refused_in_one_sentence(name: str) -> None:
    assert f"ANALYTICS_{name.upper()} must be text in UTF-8" in what_is_said(**{name: "\udcff:1"})
