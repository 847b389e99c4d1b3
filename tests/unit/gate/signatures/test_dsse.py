"""Signed receipts: envelopes that the public library of DSSE verifies."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from isosmoke.errors import UsageError
from isosmoke.gate.signatures import dsse
from support import key_pairs

RECEIPT = b'{"_type": "https://in-toto.io/Statement/v1"}\n'


def verify_publicly(envelope: str, public: Path) -> bytes:
    """Verify an envelope with the public library only, and return its payload."""
    key: Any = load_pem_public_key(public.read_bytes())
    signed = Envelope.from_dict(json.loads(envelope))
    signed.verify([SSlibKey.from_crypto(key)], 1)
    return signed.payload


@pytest.mark.parametrize("algorithm", key_pairs.ALGORITHMS)
def test_public_library_verifies_an_envelope(tmp_path: Path, algorithm: str) -> None:
    """The payload is the receipt, byte for byte, and the signature is of the key."""
    private, public = key_pairs.write(tmp_path, algorithm)

    envelope = dsse.sign(RECEIPT, private)

    assert verify_publicly(envelope, public) == RECEIPT
    assert json.loads(envelope)["payloadType"] == "application/vnd.in-toto+json"
    parsed = dsse.parse(envelope.encode())
    assert parsed is not None
    assert parsed.decode("r") == RECEIPT
    assert dsse.find_problem(envelope.encode(), public) == ""


def test_changed_envelope_is_not_of_the_key(tmp_path: Path) -> None:
    """Another payload, another type, another key and a broken signature are all found."""
    private, public = key_pairs.write(tmp_path)
    _, other = key_pairs.write(tmp_path / "other")
    envelope = json.loads(dsse.sign(RECEIPT, private))
    payload = base64.b64encode(RECEIPT + b" ").decode()

    for changed, key in (
        ({**envelope, "payload": payload}, public),
        ({**envelope, "payloadType": "text/plain"}, public),
        (envelope, other),
        ({**envelope, "signatures": [{"keyid": "", "sig": "AAAA"}]}, public),
    ):
        assert "no signature is of the key" in dsse.find_problem(json.dumps(changed).encode(), key)
    with pytest.raises(VerificationError):
        verify_publicly(json.dumps({**envelope, "payload": payload}), public)


def test_key_id_is_only_a_hint(tmp_path: Path) -> None:
    """An envelope of another tool has other key IDs, and one of its signatures is enough."""
    private, public = key_pairs.write(tmp_path)
    envelope = json.loads(dsse.sign(RECEIPT, private))
    (signature,) = envelope["signatures"]
    envelope["signatures"] = [
        {"keyid": "x", "sig": "AAAA"},
        {"keyid": "y", "sig": signature["sig"]},
    ]

    assert dsse.find_problem(json.dumps(envelope).encode(), public) == ""


@pytest.mark.parametrize("content", [b"", b"key", b"-----BEGIN PRIVATE KEY-----\nAA\n"])
def test_file_without_a_key_is_an_error(tmp_path: Path, content: bytes) -> None:
    """The error names the file, and the hint has the command that makes a key."""
    file = tmp_path / "key"
    file.write_bytes(content)
    private, _ = key_pairs.write(tmp_path / "keys")

    with pytest.raises(UsageError, match="not an unencrypted private key") as refused:
        dsse.sign(RECEIPT, file)
    with pytest.raises(UsageError, match="not a public key"):
        dsse.find_problem(dsse.sign(RECEIPT, private).encode(), file)
    assert "openssl genpkey" in refused.value.hint


def test_receipt_is_not_an_envelope() -> None:
    """A file without the fields of an envelope is read as it is."""
    assert dsse.parse(RECEIPT) is None
    assert dsse.parse(b"oh") is None


def test_envelope_of_something_else_is_refused() -> None:
    """An envelope may contain any type of document."""
    for fields, reason in (
        ({"payloadType": "text/plain", "payload": "AA=="}, "of type text/plain"),
        ({"payloadType": dsse.PAYLOAD_TYPE, "payload": "*"}, "not base64"),
    ):
        envelope = dsse.parse(json.dumps({**fields, "signatures": [{"sig": "AA=="}]}).encode())
        assert envelope is not None
        with pytest.raises(UsageError, match=reason):
            envelope.decode("r")
