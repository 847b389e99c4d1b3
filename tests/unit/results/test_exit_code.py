"""The exit code of a run, of its record, and of a command that a signal ended."""

from dataclasses import replace
from itertools import product

import pytest

from isosmoke.errors import ExitCode
from isosmoke.results.exit_code import select_exit_code
from isosmoke.results.outcome import Broke, Ending, Exited
from isosmoke.results.records import creation
from isosmoke.results.run_results import Attempt
from support import records, result_factories


@pytest.mark.parametrize(
    ("ending", "code"), [(Exited(0), 125), (Exited(77), 125), (Exited(1), 1), (Broke("no"), 125)]
)
def test_cleanup_failure_is_infrastructure_error_unless_blocking(ending: Ending, code: int) -> None:
    """A run with a failed cleanup never ends as a success, and hides no failure."""
    attempt = Attempt(ending=ending, leftovers=("box",))
    run = result_factories.make_run(result_factories.make_result(attempt))

    assert select_exit_code(run) == code


@pytest.mark.parametrize(
    ("name", "code"),
    [("SIGINT", ExitCode.INTERRUPTED), ("SIGHUP", ExitCode.INTERRUPTED), ("SIGTERM", 143)],
)
def test_signal_decides_before_outcomes(name: str, code: int) -> None:
    """A run that a signal cut short exits with the code of the signal, whatever had failed."""
    run = result_factories.make_run(*records.make_every_outcome())

    assert ExitCode.for_signal(name) == code
    assert select_exit_code(replace(run, stopped=name)) == code


def test_run_without_scenarios_is_no_success() -> None:
    """Only a shard may be empty."""
    assert select_exit_code(result_factories.make_run()) is ExitCode.ALL_SKIPPED


def test_record_has_exit_code_of_its_run() -> None:
    """The record of a run leads to the same exit code as the run, for every pair of outcomes."""
    for pair in product(records.make_every_outcome(), repeat=2):
        run = result_factories.make_run(*pair)

        assert select_exit_code(creation.record_run(run)) is select_exit_code(run)
