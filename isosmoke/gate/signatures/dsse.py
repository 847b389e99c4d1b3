"""DSSE envelopes: a receipt with signatures that other tools verify.

The format is https://github.com/secure-systems-lab/dsse (v1). A signature proves who held the key,
and nothing else. The library is optional, because only a service that signs or verifies needs it:
`pip install isosmoke[sign]`.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.host import files

if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
"""The type of an in-toto statement in an envelope (in-toto attestation, "Envelope")."""


_MAX_SIGNATURES = 100
"""Each signature is tried with each key, which is some work even if none is valid."""


class EnvelopeSignature(BaseModel):
    """One signature; `keyid` is a hint to select a key."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    keyid: str = ""
    sig: str


class SignedEnvelope(BaseModel):
    """An envelope of a receipt; `payload` is in base64."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True
    )

    payload_type: str
    payload: str
    signatures: tuple[EnvelopeSignature, ...] = Field(min_length=1, max_length=_MAX_SIGNATURES)

    def decode(self, origin: str) -> bytes:
        """Return the receipt; `origin` names the envelope in errors.

        Raises:
            UsageError: if the envelope has something else in it.
        """
        if self.payload_type != PAYLOAD_TYPE:
            raise UsageError(
                f"{origin}: the envelope is of type {self.payload_type}, not {PAYLOAD_TYPE}",
                hint="pass an envelope that `isosmoke receipt sign` has written",
            )
        try:  # a payload may be in either alphabet (DSSE, "envelope.md")
            text = self.payload.replace("-", "+").replace("_", "/")
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except binascii.Error as error:
            raise UsageError(
                f"{origin}: the payload of the envelope is not base64: {error}",
                hint="fetch the envelope again",
            ) from error


def parse(text: bytes) -> SignedEnvelope | None:
    """Return the envelope in a file; None if the file is not an envelope."""
    try:
        return SignedEnvelope.model_validate_json(text)
    except ValidationError:
        return None


def sign(receipt: bytes, key: Path) -> str:
    """Return an envelope of a receipt as JSON, signed with the private key in a PEM file.

    Raises:
        UsageError: if the file has no private key that can sign, or the library is missing.
    """
    try:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from securesystemslib.dsse import Envelope
        from securesystemslib.signer import CryptoSigner
    except ImportError as error:
        raise _create_missing_error() from error
    try:
        private: Any = load_pem_private_key(_read_key(key), password=None)
        signer = CryptoSigner(private)
    except (ValueError, TypeError) as error:
        raise _create_key_error(key, "an unencrypted private", error) from error
    envelope = Envelope(receipt, PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return json.dumps(envelope.to_dict(), indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key in PEM format; `origin` names it in messages: a file, or where it is pinned."""

    content: bytes
    origin: str


def read_public_key(file: Path) -> PublicKey:
    """Return the public key in a file; its content is not examined yet.

    Raises:
        UsageError: if the file cannot be read.
    """
    return PublicKey(_read_key(file), str(file))


class SignatureError(IsosmokeError):
    """An envelope has no signature of the keys that it should be of."""


def open_signed(envelope: bytes, keys: Sequence[PublicKey]) -> bytes:
    """Return the receipt in an envelope that one of these public keys has signed.

    Raises:
        SignatureError: if none of them has.
        UsageError: if one of them is no public key, or the library is missing.
    """
    try:
        from securesystemslib.dsse import Envelope
        from securesystemslib.exceptions import FormatError, VerificationError
    except ImportError as error:
        raise _create_missing_error() from error
    if not keys:
        raise SignatureError("no key is pinned that could have signed it")
    loaded = [_load_public_key(key) for key in keys]
    parsed = parse(envelope)
    if parsed is None:
        raise SignatureError("the signature cannot be read: it is not in an envelope")
    # A key ID is only a hint (DSSE, "protocol.md"), so each signature is tried with each key.
    try:
        for signature, key in product(parsed.signatures, loaded):
            own = {"keyid": key.keyid, "sig": signature.sig}
            document = {"payloadType": parsed.payload_type, "payload": parsed.payload}
            signed = Envelope.from_dict({**document, "signatures": [own]})
            with suppress(VerificationError):
                signed.verify([key], 1)
                return _check_type(signed)
    except (FormatError, ValueError, KeyError, TypeError) as error:
        raise SignatureError(f"the signature cannot be read: {error}") from error
    origins = " or ".join(dict.fromkeys(key.origin for key in keys))
    raise SignatureError(f"no signature is of the key in {origins}")


def _check_type(signed: "Envelope") -> bytes:
    if signed.payload_type != PAYLOAD_TYPE:
        raise SignatureError(f"what was signed is of type {signed.payload_type}")
    return bytes(signed.payload)


def _load_public_key(key: PublicKey) -> "SSlibKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    try:
        public: Any = load_pem_public_key(key.content)
        return SSlibKey.from_crypto(public)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _create_key_error(key.origin, "a public", error) from error


def _read_key(key: Path) -> bytes:
    try:
        return files.read(key)
    except OSError as error:
        raise UsageError(f"{key}: {error.strerror}", hint="pass a key in PEM format") from error


def _create_key_error(key: Path | str, kind: str, error: Exception) -> UsageError:
    reason = str(error).partition("(")[0].strip()
    return UsageError(
        f"{key} is not {kind} key in PEM format: {reason}",
        hint="openssl genpkey -algorithm ed25519 -out KEY; openssl pkey -in KEY -pubout -out PUB",
    )


def _create_missing_error() -> IsosmokeError:
    return UsageError("the library that signs is not installed", hint="pip install isosmoke[sign]")
