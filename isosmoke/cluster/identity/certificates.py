"""The certificates of a cluster: an authority of this user, and an identity of each machine.

Every listener requires a certificate of the same authority from its peer. The keys are files of
mode 0600 in the state directory, which no sandbox shows.
"""

import ipaddress
import json
import os
import re
import ssl
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.host import files, state
from isosmoke.text import escape_controls

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate
    from distributed.security import Security

OWN = "own"
"""The directory of this machine's identity, in the directory of the cluster."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")
_YEARS = 5
_OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Identity:
    """The directory with the certificate of a machine, its key, and that of the authority."""

    directory: Path

    @property
    def authority(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def certificate(self) -> Path:
        return self.directory / "cert.pem"

    @property
    def key(self) -> Path:
        return self.directory / "key.pem"

    @property
    def exists(self) -> bool:
        """True if all three files exist."""
        return all(file.is_file() for file in self.files)

    @property
    def files(self) -> tuple[Path, Path, Path]:
        return self.authority, self.certificate, self.key

    def format(self) -> str:
        """Return the content of its files as one line, for another machine."""
        return json.dumps({file.name: file.read_text(encoding="ascii") for file in self.files})

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate, in hex."""
        import hashlib

        return hashlib.sha256(
            ssl.PEM_cert_to_DER_cert(self.certificate.read_text(encoding="ascii"))
        ).hexdigest()


def get_directory() -> Path:
    """Return the directory of the cluster in the state directory; create it if it is missing."""
    return state.ensure_directory("cluster")


def get_own() -> Identity:
    """Return the identity of this machine.

    Raises:
        IsosmokeError: if there is none, one of its files is damaged, or others can read its key.
    """
    identity = Identity(get_directory() / OWN)
    if not identity.exists:
        raise IsosmokeError(
            f"this machine has no certificate for a cluster in {identity.directory}",
            "isosmoke cluster certificates, or copy the directory that it created for this machine",
        )
    _check_key(identity.key)
    _check_content(identity)
    return identity


def ensure_own() -> Identity:
    """Return the identity of this machine, which is created if it is missing."""
    directory = get_directory()
    with files.lock_directory(directory):
        identity = Identity(directory / OWN)
        return get_own() if identity.exists else _issue(directory, identity)


def issue(host: str, *, renew: bool = True) -> Identity:
    """Create an identity for another machine, to be copied to its directory `own`.

    Without `renew`, return the one that exists.

    Raises:
        UsageError: if the name is not a plain name.
    """
    if not _NAME.fullmatch(host):
        shown = escape_controls(host)
        raise UsageError(f"'{shown}' is not the name of a machine", "name it as ssh does")
    directory = get_directory()
    hosts = directory / "hosts"
    hosts.mkdir(mode=0o700, exist_ok=True)
    with files.lock_directory(directory):
        identity = Identity(hosts / host)
        return identity if identity.exists and not renew else _issue(directory, identity)


def receive(content: bytes) -> Identity:
    """Return the identity in a message of `Identity.format`, in a directory of this process.

    Raises:
        UsageError: if it is none.
    """
    try:
        texts = {name: str(text) for name, text in json.loads(content).items()}
    except (ValueError, AttributeError) as error:
        raise UsageError(
            "stdin has no certificate and key", "isosmoke cluster ssh sends them"
        ) from error
    identity = Identity(state.create_scratch())
    for file in identity.files:
        files.write(file, texts.get(file.name, "").encode(), mode=0o600)
    _check_content(identity)
    return identity


def _check_key(key: Path) -> None:
    status = key.stat()
    if status.st_uid != os.getuid() or status.st_mode & _OTHERS_MAY:
        raise IsosmokeError(f"others may read the key {key}", f"chmod 600 {key}")


def _check_content(identity: Identity) -> None:
    """Check that the files of an identity are what they should be.

    Raises:
        IsosmokeError: if one is not; it is named.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    steps: tuple[tuple[Path, Callable[[], object]], ...] = (
        (identity.authority, lambda: context.load_verify_locations(identity.authority)),
        (identity.certificate, lambda: identity.fingerprint),
        (identity.key, lambda: context.load_cert_chain(identity.certificate, identity.key)),
    )
    for file, load in steps:
        try:
            load()
        except (OSError, ValueError) as error:
            raise IsosmokeError(
                f"{file} is damaged, or does not belong to its directory: {error}",
                f"remove {identity.directory}, then isosmoke cluster certificates",
            ) from error


def create_security(identity: Identity) -> "Security":
    """Return the settings with which every connection and listener requires certificates."""
    from distributed.security import Security

    roles = {
        f"tls_{role}_{part}": str(path)
        for role in ("client", "scheduler", "worker")
        for part, path in (("cert", identity.certificate), ("key", identity.key))
    }
    return Security(
        require_encryption=True,
        tls_ca_file=str(identity.authority),
        tls_min_version=ssl.TLSVersion.TLSv1_3,
        **roles,
    )


def _issue(directory: Path, identity: Identity) -> Identity:
    """Create an identity with a certificate of the authority, which is created if it is missing."""
    from cryptography.hazmat.primitives.asymmetric import ec

    authority_key, authority = _read_authority(directory)
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"isosmoke {identity.directory.name}"
    certificate = _sign(name, key, authority_key, authority)
    identity.directory.mkdir(mode=0o700, exist_ok=True)
    files.write(identity.key, _format_key(key), mode=0o600)
    files.write(identity.authority, _format_certificate(authority))
    files.write(identity.certificate, _format_certificate(certificate))
    return identity


def _read_authority(directory: Path) -> "tuple[EllipticCurvePrivateKey, Certificate]":
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key_file, file = directory / "ca.key", directory / "ca.pem"
    if not key_file.exists() or not file.exists():
        created = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign("isosmoke authority", created, created, None)
        files.write(key_file, _format_key(created), mode=0o600)
        files.write(file, _format_certificate(certificate))
    _check_key(key_file)
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise IsosmokeError(f"{key_file} is not a key of isosmoke", f"remove {directory}")
    return key, x509.load_pem_x509_certificate(file.read_bytes())


def _sign(
    name: str,
    key: "EllipticCurvePrivateKey",
    authority_key: "EllipticCurvePrivateKey",
    authority: "Certificate | None",
) -> "Certificate":
    """Return a certificate for a key; without `authority`, that of an authority itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority is None else authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
    )
    if authority is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(authority_key, hashes.SHA256())


def _format_key(key: "EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _format_certificate(certificate: "Certificate") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)
