"""Whether a Redis is configured to keep what it acknowledges: checked at first contact."""

import re
from collections.abc import Mapping

from redis.exceptions import ResponseError

from shared.settings import Barrier
from shared.stores.fitness import UnsuitableRedis
from shared.stores.redis_connection import RedisConnection, pairs

# Settings that a server may lack, each with the only safe value, and the reason.
NEEDED = {
    "no-appendfsync-on-rewrite": ("no", "what is acknowledged while the append-only file is rewritten is not on disk"),
    "aof-load-corrupt-tail-max-size": ("0", "a damaged end of the append-only file is dropped in silence"),
}
NEEDED_IN_A_CLUSTER = {
    "cluster-allow-reads-when-down": ("no", "a node that was cut off goes on showing old counts"),
}

HIDDEN = (
    "Redis hides INFO or CONFIG, so ANALYTICS_FLUSH_BARRIER=aof cannot be checked: allow both to this user, "
    "or set ANALYTICS_FLUSH_BARRIER=replicas:N"
)


async def check_durability(connection: RedisConnection, barrier: Barrier, *, timeout: float) -> None:
    """Raises UnsuitableRedis unless the server's settings carry the barrier. Raises RedisUnreachable."""
    names = ("appendfsync", *NEEDED, *NEEDED_IN_A_CLUSTER)
    info_reply, *config_replies = await connection.call_each(
        ("INFO", "everything"), *(("CONFIG", "GET", name) for name in names), timeout=timeout
    )
    if isinstance(info_reply, ResponseError):
        info: Mapping[str, str] = {}
    else:
        info = dict(re.findall(r"^(\w+):([^\r\n]*)", info_reply.decode(), re.MULTILINE))
    config = {
        name: value.decode()
        for reply in config_replies
        if not isinstance(reply, ResponseError)
        for name, value in pairs(reply).items()
    }
    problems = objections(info, config, barrier)
    if problems:
        raise UnsuitableRedis("; ".join(problems))


def objections(info: Mapping[str, str], config: Mapping[str, str], barrier: Barrier) -> list[str]:
    """What is wrong with a server, one sentence each, from its INFO and the visible part of its configuration."""
    problems = []
    policy = info.get("maxmemory_policy", "")
    if policy not in ("", "noeviction"):
        problems.append(f"Redis would evict counters (maxmemory-policy {policy}): set maxmemory-policy noeviction")
    if info.get("cluster_enabled") == "1":
        problems += _other_than(NEEDED_IN_A_CLUSTER, config)
    if barrier.kind == "aof":
        problems += [*_aof_objections(info, config.get("appendfsync", "")), *_other_than(NEEDED, config)]
    return problems


def _other_than(needed: Mapping[str, tuple[str, str]], config: Mapping[str, str]) -> list[str]:
    return [
        f"with {name} {config[name]}, {consequence}: set {name} {value}"
        for name, (value, consequence) in needed.items()
        if config.get(name, value) != value
    ]


def _aof_objections(info: Mapping[str, str], appendfsync: str) -> list[str]:
    if not info.get("aof_enabled") or not appendfsync:
        return [HIDDEN]
    if info["aof_enabled"] != "1":
        return ["Redis keeps nothing on disk: set appendonly yes, or ANALYTICS_FLUSH_BARRIER=replicas:N"]
    version = _version(info.get("redis_version", ""))
    if version < (7, 2):
        return ["Redis before 7.2 has no WAITAOF: upgrade it, or set ANALYTICS_FLUSH_BARRIER=replicas:N"]
    # With everysec WAITAOF waits for the next fsync on Redis 8, but Valkey answers at once without one.
    everysec_waits = "valkey_version" not in info and version >= (8, 0)
    if appendfsync == "always" or (appendfsync == "everysec" and everysec_waits):
        return []
    return [f"appendfsync {appendfsync} may lose what WAITAOF has confirmed on this server: set appendfsync always"]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
