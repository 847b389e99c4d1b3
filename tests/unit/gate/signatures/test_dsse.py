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
from isosmoke.gate.signatures.dsse import SignatureError
from support import key_pairs

RECEIPT = b'{"_type": "https://in-toto.io/Statement/v1"}\n'


def verify_publicly(envelope: str, public: Path) -> bytes:
    """Verify an envelope with the public library only, and return its payload."""
    key: Any = load_pem_public_key(public.read_bytes())
    signed = Envelope.from_dict(json.loads(envelope))
    signed.verify([SSlibKey.from_crypto(key)], 1)
    return signed.payload


def find_problem(envelope: str, *keys: Path) -> str:
    """Return why an envelope is not signed with one of these keys; empty if it is."""
    try:
        opened = dsse.open_signed(envelope.encode(), [dsse.read_public_key(key) for key in keys])
    except SignatureError as error:
        return error.message
    assert opened == RECEIPT
    return ""


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
    assert find_problem(envelope, public) == ""


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
        assert "no signature is of the key" in find_problem(json.dumps(changed), key)
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

    assert find_problem(json.dumps(envelope), public) == ""


def test_any_of_several_keys_may_sign(tmp_path: Path) -> None:
    """The key that signed may be any of the pinned ones; without keys, nothing is signed."""
    private, public = key_pairs.write(tmp_path / "ed", "ed25519")
    _, other = key_pairs.write(tmp_path / "rsa", "rsa")
    envelope = dsse.sign(RECEIPT, private)

    assert find_problem(envelope, other, public) == ""
    assert f"no signature is of the key in {other}" in find_problem(envelope, other)
    assert "no key is pinned" in find_problem(envelope)


@pytest.mark.parametrize("content", [b"", b"key", b"-----BEGIN PRIVATE KEY-----\nAA\n"])
def test_file_without_a_key_is_an_error(tmp_path: Path, content: bytes) -> None:
    """The error names the file, and the hint has the command that makes a key."""
    file = tmp_path / "key"
    file.write_bytes(content)
    private, _ = key_pairs.write(tmp_path / "keys")

    with pytest.raises(UsageError, match="not an unencrypted private key") as refused:
        dsse.sign(RECEIPT, file)
    with pytest.raises(UsageError, match="not a public key"):
        find_problem(dsse.sign(RECEIPT, private), file)
    assert "openssl genpkey" in refused.value.hint


def test_receipt_is_not_an_envelope() -> None:
    """A file without the fields of an envelope is read as it is."""
    assert dsse.parse(RECEIPT) is None
    assert dsse.parse(b"oh") is None


def test_odd_envelope_is_not_signed(tmp_path: Path) -> None:
    """An envelope with values of other types, or the payload of another field, is no crash."""
    private, public = key_pairs.write(tmp_path)
    envelope = json.loads(dsse.sign(RECEIPT, private))

    for changed in (
        {**envelope, "signatures": [{"keyid": "x", "sig": 1}]},
        {**envelope, "signatures": [{"keyid": "x", "sig": "é"}]},
        {**envelope, "signatures": []},
        {**envelope, "payload": 1},
        {**envelope, "payload": "*"},
        [envelope],
    ):
        assert "signature" in find_problem(json.dumps(changed), public)


@pytest.mark.parametrize(("others", "is_valid"), [(99, True), (100, False)])
def test_number_of_signatures_is_limited(tmp_path: Path, others: int, *, is_valid: bool) -> None:
    """A valid signature after many others counts, but not after more than anyone would add."""
    private, public = key_pairs.write(tmp_path)
    envelope = json.loads(dsse.sign(RECEIPT, private))
    envelope["signatures"][:0] = [{"sig": "AA=="}] * others

    assert (find_problem(json.dumps(envelope), public) == "") == is_valid


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
