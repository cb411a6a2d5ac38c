"""Whether a Redis is set up to keep what it answers for: checked at first contact, before anything is built on it."""

import re
from collections.abc import Mapping

from redis.exceptions import ResponseError

from shared.serving.program import CannotRun
from shared.settings import Barrier
from shared.stores.redis_connection import RedisConnection, pairs

HIDDEN = (
    "Redis hides INFO or CONFIG, so ANALYTICS_FLUSH_BARRIER=aof cannot be checked: allow both to this user, "
    "or set ANALYTICS_FLUSH_BARRIER=replicas:N"
)


class UnsuitableRedis(CannotRun):
    """This Redis would lose acknowledged counts; the text says which setting mends it."""


async def check_durability(connection: RedisConnection, barrier: Barrier, *, timeout: float) -> None:
    """Raises UnsuitableRedis unless the server's settings carry the barrier. Raises RedisUnreachable."""
    info_reply, config_reply = await connection.call_each(
        ("INFO", "everything"), ("CONFIG", "GET", "appendfsync"), timeout=timeout
    )
    if isinstance(info_reply, ResponseError):
        info: Mapping[str, str] = {}
    else:
        info = dict(re.findall(r"^(\w+):([^\r\n]*)", info_reply.decode(), re.MULTILINE))
    fsync = "" if isinstance(config_reply, ResponseError) else pairs(config_reply).get("appendfsync", b"").decode()
    problems = objections(info, fsync, barrier)
    if problems:
        raise UnsuitableRedis("; ".join(problems))


def objections(info: Mapping[str, str], appendfsync: str, barrier: Barrier) -> list[str]:
    """What is wrong with a server, one sentence each, from its INFO and its `appendfsync`; what it hides is empty."""
    problems = []
    policy = info.get("maxmemory_policy", "")
    if policy not in ("", "noeviction"):
        problems.append(f"Redis would evict counters (maxmemory-policy {policy}): set maxmemory-policy noeviction")
    if barrier.kind == "aof":
        problems += _aof_objections(info, appendfsync)
    return problems


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
