"""What the nodes' answers mean, and the addresses that are made of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import MovedError

from devstack.child import HOST, free_port
from shared.data import keys
from shared.stores.fitness import UnsuitableRedis
from shared.stores.redis_connection import RedisUnreachable
from shared.stores.topology import SLOTS, Topology, nodes_of

ASKED = "rediss://ann:secret@10.0.0.1:6379/0?ssl_ca_certs=/ca.pem"


def at(host: str, port: int) -> str:
    return ASKED.replace("10.0.0.1:6379", f"{host}:{port}")


@given(st.lists(st.integers(1, 16_383), min_size=1, max_size=20, unique=True))
def test_a_partition_is_on_the_node_that_has_its_slot(cuts: list[int]) -> None:
    ends = [*sorted(cuts), 16_384]
    slots = [[first, end - 1, [b"10.0.0.2", end, b"id"]] for first, end in zip([0, *ends], ends, strict=False)]
    nodes, _ = nodes_of(slots[::-1], ASKED)
    assert [at("10.0.0.2", next(end for end in ends if slot < end)) for slot in SLOTS] == nodes


def test_a_slot_that_nobody_serves_has_no_node() -> None:
    below = sum(slot < 8_192 for slot in SLOTS)
    nodes, _ = nodes_of([[0, 8_191, [b"10.0.0.2", 1, b"id"]]], ASKED)
    assert keys.PARTITIONS - below == nodes.count(None)
    assert [None] * keys.PARTITIONS == nodes_of([], ASKED)[0]


def test_replicas_are_known_and_serve_nothing() -> None:
    nodes, known = nodes_of([[0, 16_383, [b"10.0.0.2", 1, b"id"], [b"10.0.0.3", 2, b"id"]]], ASKED)
    assert {at("10.0.0.2", 1)} == set(nodes)
    assert {at("10.0.0.2", 1), at("10.0.0.3", 2)} == known


@pytest.mark.parametrize(("host", "expected"), [(b"::1", "[::1]"), (b"", "10.0.0.1"), (None, "10.0.0.1")])
def test_hosts_are_written_as_an_address_needs_them(host: bytes | None, expected: str) -> None:
    assert {at(expected, 7)} == nodes_of([[0, 16_383, [host, 7, b"id"]]], ASKED)[1]


async def test_without_a_cluster_the_server_has_everything_and_nobody_is_asked() -> None:
    url = f"redis://{HOST}:{free_port()}/0"
    topology = Topology(url)
    topology.mistrust(MovedError("7 10.0.0.2:1", status_code="MOVED"))
    assert {url: list(range(keys.PARTITIONS))} == await topology.by_node(range(keys.PARTITIONS), timeout=1)
    assert [url] == await topology.primaries(timeout=1)


async def test_a_cluster_without_any_answer_is_unreachable() -> None:
    topology = Topology(f"redis://{HOST}:{free_port()}/0", cluster=True)
    with pytest.raises(RedisUnreachable, match="cannot connect"):
        await topology.node_of(0, timeout=1)


async def test_a_server_outside_of_a_cluster_is_unsuitable_as_one(redis_url: str) -> None:
    with pytest.raises(UnsuitableRedis, match="REDIS_CLUSTER"):
        await Topology(redis_url, cluster=True).node_of(0, timeout=1)
