"""The registry of reports."""

import subprocess
import sys

import pytest

from isosmoke.reports import REPORTS
from isosmoke.results.outcome import Outcome
from support import records


@pytest.mark.parametrize("name", REPORTS)
def test_each_report_renders_every_outcome(name: str) -> None:
    """A report on all outcomes names each scenario that ran; a summary only counts what passed."""
    scenarios = records.make_every_outcome()
    ran = [scenario for scenario in scenarios if any(each.phases for each in scenario.attempts)]
    shown = [each.name for each in ran if name != "summary" or each.outcome is not Outcome.PASS]

    text = REPORTS[name](records.make_record(*scenarios))

    assert {"good", "bad"} <= {scenario.name for scenario in ran}
    assert "bad" in shown
    assert [scenario for scenario in shown if scenario not in text] == []
    assert text.endswith("\n")


@pytest.mark.parametrize("name", REPORTS)
def test_each_report_renders_a_run_without_scenarios(name: str) -> None:
    """A run that was stopped before its first scenario still has a report."""
    assert REPORTS[name](records.make_record()).endswith("\n")


def test_registry_imports_no_report() -> None:
    """Reading the names imports neither templates nor XML."""
    script = "import sys, isosmoke.reports; print(*sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    loaded = done.stdout.split()
    assert "isosmoke.reports" in loaded
    assert not [module for module in loaded if module.startswith("isosmoke.reports.")]
    assert "jinja2" not in loaded
