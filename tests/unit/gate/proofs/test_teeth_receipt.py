"""Receipts of teeth: the inputs that they are bound to, and the contradictions in forged ones."""

import json
from dataclasses import replace
from typing import Any

import pytest

from isosmoke.errors import RecordError
from isosmoke.gate import in_toto
from isosmoke.gate.in_toto import Digest, Resource
from isosmoke.gate.proofs import teeth_receipt
from isosmoke.gate.proofs.teeth_cells import Sabotage, Verdict
from isosmoke.gate.proofs.teeth_receipt import (
    MeasuredCell,
    Present,
    TeethCircumstances,
    TeethStatement,
)
from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import Outcome

SCENARIO = Scenario(name="one", script="one.sh", teeth=("put",))
BITES = tuple(
    MeasuredCell(subcommand="put", sabotage=sabotage, verdict=Verdict.BITES, outcome=Outcome.FAIL)
    for sabotage in (Sabotage.NOOP, Sabotage.REPLAY, Sabotage.LIE)
)


def list_resources(**digests: str) -> list[Resource]:
    """Return hashed inputs; `_` in a name stands for a blank."""
    return [
        Resource(name=name.replace("_", " "), digest=Digest(sha256=digit * 64))
        for name, digit in digests.items()
    ]


INPUTS = list_resources(scenario_one="1", script_a="2", file_b="3", image_debian="4")


def make_receipt(
    *cells: MeasuredCell,
    declared: tuple[str, ...] = ("put",),
    called: tuple[str, ...] = ("put", "list"),
) -> TeethStatement:
    """Return a receipt of a scenario with these cells."""
    about = TeethCircumstances(
        scenario="one",
        tested_at="2026-11-30T12:30:00Z",
        manifest="manifest.toml",
        binary="wg",
        declared=declared,
        called=called,
        cells=cells or BITES,
        engine="bubblewrap",
    )
    return teeth_receipt.create_receipt(about, INPUTS, binary="a" * 64, program="b" * 64)


def test_receipt_is_an_in_toto_statement() -> None:
    """The subject is the binary; the program that sabotages it is among the inputs."""
    text = in_toto.render(make_receipt())
    document = json.loads(text)

    assert document["subject"] == [{"name": "binary wg", "digest": {"sha256": "a" * 64}}]
    assert document["predicate"]["passedTests"] == ["one"]
    assert document["predicate"]["configuration"][-2] == {
        "name": "sabotage-program stand-in",
        "digest": {"sha256": "b" * 64},
    }
    assert teeth_receipt.parse(text.encode(), "x") == make_receipt()
    assert teeth_receipt.find_flaw(make_receipt()) is None
    assert teeth_receipt.find_contradiction(make_receipt(), SCENARIO) == ""


PRESENT = Present(scenario=SCENARIO, inputs=INPUTS, program="b" * 64, binary="a" * 64)

DIFFERENCES = {
    "nothing": (PRESENT, ""),
    "an image": (
        replace(
            PRESENT,
            inputs=list_resources(scenario_one="1", script_a="2", file_b="3", image_debian="9"),
        ),
        "",
    ),
    "the script": (
        replace(PRESENT, inputs=list_resources(scenario_one="1", script_a="9", file_b="3")),
        "script a changed",
    ),
    "the entry": (
        replace(PRESENT, inputs=list_resources(scenario_one="9", script_a="2", file_b="3")),
        "scenario one changed",
    ),
    "a new file": (
        replace(
            PRESENT,
            inputs=list_resources(scenario_one="1", script_a="2", file_b="3", file_c="4"),
        ),
        "file c was added",
    ),
    "the sabotage program": (
        replace(PRESENT, program="9" * 64),
        "the program that sabotages the binary changed",
    ),
    "the binary": (
        replace(PRESENT, binary="9" * 64),
        "it is of another binary than the one that is tested now (binary wg)",
    ),
    "no binary": (
        replace(PRESENT, binary=""),
        "it is of another binary than the one that is tested now (binary wg)",
    ),
    "any binary": (replace(PRESENT, binary=None), ""),
}


