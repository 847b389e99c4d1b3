"""Receipts: validity as long as every tested byte is unchanged, and reports of what changed."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.engines import AUTO, EngineChoice
from isosmoke.errors import UsageError
from isosmoke.gate import in_toto, receipt, receipt_inputs
from isosmoke.gate.receipt import Circumstances, Statement
from isosmoke.host.git import Checkout
from isosmoke.manifest.parser import parse
from isosmoke.results.outcome import Outcome

HASH = "ab" * 32


def create_receipt(
    outcomes: dict[str, Outcome], *, opened: bool = True, checkout: Checkout | None = None
) -> Statement:
    """Return a receipt of these outcomes."""
    about = Circumstances(
        task="fix-a",
        open=opened,
        tested_at="2026-11-22T20:00:00.000Z",
        manifest="/p/manifest.toml",
        binary="/p/wg",
        repository=checkout,
        outcomes=outcomes,
        engine="bubblewrap",
    )
    inputs = (
        in_toto.create_hashed_resource("script", "a.sh", HASH),
        in_toto.create_named_resource("image", "debian:12"),
    )
    return receipt.create_statement(
        about, in_toto.create_hashed_resource("binary", "wg", HASH), inputs
    )


def test_receipt_is_an_in_toto_test_result() -> None:
    """Required fields have their specified names, and isosmoke's own are in a separate object."""
    outcomes = {"a": Outcome.PASS, "b": Outcome.SKIP, "c": Outcome.FLAKY, "d": Outcome.LEAK}

    document = json.loads(
        in_toto.render(
            create_receipt(outcomes, opened=False, checkout=Checkout("c0ffee", dirty=True))
        )
    )

    assert document == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "binary wg", "digest": {"sha256": HASH}}],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": "FAILED",
            "configuration": [
                {"name": "script a.sh", "digest": {"sha256": HASH}},
                {"name": "image debian:12", "uri": "isosmoke:image/debian:12"},
                {"name": "engine bubblewrap", "uri": "isosmoke:engine/bubblewrap"},
            ],
            "passedTests": ["a"],
            "warnedTests": ["c"],
            "failedTests": ["d"],
            "isosmoke": {
                "task": "fix-a",
                "open": False,
                "testedAt": "2026-11-22T20:00:00.000Z",
                "manifest": "/p/manifest.toml",
                "binary": "/p/wg",
                "repository": {"commit": "c0ffee", "dirty": True},
                "outcomes": {"a": "PASS", "b": "SKIP", "c": "FLAKY", "d": "LEAK"},
                "engine": "bubblewrap",
                "version": document["predicate"]["isosmoke"]["version"],
            },
        },
    }


@pytest.mark.parametrize(
    ("outcome", "opened", "result"),
    [
        (Outcome.PASS, True, "PASSED"),
        (Outcome.SKIP, True, "FAILED"),
        (Outcome.FLAKY, True, "WARNED"),
        (Outcome.SKIP, False, "FAILED"),
        (Outcome.PASS, False, "FAILED"),
        (Outcome.FAIL, False, "FAILED"),
    ],
)
def test_result_follows_the_gate(outcome: Outcome, opened: bool, result: str) -> None:  # noqa: FBT001
    """A shut gate is FAILED; an open one is PASSED only if every scenario passed."""
    assert create_receipt({"a": outcome}, opened=opened).predicate.result == result


@pytest.mark.parametrize("skips", [("a",), ("a", "b"), ()])
def test_standard_policy_denies_what_was_only_skipped(skips: tuple[str, ...]) -> None:
    """A policy by in-toto's description accepts no scenario of which nothing was shown."""
    everything = dict.fromkeys("ab", Outcome.PASS) | dict.fromkeys(skips, Outcome.SKIP)
    predicate = json.loads(in_toto.render(create_receipt(everything)))["predicate"]
    shown = {*predicate["passedTests"], *predicate["warnedTests"]}

    assert shown == set(everything) - set(skips)
    assert set(skips).isdisjoint(predicate["failedTests"])
    assert (predicate["result"] == "FAILED") == (len(skips) == 2)
    assert (predicate["result"] == "PASSED") == (not skips)


@given(st.dictionaries(st.text(), st.sampled_from(Outcome)), st.booleans(), st.booleans())
def test_receipt_survives_round_trip(
    outcomes: dict[str, Outcome],
    opened: bool,  # noqa: FBT001
    clean: bool,  # noqa: FBT001
) -> None:
    """Rendering and parsing lose nothing."""
    written = create_receipt(
        outcomes, opened=opened, checkout=Checkout("", clean) if clean else None
    )

    assert receipt.parse(in_toto.render(written), "r") == written


def test_unknown_fields_are_ignored() -> None:
    """A later version may add fields (in-toto's parsing rules)."""
    document = json.loads(in_toto.render(create_receipt({})))
    document["predicate"]["url"] = "https://localhost"

    assert receipt.parse(json.dumps(document), "r") == create_receipt({})


@given(st.binary())
def test_invalid_receipt_is_refused_by_name(content: bytes) -> None:
    """Any bytes raise an error that names the file."""
    with pytest.raises(UsageError, match=r"^r\.json: not a receipt: "):
        receipt.parse(content, "r.json")


NAMES = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["0" * 64, "1" * 64]))


@given(NAMES, NAMES)
def test_differences_name_exactly_what_differs(then: dict[str, str], now: dict[str, str]) -> None:
    """Each name that was changed, removed or added is listed once, and no other."""
    differences = in_toto.list_differences(
        [in_toto.create_hashed_resource("file", *item) for item in then.items()],
        [in_toto.create_hashed_resource("file", *item) for item in now.items()],
    )

    differing = {name for name in then | now if then.get(name) != now.get(name)}
    assert sorted(line.split()[1] for line in differences) == sorted(differing)


def test_entry_is_bound_by_its_values(tmp_path: Path) -> None:
    """Comments and key order do not change the hash; any value does."""

    def entry(text: str) -> str:
        (tmp_path / "s.sh").write_text("")
        (scenario,) = (loaded := parse(text, tmp_path / "m.toml")).scenarios
        return receipt_inputs.collect_inputs(loaded, [scenario], EngineChoice(AUTO))[0].sha256

    plain = '[[scenario]]\nname = "a"\nscript = "s.sh"\n'
    assert entry('[[scenario]]\nscript = "s.sh" # here\nname = "a"\n') == entry(plain)
    assert entry(plain + "timeout_seconds = 180\n") == entry(plain)
    assert entry(plain + "timeout_seconds = 181\n") != entry(plain)
    assert entry("[defaults]\nretries = 1\n" + plain) != entry(plain)


# The tests below use receipts of real runs.
