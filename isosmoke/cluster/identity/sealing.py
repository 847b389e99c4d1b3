"""Messages that only one worker can read, and answers that only one worker can have given.

A scheduler passes them on. It has a certificate of the cluster, but is not pinned.
"""

import hashlib
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from isosmoke.cluster.identity.certificates import Identity
from isosmoke.dataclass import dataclass

_SUITE = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_SIGNATURE = ec.ECDSA(hashes.SHA256())


class SealError(ValueError):
    """A message is not for this worker, or not for this order."""


@dataclass(frozen=True, slots=True)
class WorkerCertificate:
    """The certificate of a worker, whose key seals messages to it and verifies its answers."""

    fingerprint: str
    key: ec.EllipticCurvePublicKey

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Return the certificate in a PEM file.

        Raises:
            ValueError: if it is not one of isosmoke.
        """
        certificate = x509.load_pem_x509_certificate(content)
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError("its key is not on an elliptic curve")  # noqa: TRY004 - a value
        return cls(hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(), key)

    def seal(self, content: bytes, order: bytes) -> bytes:
        """Return a message that only this worker can read, and only for this order."""
        return _SUITE.encrypt(content, self.key, info=_digest(order))

    def has_signed(self, content: bytes, order: bytes, signature: bytes) -> bool:
        """Return whether this worker gave this answer to this order."""
        try:
            self.key.verify(signature, _digest(order) + content, _SIGNATURE)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class WorkerKey:
    """The key of this worker."""

    key: ec.EllipticCurvePrivateKey

    @classmethod
    def load(cls, identity: Identity) -> Self:
        """Return the key of an identity.

        Raises:
            ValueError: if it is not one of isosmoke.
        """
        key = load_pem_private_key(identity.key.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{identity.key} is not on a curve")  # noqa: TRY004 - a value
        return cls(key)

    def open(self, sealed: bytes, order: bytes) -> bytes:
        """Return the content of a message to this worker; an empty one has none.

        Raises:
            SealError: if it is for another worker or another order.
        """
        try:
            return _SUITE.decrypt(sealed, self.key, info=_digest(order)) if sealed else b""
        except (InvalidTag, ValueError) as error:
            raise SealError("secrets that are not for this worker and this order") from error

    def sign(self, content: bytes, order: bytes) -> bytes:
        """Return the signature of an answer to an order."""
        return self.key.sign(_digest(order) + content, _SIGNATURE)


def _digest(order: bytes) -> bytes:
    return hashlib.sha256(order).digest()
