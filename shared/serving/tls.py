"""TLS for the gRPC servers: their certificate, and the authority whose clients they let in."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog

from shared.serving.program import CannotRun
from shared.settings import ServerSettings

log = structlog.get_logger()

Versions = tuple[tuple[int, int], ...]


def server_credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    """The credentials for these settings; None without a certificate: plain text. Raises CannotRun."""
    if settings.tls_certificate is None or settings.tls_key is None:  # ServerSettings requires both or neither
        return None
    files = CertificateFiles(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    certificates = Certificates(files)
    return grpc.dynamic_ssl_server_credentials(
        certificates.first,
        certificates.changed,  # type: ignore[arg-type] # gRPC takes None for "as before"
        require_client_authentication=files.client_ca is not None,
    )


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """The PEM files; with `client_ca`, clients must present a certificate that one of its authorities has signed."""

    certificate: Path
    key: Path
    client_ca: Path | None

    def versions(self) -> Versions:
        """A value that differs after every change of the files."""
        return tuple(_version(path) for path in self._paths())

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Their contents, checked: gRPC itself would only refuse every call. Raises ValueError with one sentence."""
        self._check()
        authorities = self.client_ca.read_bytes() if self.client_ca else None
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], authorities)

    def _check(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for path in self._paths():
            try:
                path.read_bytes()
            except OSError as error:
                raise ValueError(f"cannot read {path}: {error.strerror}") from None
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_passphrase)
        except (OSError, ValueError):
            raise ValueError(
                f"{self.certificate} and {self.key} are not a certificate and its private key, unencrypted, in PEM"
            ) from None
        if self.client_ca is not None:
            try:
                context.load_verify_locations(self.client_ca)
            except OSError:
                raise ValueError(f"{self.client_ca} holds no certificate in PEM") from None

    def _paths(self) -> list[Path]:
        return [self.certificate, self.key, *([self.client_ca] if self.client_ca else [])]


def _version(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_ino, stat.st_mtime_ns


def _no_passphrase() -> str:
    """OpenSSL would ask for it at the terminal."""
    raise ValueError("encrypted")


class Certificates:
    """Follows the files, so that renewed certificates need no restart."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._versions = files.versions()
        try:
            self.first = files.read()
        except (OSError, ValueError) as error:
            raise CannotRun(f"TLS: {error}") from None

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """At each handshake gRPC asks for the new certificate; None keeps the current one."""
        versions = self._files.versions()
        if versions == self._versions:
            return None
        self._versions = versions
        try:
            renewed = self._files.read()
        except (OSError, ValueError) as error:
            # Also while the files are being replaced one by one: the second one is another change.
            log.warning("TLS files changed, the certificate in use stays", reason=str(error))
            return None
        log.info("TLS certificate renewed", file=str(self._files.certificate))
        return renewed
