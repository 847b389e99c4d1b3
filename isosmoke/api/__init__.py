"""The Python API: run a command or scenarios, with the documents of `--json` as results.

`import isosmoke` offers its names and imports this package when one of them is first used.
docs/python-api.md has examples, and says what stays as it is.
"""

import sys

from isosmoke.errors import IsosmokeError, explain_other_system

if _reason := explain_other_system(sys.platform):
    raise ImportError(_reason)

from isosmoke.api.running import run, run_scenarios
from isosmoke.api.sandbox_options import SandboxOptions
from isosmoke.interrupt import Interrupt
from isosmoke.reports.jsonl import AnyLine as Event
from isosmoke.results.outcome import Outcome
from isosmoke.results.run_record import RunRecord, ScenarioRecord

__all__ = [
    "Event",
    "Interrupt",
    "IsosmokeError",
    "Outcome",
    "RunRecord",
    "SandboxOptions",
    "ScenarioRecord",
    "run",
    "run_scenarios",
]
