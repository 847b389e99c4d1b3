"""Ways to tell of a run: events or results in, text out. `REPORTS` has those that are files."""

from collections.abc import Callable, Mapping

from isosmoke.results import run_record
from isosmoke.results.run_record import RunRecord


def _junit(run: RunRecord) -> str:
    from isosmoke.reports import junit

    return junit.render(run)


def _jsonl(run: RunRecord) -> str:
    from isosmoke.reports import jsonl

    return jsonl.render(run)


def _trace(run: RunRecord) -> str:
    from isosmoke.reports import trace

    return trace.render(run)


def _html(run: RunRecord) -> str:
    from isosmoke.reports import html

    return html.render(run)


REPORTS: Mapping[str, Callable[[RunRecord], str]] = {
    "junit": _junit,
    "json": run_record.render,
    "jsonl": _jsonl,
    "trace": _trace,
    "html": _html,
}
"""Map the name of each report to the function that renders it.

A new report is one module and one line here: `--report`, `isosmoke report`, their help and their
completion follow. A module is imported when it renders, because some take long to import.
"""
