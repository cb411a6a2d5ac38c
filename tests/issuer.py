"""Somebody who issues tokens and publishes the keys: RSA, P-256, Ed25519, and whatever else a test publishes."""

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from devstack.child import HOST
from tests.certificates import Identity

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key, and how it is published."""

    algorithm: str
    private: Any
    id: str

    @classmethod
    def make(cls, algorithm: str, key_id: str = "k1", *, bits: int = 2048) -> "Pair":
        if algorithm == "RS256":
            return cls(algorithm, rsa.generate_private_key(public_exponent=65537, key_size=bits), key_id)
        if algorithm == "ES256":
            return cls(algorithm, ec.generate_private_key(ec.SECP256R1()), key_id)
        return cls(algorithm, ed25519.Ed25519PrivateKey.generate(), key_id)

    def published(self, **members: object) -> Json:
        """The JWK; a member that is None is left out."""
        codec: Any = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}[self.algorithm]
        jwk = codec.to_jwk(self.private.public_key(), as_dict=True)
        jwk.pop("key_ops", None)
        return {name: value for name, value in {**jwk, "kid": self.id, **members}.items() if value is not None}

    def published_by_mistake(self) -> Json:
        """The JWK of the private key."""
        codec: Any = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}[self.algorithm]
        return {**codec.to_jwk(self.private, as_dict=True), "kid": self.id, "key_ops": ["sign", "verify"]}

    def token(self, claims: Mapping[str, object], **header: object) -> str:
        return jwt.encode(dict(claims), self.private, self.algorithm, headers={"kid": self.id, **header})

    def token_without_kid(self, claims: Mapping[str, object]) -> str:
        return jwt.encode(dict(claims), self.private, self.algorithm)

    def pem(self) -> bytes:
        public: bytes = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return public


def key_set(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


@dataclass
class Site:
    """What the issuer's web server says, and how often it was asked."""

    url: str = ""
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    asked: int = 0


@contextmanager
def publishing(site: Site, identity: Identity | None = None, port: int = 0) -> Iterator[None]:
    """Serves the site on 127.0.0.1, on a free port by default; with an identity by https."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked += 1
            self.send_response(site.status)
            for name, value in {"content-length": str(len(site.body)), **site.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(site.body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer((HOST, port), Handler) as server:
        site.url = f"http{'s' if identity else ''}://{HOST}:{server.server_port}/keys"
        if identity:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(identity.certificate, identity.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
