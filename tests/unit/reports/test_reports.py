"""The registry of reports."""

import subprocess
import sys

import pytest

from isosmoke.reports import REPORTS
from support import records


@pytest.mark.parametrize("name", REPORTS)
def test_each_report_renders_every_outcome(name: str) -> None:
    """A record of all outcomes becomes a report that names at least each scenario that ran."""
    scenarios = records.every_outcome()
    ran = [one.name for one in scenarios if any(each.phases for each in one.attempts)]

    text = REPORTS[name](records.of(*scenarios))

    assert {"good", "bad"} <= set(ran)
    assert [one for one in ran if one not in text] == []
    assert text.endswith("\n")


@pytest.mark.parametrize("name", REPORTS)
def test_each_report_renders_a_run_without_scenarios(name: str) -> None:
    """A run that ended before its first scenario still gets a report."""
    assert REPORTS[name](records.of()).endswith("\n")


def test_registry_imports_no_report() -> None:
    """Reading the names costs no import of templates or XML."""
    script = "import sys, isosmoke.reports; print(*sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    loaded = done.stdout.split()
    assert "isosmoke.reports" in loaded
    assert not [one for one in loaded if one.startswith("isosmoke.reports.")]
    assert "jinja2" not in loaded
