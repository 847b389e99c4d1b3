"""Reports, which render events or results as text; `REPORTS` lists those written to files."""

from collections.abc import Callable, Mapping

from isosmoke.results.records.record_base import render_json
from isosmoke.results.run_record import RunRecord


def _render_junit(run: RunRecord) -> str:
    from isosmoke.reports import junit

    return junit.render(run)


def _render_jsonl(run: RunRecord) -> str:
    from isosmoke.reports import jsonl

    return jsonl.render(run)


def _render_trace(run: RunRecord) -> str:
    from isosmoke.reports import trace

    return trace.render(run)


def _render_html(run: RunRecord) -> str:
    from isosmoke.reports import html

    return html.render(run)


def _render_json_summary(run: RunRecord) -> str:
    from isosmoke.reports import json_summary

    return json_summary.render(run)


REPORTS: Mapping[str, Callable[[RunRecord], str]] = {
    "junit": _render_junit,
    "json": render_json,
    "summary": _render_json_summary,
    "jsonl": _render_jsonl,
    "trace": _render_trace,
    "html": _render_html,
}
"""A mapping from the name of each report to the function that renders it.

To add a report, add its module and an entry here; `--report`, `isosmoke report`, their help and
their completion use this mapping. Each module is imported on first use, because some are slow to
import.
"""
