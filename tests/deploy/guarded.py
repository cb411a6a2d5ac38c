"""Stores that know their users, with the rights of the very files that an operator applies."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
from pymongo import MongoClient
from redis.backoff import NoBackoff
from redis.retry import Retry

from devstack.child import HOST, free_port
from devstack.servers import MongoServer, RedisServer, is_primary

DEPLOY = Path(__file__).parents[2] / "deploy"
USERS = (DEPLOY / "redis" / "users.acl").read_text()
ROLES: list[dict[str, Any]] = json.loads((DEPLOY / "mongodb" / "roles.json").read_text())

DATABASE = "aetherlearn"


def password(user: str) -> str:
    """The password of a user of either store."""
    return f"the password of {user}"


def granted(user: str) -> set[str]:
    """The commands that users.acl grants."""
    return {word[1:] for word in _words(user) if word.startswith("+")}


def keys_of(user: str) -> list[str]:
    """The patterns of keys that users.acl grants."""
    return [word for word in _words(user) if "~" in word]


def _words(user: str) -> list[str]:
    (line,) = re.findall(rf"^user {user} (.*)$", USERS, re.MULTILINE)
    return str(line).split()


class GuardedRedis(RedisServer):
    """A Redis with users.acl, in which every placeholder is replaced by the hash of a password."""

    def __init__(self, folder: Path, *, flavour: str) -> None:
        self._acl = folder / "users.acl"
        super().__init__(folder, flavour=flavour, aclfile=str(self._acl))
        self.admin = redis.Redis(
            HOST,
            self.port,
            username="admin",
            password=password("admin"),
            decode_responses=True,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
        )

    def launch(self) -> None:
        """Writes the users, and starts."""
        self._acl.parent.mkdir(parents=True, exist_ok=True)
        self._acl.write_text(
            re.sub(
                r"^user (\S+) on #(\d)\2{63} ",
                lambda line: f"user {line[1]} on #{hashlib.sha256(password(line[1]).encode()).hexdigest()} ",
                USERS,
                flags=re.MULTILINE,
            )
        )
        super().launch()

    def ready(self) -> bool:
        """Whether it answers its administrator."""
        try:
            return bool(self.admin.ping())
        except redis.RedisError:
            return False

    def url_of(self, user: str) -> str:
        """The address with a user's credentials."""
        return f"redis://{user}:{quote(password(user))}@{self.address}/0"

    def change(self, user: str, *rules: str) -> None:
        """Changes the rights of a user until the file is loaded again: `change("analytics-ingest", "-info")`."""
        self.admin.execute_command("ACL", "SETUSER", user, *rules)  # type: ignore[no-untyped-call] # any command

    def refused(self) -> list[str]:
        """What users were not allowed to do, since the last time this was asked."""
        entries: list[dict[str, Any]] = self.admin.acl_log()
        self.admin.acl_log_reset()
        return sorted({f"{entry['username']}: {entry['object']}" for entry in entries})

    def carried_out(self) -> set[str]:
        """The commands that were carried out since `forget`, also within scripts; who comes in may always AUTH."""
        stats: Mapping[str, Mapping[str, int]] = self.admin.info("commandstats")
        names = {name.removeprefix("cmdstat_") for name, each in stats.items() if each["calls"]}
        return names - {"auth", "config|resetstat"}

    def forget(self) -> None:
        """Forgets what was carried out and what was refused."""
        self.admin.acl_log_reset()
        self.admin.config_resetstat()


class GuardedMongo(MongoServer):
    """A MongoDB that knows one user for each of the roles, named as it is; `begin` makes them."""

    def __init__(self, folder: Path) -> None:
        key = folder.with_suffix(".key")
        key.touch(0o600)
        key.write_text("membersofthisreplicaset")
        self._open = MongoServer(folder, port=free_port())
        super().__init__(folder, port=self._open.port, options=("--keyFile", str(key)))

    def launch(self) -> None:
        """Makes users and roles while nobody is asked for a password, and starts again with passwords."""
        self._open.start()
        with MongoClient[Mapping[str, object]](self._open.url(DATABASE)) as client:
            database = client.get_default_database()
            for role in ROLES:
                database.command(role)
                name = role["createRole"]
                database.command({"createUser": name, "pwd": password(name), "roles": [name]})
            database.command({"createUser": "admin", "pwd": password("admin"), "roles": ADMIN_ROLES})
        self._open.stop()
        super().launch()

    def wait_until_ready(self, seconds: float) -> None:
        """Returns when it is the primary of the set that it has been made before."""
        with MongoClient[Mapping[str, object]](
            HOST, self.port, directConnection=True, serverSelectionTimeoutMS=500
        ) as client:
            self.wait_for(lambda: is_primary(client), seconds, "was not the primary")

    def url_of(self, user: str) -> str:
        """The address with a user's credentials."""
        scheme, _, rest = self.url(DATABASE).partition("://")
        return f"{scheme}://{user}:{quote(password(user))}@{rest}&authSource={DATABASE}"


ADMIN_ROLES = [{"role": "userAdminAnyDatabase", "db": "admin"}, {"role": "readWriteAnyDatabase", "db": "admin"}]


def without(role: Mapping[str, Any], collection: str, action: str) -> list[dict[str, Any]]:
    """A role's privileges but for one action on one collection."""
    kept = []
    for privilege in role["privileges"]:
        here = privilege["resource"]["collection"] == collection
        actions = [one for one in privilege["actions"] if not (here and one == action)]
        kept += [{"resource": privilege["resource"], "actions": actions}] if actions else []
    return kept


def rights() -> list[tuple[str, str, str]]:
    """Every right of roles.json: role, collection, action."""
    return [
        (role["createRole"], privilege["resource"]["collection"], action)
        for role in ROLES
        for privilege in role["privileges"]
        for action in privilege["actions"]
    ]
