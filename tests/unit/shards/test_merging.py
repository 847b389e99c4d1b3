"""The merge of the records of shards."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from isosmoke.errors import ExitCode
from isosmoke.reports import github, html, json_summary, junit
from isosmoke.results.outcome import Broke, Exited, MissingRequirement
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt, ScenarioResult
from isosmoke.shards import merging
from isosmoke.shards.loaded_shards import Part, Unusable
from support import records, result_factories, shard_records

RESULTS = records.make_every_outcome()
NAMES = [result.name for result in RESULTS]

Write = Callable[..., Part]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes and loads the record of a shard of `RESULTS`."""

    def write(number: int, total: int = 3, **others: object) -> Part:
        name = str(others.pop("name", number))
        results = others.pop("results", RESULTS)
        return shard_records.load(
            shard_records.write(tmp_path / name, number, total, results, **others)  # type: ignore[arg-type]
        )

    return write


def get_outcomes(run: RunRecord) -> dict[str, str]:
    """Return the outcome of each scenario."""
    return {scenario.name: str(scenario.outcome) for scenario in run.scenarios}


def get_reasons(run: RunRecord, part: Part) -> set[str]:
    """Return the reasons of those scenarios that a part has a record of."""
    own = {scenario.name for scenario in part.run.scenarios}
    return {scenario.reason for scenario in run.scenarios if scenario.name in own}


def list_problems(run: RunRecord) -> list[str]:
    """Return the problems of all shards."""
    return [shard.problem for shard in run.shards if shard.problem]


def test_all_shards_together_are_the_whole_run(write: Write) -> None:
    """The merged run has the outcomes of one run, in the order of the manifest."""
    merged = merging.merge([write(3), write(1), write(2)], [])

    assert get_outcomes(merged) == get_outcomes(records.make_record(*RESULTS))
    assert [scenario.name for scenario in merged.scenarios] == NAMES
    assert merged.counts == records.make_record(*RESULTS).counts
    assert [(shard.number, shard.problem) for shard in merged.shards] == [(1, ""), (2, ""), (3, "")]
    assert merged.shard is None


def test_missing_shard_is_not_run(write: Write) -> None:
    """The scenarios of a shard without a record are NOT_RUN, with the reason; the others count."""
    absent = write(2)
    merged = merging.merge([write(1), write(3)], [])

    assert get_reasons(merged, absent) == {"shard 2 of 3 is missing"}
    assert list_problems(merged) == ["shard 2 of 3 is missing"]
    assert merged.notes == ("WARNING: shard 2 of 3 is missing",)
    own = {scenario.name for scenario in absent.run.scenarios}
    assert {name for name, outcome in get_outcomes(merged).items() if outcome == "NOT_RUN"} == {
        *own,
        "never",
    }
    assert merging.select_exit_code(merged) is ExitCode.BLOCKED


def test_shard_with_two_records_is_not_run(write: Write) -> None:
    """Of two records of one shard neither counts, and both are named."""
    first, second = write(2), write(2, name="again")
    merged = merging.merge([write(1), first, write(3), second], [])

    reason = f"shard 2 of 3 has 2 records: {first.directory}, {second.directory}"
    assert get_reasons(merged, first) == {reason}
    assert list_problems(merged) == [reason]


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        ({"common": {"commit": "d" * 40}}, "commit dddddddddddd, not cccccccccccc"),
        ({"common": {"commit": ""}}, "commit none, not cccccccccccc"),
        ({"common": {"manifest": "f" * 64}}, "another manifest"),
        ({"common": {"inputs": "f" * 64}}, "other scripts, or other files that they read"),
        (
            {"common": {"options": "--retries 1"}},
            "options '--retries 1', not '--engine auto --confirm auto'",
        ),
        ({"binary": (Path("/wg"), "9" * 64)}, "binary 999999999999, not 0123456789ab"),
        ({"binary": None}, "binary none, not 0123456789ab"),
        ({"results": RESULTS[1:]}, "another selection of scenarios"),
        (
            {"seconds": {name: float(index) for index, name in enumerate(NAMES)}},
            "another division into shards, by other durations",
        ),
        ({"total": 4}, "4 shards, not 3"),
    ],
    ids=str,
)
def test_foreign_shard_is_not_run(difference: dict[str, object], words: str, write: Write) -> None:
    """A record that differs from most others does not count, and the reason says in what."""
    own = write(2, name="own")
    foreign = write(2, **difference)
    merged = merging.merge([foreign, write(1), write(3)], [])

    reason = f"shard 2 of 3: {foreign.directory} is foreign: {words}"
    assert get_reasons(merged, own) == {reason}
    assert list_problems(merged) == [reason]
    assert merging.select_exit_code(merged) is ExitCode.BLOCKED


def test_shard_beyond_the_last_is_a_problem(write: Write) -> None:
    """A record of a shard that the run does not have is named, with no scenario of the run."""
    passed = (records.make_passed("a"), records.make_passed("b"))
    beyond = write(9, total=9, results=passed)
    merged = merging.merge([write(1, 1, results=passed, name="all"), beyond], [])

    assert set(get_outcomes(merged).values()) == {"PASS"}
    assert list_problems(merged) == [f"{beyond.directory} is foreign: 9 shards, not 1"]
    assert merging.select_exit_code(merged) is ExitCode.BLOCKED


def test_unusable_record_is_named(write: Write) -> None:
    """A directory that cannot be used is named with its reason."""
    passed = (records.make_passed("a"),)
    merged = merging.merge(
        [write(1, 1, results=passed)], [Unusable(Path("/odd"), "run.json is invalid")]
    )

    assert list_problems(merged) == ["/odd cannot be used: run.json is invalid"]
    assert merging.select_exit_code(merged) is ExitCode.BLOCKED


