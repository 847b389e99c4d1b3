"""Proofs: which failures count, what a proof is bound to, and its form."""

import json

import pytest

from isosmoke.errors import RecordError
from isosmoke.gate import in_toto
from isosmoke.gate.in_toto import Digest, Resource
from isosmoke.gate.proofs import proof
from isosmoke.gate.proofs.proof import ProofCircumstances, ProvenBinary
from isosmoke.results.leaks import LeakVerdict
from isosmoke.results.outcome import Broke, Exited, MissingRequirement, Outcome, Signaled, TimedOut
from isosmoke.results.run_results import Attempt
from support.records import make_process

LEFT = LeakVerdict((make_process("serve"),))

NO_PROOF = {
    "a pass": (Attempt(ending=Exited(0)), "does not notice", ""),
    "a skip": (Attempt(ending=Exited(77)), "SKIP with the broken binary", ""),
    "a requirement": (Attempt(ending=MissingRequirement("no tmux")), "SKIP with the broken", ""),
    "a leak": (Attempt(ending=Exited(0), verdict=LEFT), "LEAK with the broken binary", "leak"),
    "a timeout": (Attempt(ending=TimedOut(9)), "TIMEOUT with the broken binary", "timeout"),
    "an error": (Attempt(ending=Exited(99)), "ERROR with the broken binary", "error"),
    "a broken engine": (Attempt(ending=Broke("no daemon")), "the engine failed", ""),
    "a signal": (Attempt(ending=Signaled(11)), "a signal ended the script", "signal"),
    "a missing program": (Attempt(ending=Exited(127)), "could not be executed", ""),
}


@pytest.mark.parametrize(("attempt", "message", "way"), NO_PROOF.values(), ids=NO_PROOF)
def test_only_a_failed_assertion_is_a_proof(attempt: Attempt, message: str, way: str) -> None:
    """Any other ending is an objection, which some options withdraw."""
    others = [name for name in proof.ACCEPTED if name != way]

    assert message in proof.find_objection_to_broken(attempt, ())
    assert message in proof.find_objection_to_broken(attempt, others)
    if way:
        assert f"--accept {way}" in proof.find_objection_to_broken(attempt, ())
        assert proof.find_objection_to_broken(attempt, [way]) == ""


@pytest.mark.parametrize("verdict", [LeakVerdict(), LEFT], ids=["clean", "leaks"])
def test_failure_is_a_proof(verdict: LeakVerdict) -> None:
    """A script that exits with a failure has noticed, whatever it leaves."""
    assert proof.find_objection_to_broken(Attempt(ending=Exited(1), verdict=verdict), ()) == ""


def test_fixed_binary_has_to_pass() -> None:
    """A skip or a leak with the fixed binary is no pass."""
    assert proof.find_objection_to_fixed(Attempt(ending=Exited(0))) == ""
    for attempt in (
        Attempt(ending=Exited(77)),
        Attempt(ending=Exited(1)),
        Attempt(ending=Exited(0), verdict=LEFT),
    ):
        assert "which must pass" in proof.find_objection_to_fixed(attempt)


def resources(**digests: str) -> list[Resource]:
    """Return hashed inputs; `_` in a name stands for a blank."""
    return [
        Resource(name=name.replace("_", " "), digest=Digest(sha256=digit * 64))
        for name, digit in digests.items()
    ]


def make_proof() -> proof.ProofStatement:
    """Return a proof with an input of every kind."""
    broken = ProvenBinary(
        path="old/wg", sha256="b" * 64, outcome=Outcome.FAIL, reason="exit 1", run="1"
    )
    fixed = ProvenBinary(path="wg", sha256="f" * 64, outcome=Outcome.PASS, reason="", run="2")
    circumstances = ProofCircumstances(
        scenario="one",
        tested_at="2026-11-22T12:30:00Z",
        manifest="manifest.toml",
        broken=broken,
        fixed=fixed,
        count=1,
        engine="bubblewrap",
    )
    inputs = resources(scenario_one="1", script_a="2", file_b="3", image_debian="4", policy_x="5")
    return proof.create_proof(circumstances, inputs)


def test_proof_is_an_in_toto_statement() -> None:
    """The subject is the fixed binary; the broken one is among the inputs."""
    document = json.loads(in_toto.render(make_proof()))

    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert document["subject"] == [{"name": "binary wg", "digest": {"sha256": "f" * 64}}]
    assert document["predicate"]["configuration"][0] == {
        "name": "broken-binary old/wg",
        "digest": {"sha256": "b" * 64},
    }
    assert document["predicate"]["passedTests"] == ["one"]
    assert proof.parse(in_toto.render(make_proof()).encode(), "x") == make_proof()


def test_proof_is_bound_to_scenario_script_and_files() -> None:
    """A change of these, and a file that is added, is a difference; another image is none."""
    same = resources(scenario_one="1", script_a="2", file_b="3", image_debian="9")
    changed = resources(scenario_one="1", script_a="9", file_c="3")

    assert proof.find_differences(make_proof(), same) == ()
    assert proof.find_differences(make_proof(), changed) == (
        "script a changed",
        "file b was removed",
        "file c was added",
    )


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b'{"_type": "x"}'])
def test_damaged_proof_is_an_error(text: bytes) -> None:
    """A file that is no proof is named, with the remedy."""
    with pytest.raises(RecordError, match="FILE: not a proof"):
        proof.parse(text, "FILE")