@pytest.mark.parametrize(("present", "expected"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_receipt_is_bound_to_its_inputs(present: Present, expected: str) -> None:
    """Each input that differs ends a receipt, except the image and the interpreter."""
    assert teeth_receipt.find_difference(make_receipt(), present) == expected


def test_receipt_of_a_survivor_has_a_flaw() -> None:
    """A sabotage that was not noticed is recorded, and the receipt does not pass."""
    survived = MeasuredCell(
        subcommand="put",
        sabotage=Sabotage.REPLAY,
        verdict=Verdict.SURVIVED,
        outcome=Outcome.PASS,
    )
    receipt = make_receipt(BITES[0], survived, BITES[2])
    flaw = teeth_receipt.find_flaw(receipt)

    assert flaw is not None
    assert flaw.text == "passes although `wg put` only prints its message (replay SURVIVED)"
    assert receipt.predicate.result == "FAILED"
    assert receipt.predicate.failed_tests == ("one",)
    assert teeth_receipt.find_contradiction(receipt, SCENARIO) == ""


def edit(**changes: Any) -> TeethStatement:
    """Return a receipt whose own fields were edited in its file."""
    document = json.loads(in_toto.render(make_receipt()))
    document["predicate"]["isosmoke"] |= changes
    return teeth_receipt.parse(json.dumps(document).encode(), "x")


def dump(*cells: MeasuredCell) -> list[Any]:
    """Return cells as a file has them."""
    return [cell.model_dump(mode="json", by_alias=True) for cell in cells]


PASSED = BITES[1].model_copy(update={"outcome": Outcome.PASS})
SURVIVED = BITES[1].model_copy(update={"verdict": Verdict.SURVIVED})
RAN = BITES[1].model_copy(update={"verdict": Verdict.EQUIVALENT})

FORGED = {
    "a bite that passed": (dump(BITES[0], PASSED, BITES[2]), "contradicts the outcome of replay"),
    "a bite without a run": (
        dump(BITES[0], BITES[1].model_copy(update={"outcome": None}), BITES[2]),
        "contradicts the outcome of replay",
    ),
    "no difference that ran": (dump(BITES[0], RAN, BITES[2]), "contradicts the outcome of replay"),
    "a survivor": (dump(BITES[0], SURVIVED, BITES[2]), "its result contradicts its verdicts"),
    "a missing cell": (dump(*BITES[:2]), "its result contradicts its verdicts"),
    "two verdicts": (dump(SURVIVED, *BITES), "two verdicts on one sabotage"),
}


@pytest.mark.parametrize(("cells", "message"), FORGED.values(), ids=FORGED)
def test_forged_verdicts_contradict_the_rest(cells: list[Any], message: str) -> None:
    """A verdict that was edited in the file contradicts an outcome or the result."""
    assert message in teeth_receipt.find_contradiction(edit(cells=cells), SCENARIO)


def test_receipt_of_other_teeth_proves_nothing() -> None:
    """A receipt has to be of exactly the subcommands that the entry declares."""
    more = SCENARIO.change(teeth=("put", "list"))

    assert "other declared" in teeth_receipt.find_contradiction(make_receipt(), more)
    assert "other declared" in teeth_receipt.find_contradiction(edit(declared=[]), SCENARIO)


def test_uncalled_subcommand_is_a_flaw() -> None:
    """A receipt of a scenario that does not call what it declares says so."""
    flaw = teeth_receipt.find_flaw(make_receipt(called=("list",)))

    assert flaw is not None
    assert flaw.text == "never calls `wg put`, which its `teeth` names"


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b'{"_type": "x"}'])
def test_damaged_receipt_is_an_error(text: bytes) -> None:
    """A file that is no receipt is named, with the remedy."""
    with pytest.raises(RecordError, match="FILE: not a receipt of teeth"):
        teeth_receipt.parse(text, "FILE")