def test_missing_shard_names_the_unusable_record(write: Write) -> None:
    """The reason of a missing shard mentions a record that cannot be used: it may be that."""
    merged = merging.merge([write(1), write(3)], [Unusable(Path("/odd"), "broken")])

    assert list_problems(merged)[0] == "shard 2 of 3 is missing; /odd cannot be used"


def test_foreign_majority_does_not_hide_the_rest(write: Write) -> None:
    """Without a majority the first record decides, and every other one is foreign."""
    merged = merging.merge([write(1), write(2, common={"commit": "d" * 40})], [])

    assert [bool(shard.problem) for shard in merged.shards] == [False, True, True]


def test_times_are_from_the_first_start(write: Write) -> None:
    """A shard that started later has its attempts later, and the duration is that of all."""
    late = result_factories.STARTED + timedelta(seconds=100)
    merged = merging.merge([write(1, 2, started=late), write(2, 2)], [])

    begun = {scenario.name: scenario.attempts[0].begun for scenario in merged.scenarios}
    own = {result.name: result.attempts[0].begun for result in RESULTS}
    assert {round(begun[name] - own[name]) for name in NAMES} == {0, 100}
    assert merged.seconds == pytest.approx(102.54)
    assert merged.started_at == result_factories.STARTED


def test_notes_have_their_shard(write: Write) -> None:
    """A note of one shard is marked with its number, a note of all shards is not."""
    first = write(1, 2, notes=("odd", "common"), host="one", engine="docker")
    merged = merging.merge([first, write(2, 2, notes=("common",), host="two")], [])

    assert merged.notes == ("shard 1: odd", "common")
    assert merged.host == "one, two"
    assert merged.engine == "docker+bubblewrap"


PASS, SKIP = Attempt(ending=Exited(0)), Attempt(ending=MissingRequirement("no tmux"))
BROKE = Attempt(ending=Broke("no daemon"))
DIRTY = Attempt(ending=Exited(0), leftovers=("box",))


def make(attempt: Attempt, name: str) -> ScenarioResult:
    """Return a scenario with one attempt."""
    return result_factories.make_result(attempt, name=name)


@pytest.mark.parametrize(
    ("attempts", "code"),
    [
        ((PASS, PASS), ExitCode.OK),
        ((PASS, SKIP), ExitCode.OK),
        ((SKIP, SKIP), ExitCode.ALL_SKIPPED),
        ((PASS, Attempt(ending=Exited(3))), ExitCode.BLOCKED),
        ((PASS, BROKE), ExitCode.INFRASTRUCTURE),
        ((PASS, Attempt(ending=Exited(99))), ExitCode.BLOCKED),
        ((Attempt(ending=Exited(3)), BROKE), ExitCode.BLOCKED),
        ((PASS, DIRTY), ExitCode.INFRASTRUCTURE),
    ],
)
def test_exit_code_is_that_of_one_run(
    attempts: tuple[Attempt, Attempt], code: ExitCode, write: Write
) -> None:
    """A merged run exits as `isosmoke run` would for all of its scenarios."""
    results = (make(attempts[0], "a"), make(attempts[1], "b"))
    merged = merging.merge([write(1, 2, results=results), write(2, 2, results=results)], [])

    assert merging.select_exit_code(merged) is code
    assert merged.passed is (code is ExitCode.OK)


def test_stopped_shard_blocks(write: Write) -> None:
    """A shard that was interrupted makes the run fail, even if all of its scenarios had ended."""
    results = (records.make_passed("a"),)
    merged = merging.merge([write(1, 1, results=results, stopped="SIGTERM")], [])

    assert merging.select_exit_code(merged) is ExitCode.BLOCKED


def test_empty_shards_are_fine(write: Write) -> None:
    """Shards without scenarios are recorded, and change nothing."""
    results = (records.make_passed("a"),)
    merged = merging.merge([write(number, 3, results=results) for number in (1, 2, 3)], [])

    assert get_outcomes(merged) == {"a": "PASS"}
    assert len(merged.shards) == 3
    assert merging.select_exit_code(merged) is ExitCode.OK


def test_missing_empty_shard_is_no_pass_in_any_verdict(write: Write) -> None:
    """Every scenario passed, but the missing shard may have had others."""
    results = (records.make_passed("a"),)
    shards = [write(number, 2, results=results) for number in (1, 2)]
    parts = [part for part in shards if part.run.scenarios]
    merged = merging.merge(parts, [])

    assert get_outcomes(merged) == {"a": "PASS"}
    assert merging.select_exit_code(merged) is ExitCode.BLOCKED
    assert not merged.passed
    assert not json_summary.summarize(merged).ok
    page = html.render(merged)
    assert '<h1 class="blocked">Not all shards count: The scenario passed.</h1>' in page
    assert "<title>Not all shards count" in page
    assert 'type="SHARD" message="shard 2 of 2 is missing"' in junit.render(merged)
    assert (
        github.render_annotations(merged, "/p") == "::error title=SHARD::shard 2 of 2 is missing\n"
    )


def test_unfinished_shard_is_no_pass(write: Write) -> None:
    """A shard that was killed after its last result makes the run fail, and `passed` agrees."""
    part = write(1, 1, results=(records.make_passed("a"),))
    killed = replace(part, run=replace(part.run, finished=False))
    merged = merging.merge([killed], [])

    assert merging.select_exit_code(merged) is ExitCode.BLOCKED
    assert not merged.passed
