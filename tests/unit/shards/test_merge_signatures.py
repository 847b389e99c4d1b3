"""Merged records count only if a pinned key has signed each shard of one run."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from isosmoke.errors import RecordError
from isosmoke.gate.signatures import dsse
from isosmoke.host.git import Checkout
from isosmoke.results.outcome import Exited, MissingRequirement, Outcome
from isosmoke.results.records.attempt import AttemptRecord
from isosmoke.results.records.shard import MergedShardRecord
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.results.run_results import Attempt
from isosmoke.shards import merge_signatures
from support import key_pairs, records, result_factories
from support.signed_shards import RESULTS, Shard, SignedShards

Change = Callable[[RunRecord], RunRecord]


@pytest.fixture
def shards(tmp_path: Path) -> SignedShards:
    """Return a factory of signed shards."""
    return SignedShards(tmp_path)


def refuse(run: RunRecord, shards: SignedShards) -> str:
    """Return the reason why a record is refused."""
    with pytest.raises(RecordError) as refused:
        merge_signatures.combine(run, shards.keys)
    assert refused.value.hint
    return refused.value.message


def change_shard(index: int, **fields: Any) -> Change:
    """Return a function that changes a shard of a merged record."""

    def change(run: RunRecord) -> RunRecord:
        changed = [*run.shards]
        changed[index] = replace(changed[index], **fields)
        return replace(run, shards=tuple(changed))

    return change


def change_envelope(edit: Callable[[dict[str, Any]], object]) -> Change:
    """Return a function that changes the JSON of the second envelope."""

    def change(run: RunRecord) -> RunRecord:
        envelope = json.loads(run.shards[1].envelope)
        edit(envelope)
        return change_shard(1, envelope=json.dumps(envelope))(run)

    return change


def edit_payload(envelope: dict[str, Any]) -> None:
    """Change what was signed."""
    text = base64.b64decode(envelope["payload"]).decode().replace("task-a", "task-b")
    envelope["payload"] = base64.b64encode(text.encode()).decode()


def change_result(edit: Callable[[ScenarioRecord], ScenarioRecord]) -> Change:
    """Return a function that changes the first result of a merged record."""
    return lambda run: replace(run, scenarios=(edit(run.scenarios[0]), *run.scenarios[1:]))


def change_attempt(**fields: Any) -> Change:
    """Return a function that changes the attempt of the first result."""

    def edit(scenario: ScenarioRecord) -> ScenarioRecord:
        attempt: AttemptRecord = replace(scenario.attempts[0], **fields)
        return replace(scenario, attempts=(attempt,))

    return change_result(edit)


def test_signed_shards_make_one_receipt(shards: SignedShards) -> None:
    """The receipt has all outcomes in the order of the manifest, both times, and the commit."""
    late = Shard(about={"tested_at": "2026-11-22T12:40:00.000Z", "engine": "docker"})
    run = shards.merge(late)

    statement, reason = merge_signatures.combine(run, shards.keys)

    about = statement.circumstances
    assert (about.open, reason) == (True, "")
    assert [*about.outcomes] == ["a", "b", "c", "d"]
    assert about.first_tested_at == "2026-11-22T12:31:00.000Z"
    assert about.tested_at == "2026-11-22T12:40:00.000Z"
    assert about.engine == "docker+bubblewrap"
    assert about.repository == Checkout("c" * 40, dirty=False)
    assert about.shard is None
    assert [each.name for each in statement.predicate.configuration] == [
        "policy [gate]",
        "engine docker+bubblewrap",
    ]


def test_any_pinned_key_may_sign(shards: SignedShards, tmp_path: Path) -> None:
    """Each machine may have its own key."""
    _, other = key_pairs.write(tmp_path / "others", "ecdsa")
    keys = [dsse.read_public_key(other), *shards.keys]

    assert merge_signatures.combine(shards.merge(), keys)[1] == ""


def test_times_and_logs_that_a_merge_changes_are_not_signed(shards: SignedShards) -> None:
    """The results of a shard that started later agree with what was signed."""
    started = result_factories.STARTED + timedelta(seconds=100)
    run = shards.merge(Shard(run={"started": started}))

    assert max(each.attempts[0].begun for each in run.scenarios) > 100
    assert merge_signatures.combine(run, shards.keys)[1] == ""


ATTACKS: dict[str, tuple[Change, str]] = {
    "stripped": (change_shard(1, envelope=""), "shard 2 of 2 has no signed receipt"),
    "receipt of another shard": (
        lambda run: change_shard(1, envelope=run.shards[0].envelope)(run),
        "shard 2 of 2 has the receipt of shard 1 of 2",
    ),
    "exchanged": (
        lambda run: replace(run, shards=run.shards[::-1]),
        "shard 1 of 2 has the receipt of shard 2 of 2",
    ),
    "missing at the end": (
        lambda run: replace(run, shards=run.shards[:1]),
        "shard 1 of 1 has the receipt of shard 1 of 2",
    ),
    "missing, with its problem": (
        change_shard(1, envelope="", problem="shard 2 of 2 is missing"),
        "shard 2 of 2 is missing",
    ),
    "duplicate": (
        lambda run: replace(run, shards=(*run.shards, run.shards[0])),
        "shard 1 of 3 has the receipt of shard 1 of 2",
    ),
    "foreign record": (
        lambda run: replace(run, shards=(*run.shards, MergedShardRecord(number=None))),
        "shard 1 of 3 has the receipt of shard 1 of 2",
    ),
    "truncated": (
        lambda run: change_shard(1, envelope=run.shards[1].envelope[:-30])(run),
        "shard 2 of 2: the signature cannot be read",
    ),
    "no envelope": (change_shard(1, envelope="[1]"), "shard 2 of 2: the signature cannot be read"),
    "deep JSON": (
        change_shard(1, envelope="[" * 90_000),
        "shard 2 of 2: the signature cannot be read",
    ),
    "edited payload": (change_envelope(edit_payload), "shard 2 of 2: no signature is of the key"),
    "other type": (
        change_envelope(lambda envelope: envelope.update(payloadType="text/plain")),
        "shard 2 of 2: no signature is of the key",
    ),
    "no signature": (
        change_envelope(lambda envelope: envelope.update(signatures=[])),
        "shard 2 of 2: the signature cannot be read",
    ),
    "odd signature": (
        change_envelope(lambda envelope: envelope.update(signatures=[{"sig": 1}])),
        "shard 2 of 2: the signature cannot be read",
    ),
    "scenario removed": (
        lambda run: replace(run, scenarios=run.scenarios[1:]),
        "its scenarios are not those that were signed",
    ),
    "scenario twice": (
        lambda run: replace(run, scenarios=(*run.scenarios, run.scenarios[0])),
        "its scenarios are not those that were signed",
    ),
    "outcome": (
        change_result(lambda result: replace(result, outcome=Outcome.FLAKY)),
        "its results are not those that were signed",
    ),
    "reason": (
        change_result(lambda result: replace(result, reason="fine")),
        "its results are not those that were signed",
    ),
    "exit code": (change_attempt(exit_code=3), "its results are not those that were signed"),
    "script": (change_attempt(script_sha256="0" * 64), "its results are not those that were"),
    "duration": (change_attempt(seconds=9.0), "its results are not those that were signed"),
    "attempt added": (
        change_result(lambda result: replace(result, attempts=result.attempts * 2)),
        "its results are not those that were signed",
    ),
    "binary": (
        lambda run: replace(run, binary=None),
        "its binary is not the one that was signed",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_edited_record_is_refused(name: str, shards: SignedShards) -> None:
    """A record that was edited after the merge is refused; the reason names the shard."""
    change, reason = ATTACKS[name]

    assert reason in refuse(change(shards.merge()), shards)


@pytest.mark.parametrize(
    ("shard", "words"),
    [
        (Shard(part={"run": "6"}), "another run"),
        (Shard(part={"commit": "d" * 40}), "another commit"),
        (Shard(subject="9" * 64), "another binary"),
        (Shard(part={"manifest": "9" * 64}), "another manifest"),
        (Shard(about={"manifest": "other.toml"}), "another manifest"),
        (Shard(about={"task": "task-b"}), "another task"),
        (Shard(part={"selection": "9" * 64}), "another selection of scenarios"),
        (Shard(part={"partition": "9" * 64}), "another division into shards"),
        (Shard(part={"inputs": "9" * 64}), "another scripts, or files that they read"),
        (Shard(part={"options": "--retries 9"}), "another options"),
        (Shard(part={"max_skips": 9}), "another limit of skips"),
        (Shard(about={"version": "9.9"}), "another version of isosmoke"),
        (Shard(policy="9" * 64), "another state of policy [gate]"),
    ],
    ids=str,
)
def test_foreign_receipt_is_refused(shard: Shard, words: str, shards: SignedShards) -> None:
    """A receipt of another run, commit, binary, manifest or plan is refused, although signed."""
    reason = refuse(shards.merge(Shard(), shard), shards)

    assert reason.startswith("shard 2 of 2 is foreign")
    assert words in reason


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"part": {"number": 1}}, "shard 2 of 2 has the receipt of shard 1 of 2"),
        ({"part": {"total": 3}}, "shard 2 of 2 has the receipt of shard 2 of 3"),
        ({"about": {"open": True}}, "shard 2 of 2: what was signed is the receipt of no shard"),
        ({"about": {"shard": None}}, "shard 2 of 2: what was signed is the receipt of no shard"),
        ({"about": {"tested_at": "noon"}}, "shard 2 of 2 has no time"),
        ({"about": {"outcomes": {}}}, "other scenarios than those that were selected"),
        ({"part": {"results": "9" * 64}}, "shard 2 of 2: its results are not those"),
    ],
    ids=str,
)
def test_receipt_that_is_no_shard_of_the_plan_is_refused(
    fields: dict[str, Any], words: str, shards: SignedShards
) -> None:
    """A signed receipt must be of its own shard, and of no open gate."""
    assert words in refuse(shards.merge(Shard(), Shard(**fields)), shards)


def test_scenario_in_two_shards_is_refused(shards: SignedShards) -> None:
    """Receipts that share a scenario are of no division."""
    outcomes = dict.fromkeys("abcd", Outcome.PASS)

    words = refuse(shards.merge(*[Shard(about={"outcomes": outcomes})] * 2), shards)
    assert words == "shard 2 of 2 has a, which shard 1 has as well"


def test_shards_of_no_commit_are_refused(shards: SignedShards) -> None:
    """Outside of a repository, nothing says what was tested."""
    odd = Shard(part={"commit": ""}, about={"repository": None})

    assert "are of no commit" in refuse(shards.merge(odd, odd), shards)


def test_other_document_is_refused(shards: SignedShards) -> None:
    """A pinned key may also sign documents that are no receipts."""
    envelope = dsse.sign(b'{"_type": "https://in-toto.io/Statement/v1"}', shards.private)
    run = change_shard(0, envelope=envelope)(shards.merge())

    assert "shard 1 of 2: not a receipt" in refuse(run, shards)


def test_key_that_is_not_pinned_is_refused(shards: SignedShards, tmp_path: Path) -> None:
    """The signature of another key, or no pinned key at all, is not enough."""
    run = shards.merge()
    _, shards.public = key_pairs.write(tmp_path / "others")

    assert f"shard 1 of 2: no signature is of the key in {shards.public}" in refuse(run, shards)
    with pytest.raises(RecordError, match="shard 1 of 2: no key is pinned"):
        merge_signatures.combine(run, [])


FAILED = (records.make_failed("a"), *RESULTS[1:])
SKIPPED = (
    result_factories.make_result(Attempt(ending=MissingRequirement("no tmux")), name="a"),
    *RESULTS[1:],
)


def test_failure_keeps_the_gate_shut(shards: SignedShards) -> None:
    """A signed failure is a receipt of a shut gate; the reason names shard and scenario."""
    statement, reason = merge_signatures.combine(shards.merge(results=FAILED), shards.keys)

    assert not statement.circumstances.open
    assert reason.endswith("of 2: FAIL a")
    assert statement.predicate.result == "FAILED"


def test_problem_of_a_shard_keeps_the_gate_shut(shards: SignedShards) -> None:
    """A shard whose files changed during its run has no failure, and keeps the gate shut."""
    run = shards.merge(Shard(), Shard(part={"problem": "tested files changed during the run"}))

    statement, reason = merge_signatures.combine(run, shards.keys)

    assert not statement.circumstances.open
    assert reason == "shard 2 of 2: tested files changed during the run"


@pytest.mark.parametrize(("most", "reason"), [(None, ""), (1, ""), (0, "skipped scenarios: 1,")])
def test_skips_of_all_shards_count_together(
    most: int | None, reason: str, shards: SignedShards
) -> None:
    """The signed `max_skips` limits the skips of the whole gate."""
    limited = Shard(part={"max_skips": most})

    statement, found = merge_signatures.combine(
        shards.merge(limited, limited, results=SKIPPED), shards.keys
    )

    assert found.startswith(reason)
    assert statement.circumstances.open is not bool(reason)


def test_signal_and_leak_are_signed(shards: SignedShards) -> None:
    """Every outcome has a digest that a merge does not change."""
    results = records.make_every_outcome()
    run = shards.merge(results=results)

    statement, reason = merge_signatures.combine(run, shards.keys)

    assert reason
    assert {*statement.circumstances.outcomes.values()} == {*Outcome}


def test_binary_may_be_missing(shards: SignedShards) -> None:
    """Exit codes alone are signed for scenarios of a project without a binary."""
    passed = result_factories.make_result(Attempt(ending=Exited(0)), name="a")

    assert merge_signatures.combine(shards.merge(results=(passed,)), shards.keys)[1] == ""
