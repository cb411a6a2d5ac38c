"""Servers whose issuer is away: no reason to stop, and none to pretend to be ready."""

from collections.abc import Callable
from functools import partial

from devstack.child import HOST, free_port, wait_until
from devstack.programs import Program, is_serving
from tests.issuer import Pair, Site, key_set, publishing
from tests.servers import PATIENCE


def says(program: Program, what: str) -> bool:
    return what in program.output()


def test_a_server_is_not_ready_before_its_issuer_was_there_and_stays_ready_when_it_has_gone(
    start_program: Callable[..., Program],
) -> None:
    port = free_port()
    keys = {"jwt_secret": "", "jwt_jwks": f"http://{HOST}:{port}/keys"}
    servers = [start_program(f"{kind}_server", wait=False, **keys) for kind in ("ingest", "query")]
    for server in servers:
        reason = "there are no keys to verify tokens with: Connection refused"
        wait_until(partial(says, server, reason), PATIENCE, "it did not say why it is not ready")
        assert not is_serving(server.address)
    with publishing(Site(body=key_set(Pair.make("EdDSA").published())), port=port):
        for server in servers:
            server.wait_until_ready(PATIENCE)
    assert all(is_serving(server.address) for server in servers)
