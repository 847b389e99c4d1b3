"""New key pairs of the kinds that sign receipts."""

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

ALGORITHMS: dict[str, Any] = {
    "ed25519": Ed25519PrivateKey.generate,
    "ecdsa": lambda: generate_ec(SECP256R1()),
    "rsa": lambda: generate_rsa(65537, 2048),
}
"""A function for each algorithm that returns a new private key."""


def write(directory: Path, algorithm: str = "ed25519") -> tuple[Path, Path]:
    """Write a new private and public key, and return their paths."""
    directory.mkdir(exist_ok=True)
    private, public = directory / "key", directory / "key.pub"
    key = ALGORITHMS[algorithm]()
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public
