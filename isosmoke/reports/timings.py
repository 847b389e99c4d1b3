"""A table of the time that each scenario took in each step of its attempts."""

from collections.abc import Iterable, Mapping, Sequence

from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.text import escape_controls

_WAIT, _RECORD, _TOTAL = "wait", "record", "total"
_PHASES = {
    "services": "services",
    "create": "create",
    "start": "start",
    "run": "script",
    "settle": "settle",
    "list": "list",
    "panes": "collect",
    "collect": "collect",
    "destroy": "destroy",
}
"""The column of each phase; a phase of a later version has its own column."""

_WIDTH = 9


def render(run: RunRecord) -> str:
    """Return the table, with the longest scenario first, and a line about the whole run.

    All times are in seconds. `wait` is the time for a slot, a lock or a confirmation, and `record`
    that for writing the result; `total` includes neither.
    """
    rows = {scenario.name: _add_up(scenario, run) for scenario in run.scenarios}
    names = sorted(rows, key=lambda name: -rows[name].get(_TOTAL, 0.0))
    columns = _list_columns(rows.values())
    width = max(map(len, (*map(escape_controls, names), "seconds", "all")))
    total = {column: sum(row.get(column, 0.0) for row in rows.values()) for column in columns}
    lines = [
        _format("seconds", columns, width),
        *(_format(escape_controls(name), _show(rows[name], columns), width) for name in names),
        _format("all", _show(total, columns), width),
        _describe_run(run),
    ]
    return "\n".join(lines) + "\n"


def _add_up(scenario: ScenarioRecord, run: RunRecord) -> dict[str, float]:
    """Return the time in each column, of all attempts together."""
    row: dict[str, float] = {_WAIT: sum(attempt.waited for attempt in scenario.attempts)}
    for attempt in scenario.attempts:
        for phase, seconds in attempt.phases.items():
            column = _PHASES.get(phase, phase)
            row[column] = row.get(column, 0.0) + seconds
    row[_TOTAL] = sum(seconds for column, seconds in row.items() if column != _WAIT)
    row[_RECORD] = run.recording.get(scenario.name, 0.0)
    return row


def _list_columns(rows: Iterable[Mapping[str, float]]) -> list[str]:
    """Return the columns with any time, in the order of the steps."""
    used = dict.fromkeys(column for row in rows for column, seconds in row.items() if seconds)
    known = dict.fromkeys(_PHASES.values())
    others = [column for column in used if column not in (*known, _WAIT, _RECORD, _TOTAL)]
    order = (_WAIT, *known, *others, _TOTAL, _RECORD)
    return [column for column in order if column in used]


def _show(row: Mapping[str, float], columns: Sequence[str]) -> list[str]:
    return [f"{row.get(column, 0.0):.3f}" for column in columns]


def _format(name: str, cells: Sequence[str], width: int) -> str:
    return name.ljust(width) + "".join(cell.rjust(max(_WIDTH, len(cell) + 1)) for cell in cells)


def _describe_run(run: RunRecord) -> str:
    """Return the time before the first attempt, from then to the end of the last, and after it."""
    attempts = [attempt for scenario in run.scenarios for attempt in scenario.attempts]
    tried = [attempt for attempt in attempts if attempt.phases]
    if not tried:
        return f"the run took {run.seconds:.3f} s"
    first = min(attempt.begun for attempt in tried)
    last = max(attempt.begun + attempt.seconds for attempt in tried)
    return (
        f"the run took {run.seconds:.3f} s: {first:.3f} s before the first attempt, "
        f"{last - first:.3f} s with attempts, {max(0.0, run.seconds - last):.3f} s after the last"
    )
