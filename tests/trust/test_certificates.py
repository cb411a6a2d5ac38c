"""The servers' own certificates: refused at start when they are none, and renewed without a restart."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import structlog
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from grpc_health.v1 import health_pb2
from pydantic import SecretStr

from devstack.child import HOST, free_port
from devstack.programs import Program, is_serving
from shared.serving import lifecycle, tls
from shared.serving.program import CannotRun
from shared.settings import ServerSettings
from tests.certificates import Identity
from tests.servers import JWT_SECRET, PATIENCE
from tests.trust.conftest import Trust


def settings(certificate: Path, key: Path, client_ca: Path | None = None) -> ServerSettings:
    secret = SecretStr(JWT_SECRET)
    return ServerSettings(jwt_secret=secret, tls_certificate=certificate, tls_key=key, tls_client_ca=client_ca)


def refusal(certificate: Path, key: Path, client_ca: Path | None = None) -> str:
    with pytest.raises(CannotRun) as refused:
        tls.server_credentials(settings(certificate, key, client_ca))
    return str(refused.value)


def test_a_key_of_another_certificate_is_refused(trust: Trust) -> None:
    certificate, key = trust.server.certificate, trust.client.key
    expected = f"TLS: {certificate} and {key} are not a certificate and its private key, unencrypted, in PEM"
    assert expected == refusal(certificate, key)
    assert expected.replace(str(key), str(certificate)) == refusal(certificate, certificate)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_passphrase(trust: Trust, tmp_path: Path) -> None:
    key = tmp_path / "encrypted.key"
    private = load_pem_private_key(trust.server.key.read_bytes(), None)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2")))
    assert "unencrypted" in refusal(trust.server.certificate, key)


def test_a_file_that_is_not_there_is_named(trust: Trust, tmp_path: Path) -> None:
    missing = tmp_path / "no.crt"
    assert f"TLS: cannot read {missing}: No such file or directory" == refusal(missing, trust.server.key)
    assert f"TLS: cannot read {missing}: " in refusal(trust.server.certificate, trust.server.key, missing)


def test_a_malformed_authority_is_refused(trust: Trust, tmp_path: Path) -> None:
    for content in (b"", b"not a certificate", trust.server.key.read_bytes()):
        (tmp_path / "ca.crt").write_bytes(content)
        expected = f"TLS: {tmp_path / 'ca.crt'} holds no certificate in PEM"
        assert expected == refusal(trust.server.certificate, trust.server.key, tmp_path / "ca.crt")


def test_without_a_certificate_a_server_speaks_plain_text() -> None:
    assert tls.server_credentials(ServerSettings(jwt_secret=SecretStr(JWT_SECRET))) is None


def test_a_malformed_certificate_ends_a_program_with_2_and_one_sentence(
    start_program: Callable[..., Program], trust: Trust
) -> None:
    wrong = {"tls_certificate": trust.server.certificate, "tls_key": trust.client.key}
    program = start_program("query_server", wait=False, **wrong)
    assert 2 == program.wait(PATIENCE)
    sentence = f"TLS: {trust.server.certificate} and {trust.client.key} are not a certificate and its private key"
    assert program.output().splitlines()[-1].startswith(sentence)


class Server:
    """A gRPC server in this process, whose certificate a test replaces."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.files = Identity(folder / "tls.crt", folder / "tls.key", folder / "unused.pem")

    def install(self, identity: Identity) -> None:
        shutil.copy(identity.certificate, self.files.certificate)
        shutil.copy(identity.key, self.files.key)

    async def is_trusted_by(self, trust: Trust, *, stranger: bool) -> bool:
        authority = trust.strange_authority if stranger else trust.authority
        credentials = trust.credentials(None, authority)
        return await asyncio.to_thread(is_serving, self.address, "", credentials)


@pytest.fixture
async def server(trust: Trust, tmp_path: Path) -> AsyncIterator[Server]:
    installed = Server(f"{HOST}:{free_port()}", tmp_path)
    installed.install(trust.server)
    credentials = tls.server_credentials(settings(installed.files.certificate, installed.files.key))
    running, health = await lifecycle.grpc_server(installed.address, [], shared_port=False, credentials=credentials)
    health.set("", health_pb2.HealthCheckResponse.SERVING)
    await running.start()
    yield installed
    await running.stop(None)


async def test_a_renewed_certificate_is_used_without_a_restart(server: Server, trust: Trust) -> None:
    assert await server.is_trusted_by(trust, stranger=False)
    server.install(trust.stranger)
    assert await server.is_trusted_by(trust, stranger=True)
    assert not await server.is_trusted_by(trust, stranger=False)


async def test_a_certificate_whose_key_has_not_come_yet_changes_nothing_and_is_said_once(
    server: Server, trust: Trust
) -> None:
    with structlog.testing.capture_logs() as logged:
        shutil.copy(trust.stranger.certificate, server.files.certificate)
        assert await server.is_trusted_by(trust, stranger=False)
        assert await server.is_trusted_by(trust, stranger=False)
        assert ["warning"] == [line["log_level"] for line in logged]
        server.install(trust.stranger)
        assert await server.is_trusted_by(trust, stranger=True)
