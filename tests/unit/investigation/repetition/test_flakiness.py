"""Failure rates over records: equal inputs only, and only attempts that passed or failed."""

from pathlib import Path

from isosmoke.investigation.repetition.flakiness import FlakyDocument, measure_rates
from isosmoke.results.outcome import Broke, Ending, Exited, Outcome, Stopped
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt
from support import result_factories
from support.records import make_record


def record(
    *endings: Ending, script: str = "s1", binary: str = "b1", number: int = 1, alone: bool = True
) -> RunRecord:
    """Return the record of a run with one scenario that ended so."""
    attempts = [Attempt(ending=ending, script_sha256=script, alone=alone) for ending in endings]
    return make_record(
        result_factories.make_result(*attempts),
        binary=(Path("/wg"), binary) if binary else None,
        record=Path(f"/p/.isosmoke/runs/{number}"),
    )


def measure(*records: RunRecord) -> FlakyDocument:
    """Return the rates of all scenarios of these records."""
    return measure_rates(records, lambda _: True)


PASS, FAIL = Exited(0), Exited(1)


def test_attempts_with_equal_inputs_are_counted_together() -> None:
    """Attempts of several runs are one rate; a failure and its retry are two attempts."""
    (rate,) = measure(record(FAIL, PASS, number=1), record(PASS, number=2)).scenarios

    assert (rate.rate.failed, rate.rate.runs, rate.runs, rate.is_flaky) == (1, 3, 2, True)
    assert [(item.outcome, item.reason, item.count) for item in rate.reasons] == [
        (Outcome.FAIL, "exit 1", 1)
    ]


def test_other_binary_or_script_is_counted_apart() -> None:
    """A rebuilt binary and a rewritten script start new rates, none of which is flaky."""
    rates = measure(
        record(PASS), record(FAIL, binary="b2"), record(FAIL, script="s2"), record(FAIL, binary="")
    ).scenarios

    assert len(rates) == 4
    assert not any(rate.is_flaky for rate in rates)


def test_only_passes_and_failures_count() -> None:
    """A skip, an interrupt and a broken engine say nothing; a hard error of the script does."""
    (rate,) = measure(
        record(Exited(77)),
        record(Stopped("SIGINT")),
        record(Broke("no")),
        record(Exited(99)),
        record(PASS),
    ).scenarios

    assert (rate.rate.failed, rate.rate.runs) == (1, 2)


def test_failures_next_to_others_are_counted_apart() -> None:
    """The rate of attempts that ran alone and that of the others are both there."""
    (rate,) = measure(record(FAIL, FAIL, alone=False), record(PASS)).scenarios

    assert (rate.alone.failed, rate.alone.runs) == (0, 1)
    assert (rate.together.failed, rate.together.runs) == (2, 2)


def test_former_records_are_not_counted() -> None:
    """A record without the hash of the script cannot be compared with others."""
    document = measure(record(FAIL, script=""), record(PASS))

    assert document.uncounted == 1
    assert document.scenarios[0].rate.runs == 1


def test_flaky_scenarios_are_first() -> None:
    """The order is by flakiness, then by failures."""
    rates = measure(
        record(FAIL, FAIL, FAIL, script="always"), record(PASS, FAIL, script="sometimes")
    ).scenarios

    assert [rate.script_sha256 for rate in rates] == ["sometimes", "always"]
