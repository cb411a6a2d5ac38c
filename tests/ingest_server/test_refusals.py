"""What is refused, in which order, with what details; and that nothing of it is in Redis."""

import base64
import json
import math
import time
from collections.abc import Mapping
from typing import Any

import pytest
from grpc import StatusCode
from grpc_reflection.v1alpha import reflection_pb2
from pymongo import MongoClient

from devstack.programs import Program, is_serving
from tests.ingest_server.client import COURSE, FIRST, NONE, Metadata, Player, bearer, refusal, token
from tests.ingest_server.stored import Stored


def unsigned(claims: Mapping[str, object]) -> str:
    """A token of `alg: none`."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "none"}, claims)]
    return b".".join([*parts, b""]).decode()


GOOD = token()
BAD_CREDENTIALS: dict[str, Metadata] = {
    "none": [("x-request-id", "1")],
    "forged": bearer(token(secret="another secret, also of more than 32 bytes")),
    "expired": bearer(token(exp=time.time() - 1)),
    "without an end": bearer(token(exp=None)),
    "of nobody": bearer(token(sub=None)),
    "of an empty name": bearer(token(sub="")),
    "of a number": bearer(token(sub=7)),
    "of a name that is no text": bearer(token(sub="\ud800")),
    "of another algorithm": bearer(token(secret="x" * 64, algorithm="HS512")),
    "unsigned": bearer(unsigned({"sub": "ann", "exp": time.time() + 60})),
    "no token at all": bearer("x.y.z"),
    "no bearer": [("authorization", f"Basic {GOOD}")],
    "only the token": [("authorization", GOOD)],
    "an empty bearer": [("authorization", "Bearer ")],
    "two of them": [*bearer(GOOD), *bearer(GOOD)],
}


@pytest.mark.parametrize("metadata", BAD_CREDENTIALS.values(), ids=BAD_CREDENTIALS)
async def test_bad_credentials_are_refused_and_count_nothing(
    player: Player, stored: Stored, metadata: Metadata
) -> None:
    assert StatusCode.UNAUTHENTICATED == (await refusal(player.view(metadata=metadata))).code
    assert StatusCode.UNAUTHENTICATED == (await refusal(player.ping(metadata=metadata))).code
    assert [] == stored.keys()


async def test_bearer_may_be_written_in_any_case(player: Player) -> None:
    assert "tracked" == await player.view(metadata=[("authorization", f"bearer {GOOD}")])


@pytest.mark.parametrize("seconds", [0, -1, 300.0000001, 301, math.nan, math.inf, -math.inf])
async def test_a_bad_watch_time_is_refused_and_counts_nothing(player: Player, stored: Stored, seconds: float) -> None:
    refused = await refusal(player.ping(seconds=seconds))
    assert (StatusCode.INVALID_ARGUMENT, ["watchTimeDelta"]) == (refused.code, refused.bad_fields)
    assert stored.has_counted_nothing()


@pytest.mark.parametrize("course", [COURSE.upper() + "AB", COURSE[:-1], f"{{{COURSE[2:]}}}", COURSE[:-2] + ".a", ""])
async def test_a_bad_course_id_is_refused_and_counts_nothing(player: Player, stored: Stored, course: str) -> None:
    refused = await refusal(player.view(course))
    assert (StatusCode.INVALID_ARGUMENT, ["courseId"]) == (refused.code, refused.bad_fields)
    assert [] == stored.keys()


async def test_every_bad_field_is_named_in_the_details(player: Player, stored: Stored) -> None:
    refused = await refusal(player.ping("", "", 0, event="", playback=""))
    assert ["courseId", "lectureId", "watchTimeDelta", "eventId", "playbackId"] == refused.bad_fields
    assert [] == stored.keys()


async def test_the_message_names_every_bad_field_too(player: Player) -> None:
    refused = await refusal(player.view("", event="a b"))
    assert [True, True] == [field in refused.message for field in ("courseId", "eventId")]


async def test_a_course_that_does_not_exist_is_not_found(player: Player, stored: Stored) -> None:
    refused = await refusal(player.view(NONE))
    assert (StatusCode.NOT_FOUND, f"there is no course {NONE}") == (refused.code, refused.message)
    assert [] == stored.keys()


async def test_a_lecture_that_the_course_does_not_have_is_not_found(player: Player, stored: Stored) -> None:
    refused = await refusal(player.ping(COURSE, NONE))
    assert (StatusCode.NOT_FOUND, f"course {COURSE} has no lecture {NONE}") == (refused.code, refused.message)
    assert stored.has_counted_nothing()


async def test_bad_credentials_come_before_bad_fields(player: Player) -> None:
    refused = await refusal(player.ping("", "", 0, metadata=BAD_CREDENTIALS["expired"]))
    assert StatusCode.UNAUTHENTICATED == refused.code


async def test_bad_fields_come_before_what_does_not_exist(player: Player) -> None:
    refused = await refusal(player.ping(NONE, FIRST, seconds=0))
    assert StatusCode.INVALID_ARGUMENT == refused.code


async def test_a_refusal_says_what_is_wrong_with_the_token(player: Player) -> None:
    refused = await refusal(player.view(metadata=BAD_CREDENTIALS["expired"]))
    assert "the bearer token has expired" == refused.message


async def test_health_needs_no_token(server: Program) -> None:
    assert is_serving(server.address)
    assert is_serving(server.address, "course_analytics.v1.IngestService")


async def test_reflection_needs_no_token(player: Player) -> None:
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    list_services = player.channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    (answer,) = [answer async for answer in list_services(iter([ask]))]
    names = [service.name for service in answer.list_services_response.service]
    assert "course_analytics.v1.IngestService" in names


async def test_a_course_that_does_not_exist_costs_mongodb_one_request(player: Player, platform_url: str) -> None:
    unknown = f"{time.time_ns():024x}"
    with MongoClient[Mapping[str, Any]](platform_url) as client:

        def requests() -> int:
            return int(client.admin.command("serverStatus")["metrics"]["commands"]["aggregate"]["total"])

        before = requests()
        for _ in range(20):
            assert StatusCode.NOT_FOUND == (await refusal(player.view(unknown))).code
        assert 1 == requests() - before
