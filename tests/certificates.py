"""Certificates for tests: an authority of their own, and what it signs, as PEM files."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from devstack.child import HOST

YEAR_2000 = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
YEAR_2100 = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its private key; `both` is one file with the two, as mongod wants it."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """A certificate authority that keeps everything in one folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.BasicConstraints(ca=True, path_length=0)
        certificate = self._certificate(self._name, self._key).add_extension(authority, critical=True)
        self.certificate = folder / f"{name}.crt"
        self.certificate.write_bytes(_pem(certificate.sign(self._key, hashes.SHA256())))

    def issue(self, name: str, *hosts: str) -> Identity:
        """A certificate for 127.0.0.1 and these names, for a server as well as for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [x509.IPAddress(ipaddress.ip_address(HOST)), *(x509.DNSName(host) for host in ("localhost", *hosts))]
        builder = self._certificate(subject, key).add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = _pem(builder.sign(self._key, hashes.SHA256()))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        issued = Identity(*(self._folder / f"{name}.{kind}" for kind in ("crt", "key", "pem")))
        issued.certificate.write_bytes(certificate)
        issued.key.write_bytes(private)
        issued.both.write_bytes(certificate + private)
        return issued

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(YEAR_2000)
            .not_valid_after(YEAR_2100)
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
