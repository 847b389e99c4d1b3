"""Report as one self-contained HTML page, complete without its script, and without any network.

Output of scripts stays text: control characters are made visible, then everything is escaped. The
page's Content-Security-Policy forbids everything except its one style sheet and its one script.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from isosmoke.reports.html import overview, page_files, scenarios, timeline, verdict
from isosmoke.reports.html.scenarios import Row
from isosmoke.reports.html.supplement import NOTHING, Supplement
from isosmoke.results.run_record import RunRecord, ScenarioRecord

MAX_COMPLETE = 200
"""The number of scenarios that are shown with everything; further ones are shown briefly."""

_MAX_OPEN = 3
"""The maximum number of failures that are expanded; if there are more, only the first one is."""

_MANY = 1000
"""The number of scenarios from which the output of brief ones is left out."""

_BRIEF_LINES = 10


def select_complete(run: RunRecord) -> list[ScenarioRecord]:
    """Return the scenarios that are shown with everything, in the order of the page."""
    return _list_prominent(run)[:MAX_COMPLETE]


def _list_prominent(run: RunRecord) -> list[ScenarioRecord]:
    return [item for item in _sort(run) if item.outcome.facts.effect != "passed"]


def _sort(run: RunRecord) -> list[ScenarioRecord]:
    return sorted(run.scenarios, key=lambda scenario: scenario.outcome.facts.rank)


def render(run: RunRecord, supplement: Supplement = NOTHING) -> str:
    """Return the page as text, to be encoded in UTF-8."""
    ordered, prominent = _sort(run), _list_prominent(run)
    passing = [item for item in ordered if item.outcome.facts.effect == "passed"]
    blocking = sum(scenario.blocks for scenario in ordered)
    script = page_files.load_script()
    sheet = page_files.load_style()
    text = page_files.load_template("page.html.jinja").render(
        policy=page_files.render_policy(sheet, script),
        style=sheet,
        script=script,
        headline=verdict.summarize(run),
        verdict=verdict.describe(run),
        is_blocking=blocking > 0 or not run.is_whole,
        counts=verdict.sort_by_rank(run.counts),
        total=len(run.scenarios),
        identity=[*verdict.list_identity(run)],
        origins=[*verdict.list_origins(run)],
        notes=verdict.list_notes(run),
        dirty=verdict.list_leftovers(run),
        prominent=_describe_prominent(run, prominent, supplement),
        opened=[item.name for item in prominent[: blocking if blocking <= _MAX_OPEN else 1]],
        firsts={item.outcome: item.name for item in reversed(ordered)}.values(),
        complete=MAX_COMPLETE,
        passing=_describe_passing(run, passing, supplement),
        lists_output=len(passing) < _MANY,
        timeline=timeline.build_timeline(run),
        row_height=timeline.ROW,
        slowest=overview.list_slowest(run, supplement),
        leaks=overview.list_leak_groups(run),
        flaky=[*overview.list_flaky(run, supplement)],
        teeth=supplement.teeth,
        run_id=verdict.describe_run(run),
        version=verdict.describe_version(run),
        schema=run.schema_version,
    )
    return f"{text}\n"


def _describe_prominent(
    run: RunRecord, prominent: Sequence[ScenarioRecord], supplement: Supplement
) -> list[Row]:
    complete = islice(prominent, MAX_COMPLETE)
    brief = islice(prominent, MAX_COMPLETE, None)
    return [
        *(scenarios.describe(run, item, supplement) for item in complete),
        *_describe_briefly(run, brief, supplement, lines=0 if len(prominent) > _MANY else 2),
    ]


def _describe_passing(
    run: RunRecord, passing: Sequence[ScenarioRecord], supplement: Supplement
) -> list[Row]:
    lines = _BRIEF_LINES if len(passing) < _MANY else 0
    return [*_describe_briefly(run, passing, supplement, lines=lines)]


def _describe_briefly(
    run: RunRecord, items: Iterable[ScenarioRecord], supplement: Supplement, *, lines: int
) -> Iterator[Row]:
    """Yield rows with few details; in a large run, they do not repeat the same long command."""
    repeats = len(run.scenarios) < _MANY
    for item in items:
        yield scenarios.describe_briefly(run, item, supplement, lines=lines, repeats=repeats)
