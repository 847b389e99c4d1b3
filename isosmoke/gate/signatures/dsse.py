"""DSSE envelopes: a receipt with signatures that other tools verify.

The format is https://github.com/secure-systems-lab/dsse (v1). A signature proves who held the key,
and nothing else. The library is optional, because only a service that signs or verifies needs it:
`pip install isosmoke[sign]`.
"""

import base64
import binascii
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.host import files

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
"""The type of an in-toto statement in an envelope (in-toto attestation, "Envelope")."""


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
    signatures: tuple[EnvelopeSignature, ...] = Field(min_length=1)

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


def find_problem(envelope: bytes, key: Path) -> str:
    """Return why no signature of an envelope is of a public key; empty if one is.

    Raises:
        UsageError: if the file has no public key, or the library is missing.
    """
    try:
        from securesystemslib.dsse import Envelope
        from securesystemslib.exceptions import FormatError, VerificationError
    except ImportError as error:
        raise _create_missing_error() from error
    public = _load_public_key(key)
    try:
        document = json.loads(envelope)
        # A key ID is only a hint (DSSE, "protocol.md"), so each signature is tried with the key.
        document["signatures"] = [
            {**signature, "keyid": public.keyid} for signature in document["signatures"]
        ]
        for signature in document["signatures"]:
            try:
                Envelope.from_dict({**document, "signatures": [signature]}).verify([public], 1)
            except VerificationError:
                continue
            return ""
    except (FormatError, ValueError, KeyError, TypeError) as error:
        return f"the signature cannot be read: {error}"
    return f"no signature is of the key in {key}"


def _load_public_key(key: Path) -> "SSlibKey":
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    try:
        public: Any = load_pem_public_key(_read_key(key))
        return SSlibKey.from_crypto(public)
    except ValueError as error:
        raise _create_key_error(key, "a public", error) from error


def _read_key(key: Path) -> bytes:
    try:
        return files.read(key)
    except OSError as error:
        raise UsageError(f"{key}: {error.strerror}", hint="pass a key in PEM format") from error


def _create_key_error(key: Path, kind: str, error: Exception) -> UsageError:
    reason = str(error).partition("(")[0].strip()
    return UsageError(
        f"{key} is not {kind} key in PEM format: {reason}",
        hint="openssl genpkey -algorithm ed25519 -out KEY; openssl pkey -in KEY -pubout -out PUB",
    )


def _create_missing_error() -> IsosmokeError:
    return UsageError("the library that signs is not installed", hint="pip install isosmoke[sign]")
