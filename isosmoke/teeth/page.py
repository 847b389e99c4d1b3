"""The results of a measurement as a self-contained HTML page without scripts (pure)."""

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment, StrictUndefined

from isosmoke.reports.html import render_policy
from isosmoke.teeth import report
from isosmoke.teeth.report import ScenarioTeeth, TeethDocument
from isosmoke.teeth.sabotages import Sabotage
from isosmoke.text import escape_controls

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif; }
body { margin: 2em; }
td, th { border: 1px solid #8888; padding: .2em .5em; text-align: left; }
table { border-collapse: collapse; }
td.SURVIVED, td.IMPLIED, td.ESCAPED, td.ERROR { background: #b3151e33; }
td.BITES { background: #14682f33; }
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>isosmoke teeth</title>
<meta http-equiv="Content-Security-Policy" content="{{ policy }}"><style>{{ style }}</style></head>
<body><h1>Teeth</h1>
<p>{{ document.runs }} sabotaged runs, {{ document.reused }} reused</p>
<p>binary {{ document.binary }}</p>
<h2>Fix first</h2><ol>{% for gap in gaps %}<li>{{ gap }}</li>{% endfor %}</ol>
{% for scenario in scenarios %}
<h2>{{ scenario.name }}: {{ scenario.outcome }}</h2><p>{{ scenario.reason }}</p>
<table><tr><th>subcommand</th>{% for name in columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in scenario.rows %}<tr><th>{{ row.command }}</th>
{% for cell in row.cells %}
<td class="{{ cell.verdict }}" title="{{ cell.why }}">{{ cell.verdict }}</td>
{% endfor %}</tr>{% endfor %}</table>
{% endfor %}</body></html>
"""


def render(document: TeethDocument) -> str:
    """Return the page as text, to be encoded in UTF-8."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(_PAGE).render(
        policy=render_policy(_STYLE),
        style=_STYLE,
        document=document,
        gaps=[escape_controls(line) for line in report.render_gaps(document.gaps)],
        columns=[sabotage.value for sabotage in Sabotage],
        scenarios=[_describe_scenario(scenario) for scenario in document.scenarios],
    )


def _describe_scenario(scenario: ScenarioTeeth) -> Mapping[str, Any]:
    names = dict.fromkeys(cell.subcommand for cell in scenario.cells)
    return {
        "name": scenario.name,
        "outcome": scenario.outcome.value,
        "reason": escape_controls(scenario.reason),
        "rows": [
            {
                "command": escape_controls(report.format_command(name)),
                "cells": [*_list_cells(scenario, name)],
            }
            for name in names
        ],
    }


def _list_cells(scenario: ScenarioTeeth, subcommand: str) -> Iterator[Mapping[str, str]]:
    """Yield a cell for each sabotage; one that was not decided is empty."""
    cells = {cell.sabotage: cell for cell in scenario.cells if cell.subcommand == subcommand}
    for sabotage in Sabotage:
        cell = cells.get(sabotage)
        verdict = "" if cell is None else cell.verdict.value
        parts = () if cell is None else (cell.proves, cell.reason)
        yield {"verdict": verdict, "why": escape_controls(": ".join(filter(None, parts)))}
