"""Everything with TLS: a Redis and a MongoDB that want certificates, both servers, and an issuer with https."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest
from pymongo import MongoClient

from devstack.child import HOST, wait_until
from devstack.programs import Program, is_serving
from devstack.seed import DEMO_COURSE, write_course
from devstack.servers import MongoServer
from tests.certificates import Authority, Identity
from tests.faults.terminator import Terminator
from tests.issuer import Pair, Site, key_set, publishing
from tests.servers import PATIENCE, assert_ends_well, program, running

SERVER_NAME = "analytics.internal"


@dataclass(frozen=True)
class Trust:
    """One authority that all trust, a server's and a client's certificate of it, and a stranger's."""

    folder: Path
    authority: Authority
    server: Identity
    client: Identity
    strange_authority: Authority
    stranger: Identity

    def credentials(self, client: Identity | None, authority: Authority | None = None) -> grpc.ChannelCredentials:
        """What a caller with this certificate, or with none, brings."""
        root = (authority or self.authority).certificate.read_bytes()
        if client is None:
            return grpc.ssl_channel_credentials(root)
        return grpc.ssl_channel_credentials(root, client.key.read_bytes(), client.certificate.read_bytes())


@pytest.fixture(scope="package")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    folder = tmp_path_factory.mktemp("trust")
    authority, strange = Authority(folder), Authority(folder, "strange")
    server, client = authority.issue("server", SERVER_NAME), authority.issue("client")
    return Trust(folder, authority, server, client, strange, strange.issue("stranger"))


@dataclass(frozen=True)
class Addresses:
    """The stores, each of which lets in only who has a certificate."""

    redis: str
    mongo: str

    def trusting(self, authority: Authority) -> "Addresses":
        """The same, for somebody who trusts another authority."""
        wrong = str(authority.certificate)
        redis, mongo = (url.replace("authority.crt", Path(wrong).name) for url in (self.redis, self.mongo))
        return replace(self, redis=redis, mongo=mongo)


@pytest.fixture(scope="package")
def stores(trust: Trust, redis_server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    files = ("--tlsCertificateKeyFile", str(trust.server.both), "--tlsCAFile", str(trust.authority.certificate))
    mongo = MongoServer(tmp_path_factory.mktemp("mongo") / "data", options=("--tlsMode", "preferTLS", *files))
    with (
        running(mongo),
        Terminator(redis_server_url, trust.server, trust.authority.certificate) as terminator,
        MongoClient[Mapping[str, object]](mongo.url()) as client,
    ):
        write_course(client.get_default_database(), DEMO_COURSE)
        client.admin.command({"setParameter": 1, "tlsMode": "requireTLS"})
        ours = f"tlsCAFile={trust.authority.certificate}&tlsCertificateKeyFile={trust.client.both}"
        yield Addresses(rediss(terminator, trust), f"{mongo.url()}&tls=true&{ours}")


def rediss(terminator: Terminator, trust: Trust) -> str:
    """The address of the Redis behind it, with what TLS needs."""
    ours = {
        "ssl_ca_certs": trust.authority.certificate,
        "ssl_certfile": trust.client.certificate,
        "ssl_keyfile": trust.client.key,
    }
    options = "&".join(f"{name}={path}" for name, path in ours.items())
    return f"rediss://{HOST}:{terminator.port}/0?{options}"


@dataclass(frozen=True)
class Service:
    """The two servers, and whose tokens they take."""

    ingest: Program
    query: Program
    stores: Addresses
    site: Site
    key: Pair

    def token(self, user: str) -> str:
        return self.key.token({"sub": user, "exp": time.time() + 600})


@pytest.fixture(scope="package")
def service(trust: Trust, stores: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    key = Pair.make("ES256")
    site = Site(body=key_set(key.published()))
    with ExitStack() as stack:
        stack.enter_context(publishing(site, trust.server))
        settings = {
            "redis_url": stores.redis,
            "mongo_url": stores.mongo,
            "jwt_jwks": site.url,
            "tls_certificate": trust.server.certificate,
            "tls_key": trust.server.key,
            "tls_client_ca": trust.authority.certificate,
        }
        folder = tmp_path_factory.mktemp("programs")
        with pytest.MonkeyPatch.context() as patch:  # the issuer is trusted as the system's authorities are
            patch.setenv("SSL_CERT_FILE", str(trust.authority.certificate))
            servers = [program(module, folder, settings) for module in ("ingest_server", "query_server")]
        for server in servers:
            server.launch()
            stack.callback(assert_ends_well, server)
        ours = trust.credentials(trust.client)
        wait_until(
            lambda: all(is_serving(server.address, credentials=ours) for server in servers),
            PATIENCE,
            "not all are ready",
        )
        ingest, query = servers
        yield Service(ingest, query, stores, site, key)
