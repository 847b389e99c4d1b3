"""The registry of reports."""

import subprocess
import sys

import pytest

from isosmoke.reports import REPORTS
from support import records


@pytest.mark.parametrize("name", REPORTS)
def test_each_report_renders_every_outcome(name: str) -> None:
    """A report on all outcomes names at least each scenario that ran."""
    scenarios = records.make_every_outcome()
    ran = [
        scenario.name for scenario in scenarios if any(each.phases for each in scenario.attempts)
    ]

    text = REPORTS[name](records.make_record(*scenarios))

    assert {"good", "bad"} <= set(ran)
    assert [name for name in ran if name not in text] == []
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
