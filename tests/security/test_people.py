"""What is stored about a person, with ANALYTICS_USER_HASH_KEY set: nothing that can be found without the key."""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
import redis
from bson import encode
from pymongo import MongoClient

from tests.gateway.rest import TELEMETRY, VIEW, ping
from tests.ingest_server.client import COURSE, FIRST, bearer, token
from tests.ingest_server.stored import key
from tests.security.stage import USER_HASH_KEY, Service
from tests.servers import program

ANN, BOB = "ann.of.the.tests@example.com", "650000000000000000000b0b"
PEOPLE = (ANN, BOB)
EVENT, PLAYBACK = "event-of-ann", "playback-of-ann"


def hashed(user: str) -> bytes:
    """How a user appears with the key."""
    return hmac.digest(USER_HASH_KEY.encode(), user.encode(), hashlib.sha256)


def digest(user: bytes, *ids: str) -> bytes:
    """The digest by which an event, a playback or the watched time of a user is remembered."""
    text = b"\0".join([*(each.encode() for each in ids), user])
    return hashlib.blake2b(text, digest_size=16).digest()


def text_of(digest: bytes) -> bytes:
    """A digest in the name of a key."""
    return base64.urlsafe_b64encode(digest).rstrip(b"=")


# What is remembered in sets, and in the names of keys.
IN_SETS = ((COURSE, EVENT), (COURSE, FIRST, PLAYBACK))
IN_NAMES = ((COURSE,),)


def forms(user: str) -> Iterator[bytes]:
    """A user's id as somebody without the key could look for it: plain, hashed, and in every digest."""
    plain = user.encode()
    yield from (plain, plain.hex().encode(), base64.b64encode(plain).rstrip(b"="))
    for algorithm in ("md5", "sha1", "sha256", "sha512", "blake2b"):
        plainly = hashlib.new(algorithm, plain)
        yield from (plainly.digest(), plainly.hexdigest().encode())
    for digested in (digest(plain, *ids) for ids in (*IN_SETS, *IN_NAMES)):
        yield from (digested, text_of(digested))


@pytest.fixture(scope="module")
def kept(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """All that is kept anywhere of two people: what they watched, flushed, and watched again."""
    with redis.Redis.from_url(service.redis_url) as client:
        client.flushdb()
        watch(service)
        folder = tmp_path_factory.mktemp("flusher")
        stores = {"redis_url": service.redis_url, "mongo_url": service.mongo_url, "user_hash_key": USER_HASH_KEY}
        flusher = program("flusher", folder, stores, "--once")
        flusher.launch()
        assert 0 == flusher.wait(60), flusher.tail()
        watch(service)
        in_redis = b"".join(everything_in(client))
    with MongoClient[Mapping[str, object]](service.mongo_url) as mongo:
        in_mongo = b"".join(encode(each) for each in mongo.get_default_database()["courseanalytics"].find())
    files = [path.read_bytes() for path in Path(service.redis_folder).rglob("*.aof")]
    logs = (service.logs() + service.gateway.output() + flusher.output()).encode()
    return {"Redis": in_redis, "its append-only file": b"".join(files), "MongoDB": in_mongo, "the logs": logs}


def watch(service: Service) -> None:
    with httpx.Client(base_url=service.gateway.url, trust_env=False) as client:
        for user in PEOPLE:
            client.headers = httpx.Headers(dict(bearer(token(sub=user))))
            client.post(VIEW, json={"eventId": EVENT}).raise_for_status()
            # The watched time is remembered for as long as was watched.
            body = ping(eventId=EVENT, playbackId=PLAYBACK, watchTimeDelta=300)
            client.post(TELEMETRY, json=body).raise_for_status()
            client.post(VIEW, json={"courseId": user}).raise_for_status()
            client.post(TELEMETRY, json=ping(lectureId="no"))  # what is refused may be logged
            client.post(TELEMETRY, json=ping(), headers=dict(bearer(token(sub=user)[:-4])))


def everything_in(client: "redis.Redis") -> Iterator[bytes]:
    """Every key with its value, and the commands that Redis remembers for being slow."""
    for name in client.scan_iter():
        yield name
        yield client.dump(name) or b""
        if client.type(name) == b"set":
            yield from (each for each in client.smembers(name) if isinstance(each, bytes))
    for command in client.slowlog_get(-1):
        yield command["command"]


@pytest.mark.parametrize("user", PEOPLE)
@pytest.mark.parametrize("place", ["Redis", "its append-only file", "MongoDB", "the logs"])
def test_without_the_key_nobody_is_found_in(kept: Mapping[str, bytes], place: str, user: str) -> None:
    assert kept[place], "there is something to search"
    assert [] == [form for form in forms(user) if form in kept[place]]


def test_no_token_is_in_the_logs_of_refused_calls(kept: Mapping[str, bytes]) -> None:
    assert {b"INVALID_ARGUMENT", b"UNAUTHENTICATED"} <= set(re.findall(rb'"code": "(\w+)"', kept["the logs"]))
    assert b"eyJ" not in kept["the logs"], 'with which every token begins: it is `{"` in base64'


def test_the_search_finds_who_is_there(kept: Mapping[str, bytes]) -> None:
    """With the key, each digest is found: the search would have found the others too."""
    expected = {digest(hashed(user), *ids) for ids in IN_SETS for user in PEOPLE}
    expected |= {text_of(digest(hashed(user), *ids)) for ids in IN_NAMES for user in PEOPLE}

    assert set() == {digested for digested in expected if digested not in kept["Redis"]}
    assert hashed(ANN) in kept["its append-only file"]


def test_a_sketch_holds_the_keyed_hashes_and_nothing_else(kept: Mapping[str, bytes], service: Service) -> None:
    assert kept
    with redis.Redis.from_url(service.redis_url) as client:
        client.pfadd("expected", *(hashed(user) for user in PEOPLE))
        client.pfadd("plain", *PEOPLE)
        registers, plain = client.get("expected"), client.get("plain")
        client.pfcount("expected")  # which notes the estimate in it, as it was in the other
        assert registers[16:] == client.get(key("course_users"))[16:]  # behind the header, which caches the estimate
        assert registers[16:] != plain[16:]
