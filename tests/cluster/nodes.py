"""A Redis Cluster on loopback, formed and resharded by the commands that its own tools send."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import redis

from devstack.child import HOST, wait_until
from devstack.servers import RedisServer
from shared.stores.topology import SLOTS
from tests.servers import FLAVOUR, PATIENCE

ALL_SLOTS = 16_384
PRIMARIES = 3
NODE_TIMEOUT_MS = "1000"
KEYS_AT_ONCE = 10


class Node(RedisServer):
    """One node. It knows nothing of the others until it is told."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            flavour=FLAVOUR,
            cluster_enabled="yes",
            cluster_node_timeout=NODE_TIMEOUT_MS,
            repl_diskless_sync_delay="0",
        )

        self.client = redis.Redis(HOST, self.port, decode_responses=True, socket_timeout=PATIENCE)
        self.client.response_callbacks.clear()

    def call(self, *command: str | int) -> Any:
        """What it answers, on one connection as long as that lasts."""
        return self.client.execute_command(*command)  # type: ignore[no-untyped-call] # redis-py's own

    @property
    def id(self) -> str:
        """Its name among the nodes."""
        return str(self.call("CLUSTER MYID"))

    def info(self) -> str:
        """What it says about the cluster and about replication."""
        return str(self.call("CLUSTER INFO") + self.call("INFO replication"))

    def catch_up(self) -> None:
        """Returns when its replica has all that it has been told until now."""
        self.call("SET", f"{{{self.a_partition()}}}caught-up", "")
        assert 1 == self.call("WAIT", 1, PATIENCE * 1000)

    def a_partition(self) -> int:
        """One of the partitions that it serves."""
        slots = [range(first, last + 1) for first, last, (_, port, *_), *_ in self.slots() if port == self.port]
        return next(partition for partition, slot in enumerate(SLOTS) if any(slot in each for each in slots))

    def slots(self) -> Sequence[Any]:
        """Who serves which slots, as it sees it."""
        served: Sequence[Any] = self.call("CLUSTER SLOTS")
        return served

    def is_well(self, nodes: int) -> bool:
        """Whether it knows so many nodes, and all slots are served; a replica also, whether it follows its primary."""
        info = self.info()
        follows = "role:slave" not in info or "master_link_status:up" in info
        return "cluster_state:ok" in info and f"cluster_known_nodes:{nodes}\r" in info and follows


class Cluster:
    """Three primaries, the slots in three equal parts; optionally a replica of each."""

    def __init__(self, folder: Path, *, replicas: bool = False) -> None:
        self.nodes = [Node(folder / f"node-{number}") for number in range(PRIMARIES * (1 + replicas))]
        self.primaries = self.nodes[:PRIMARIES]
        self.url = self.primaries[0].url

    def launch(self) -> None:
        """Starts the nodes; they are no cluster yet."""
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_until_ready(PATIENCE)

    def form(self) -> None:
        """Makes them a cluster, and returns when all of them know it."""
        for number, node in enumerate(self.nodes):
            node.call("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for number, node in enumerate(self.primaries):
            first, end = number * ALL_SLOTS // PRIMARIES, (number + 1) * ALL_SLOTS // PRIMARIES
            node.call("CLUSTER ADDSLOTSRANGE", first, end - 1)
        for node in self.nodes[1:]:
            node.call("CLUSTER MEET", HOST, self.nodes[0].port)
        everybody = f"cluster_known_nodes:{len(self.nodes)}\r"
        wait_until(lambda: all(everybody in node.info() for node in self.nodes), PATIENCE, "the nodes did not meet")
        for primary, replica in zip(self.primaries, self.nodes[PRIMARIES:], strict=False):
            replica.call("CLUSTER REPLICATE", primary.id)
        self.wait_until_well()

    def wait_until_well(self) -> None:
        """Returns when every node is well by its own account."""
        wait_until(lambda: all(node.is_well(len(self.nodes)) for node in self.nodes), PATIENCE, "no whole cluster")

    def kill(self) -> None:
        """Ends all nodes."""
        for node in self.nodes:
            node.client.close()
            if node.running:
                node.kill()

    def owner(self, partition: int) -> Node:
        """The primary that serves the partition."""
        slot = SLOTS[partition]
        living = next(node for node in self.nodes if node.running)
        for first, last, (_, port, *_), *_ in living.slots():
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise LookupError(f"nobody serves slot {slot}")

    def move(self, partition: int, halfway: Callable[[], None] = lambda: None) -> None:
        """Moves the partition to the next primary, key by key, as a resharding does; `halfway` is in between."""
        source, slot = self.owner(partition), SLOTS[partition]
        target = self.primaries[(self.primaries.index(source) + 1) % PRIMARIES]
        target.call("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
        source.call("CLUSTER SETSLOT", slot, "MIGRATING", target.id)
        for keys_at_once in itertools.chain([1], itertools.repeat(KEYS_AT_ONCE)):
            names = source.call("CLUSTER GETKEYSINSLOT", slot, keys_at_once)
            if not names:
                break
            source.call("MIGRATE", HOST, target.port, "", 0, PATIENCE * 1000, "KEYS", *names)
            if keys_at_once == 1:
                halfway()
        for node in (target, source, *self.primaries):
            node.call("CLUSTER SETSLOT", slot, "NODE", target.id)
