"""Completeness: every outcome and ending is supported by every report."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from io import StringIO
from pathlib import Path
from pkgutil import iter_modules
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console
from rich.style import Style

from isosmoke import pytest_plugin, reports
from isosmoke.cli.project import schema
from isosmoke.errors import ExitCode
from isosmoke.gate import decision, in_toto, receipt
from isosmoke.manifest.models import Gate
from isosmoke.reports import agent, github, html, json_summary, jsonl, junit, summary, trace
from isosmoke.reports.progress.display import Progress
from isosmoke.results.events import RunFinished, RunStarted, ScenarioFinished
from isosmoke.results.exit_code import select_exit_code
from isosmoke.results.outcome import SKIP_CODE, Outcome, OutcomeFacts
from isosmoke.results.records import creation
from isosmoke.results.records.record_base import render_json
from isosmoke.results.run_results import RunResult, ScenarioResult
from isosmoke.wg_bridge import replies_to_wg
from support import records, result_factories
from support.paths import ROOT

BLOCKING = {outcome for outcome in Outcome if outcome.blocks}
EACH = pytest.mark.parametrize(
    "result", records.make_every_outcome(), ids=lambda result: result.name
)


def build_repeat(name: str) -> tuple[str, ...]:
    """Return a fake command line that repeats a scenario."""
    return ("isosmoke", "run", name)


def render_progress(run: RunResult) -> str:
    """Return the terminal output of a run in progress."""
    console = Console(file=StringIO(), width=200)
    progress = Progress(console, live=False, repeat=build_repeat)
    progress(RunStarted(tuple(result.name for result in run.scenarios), run))
    for result in run.scenarios:
        progress(ScenarioFinished(result))
    progress(RunFinished(run))
    return cast("StringIO", console.file).getvalue()


def render_replay(run: RunResult) -> str:
    """Return the output of `isosmoke show` for a run."""
    console = Console(file=StringIO(), width=200)
    for part in summary.render_run(creation.record_run(run)):
        console.print(part)
    return cast("StringIO", console.file).getvalue()


REPORTS: Mapping[str, Callable[[RunResult], str]] = {
    "agent": lambda run: agent.render(creation.record_run(run), build_repeat),
    "github": lambda run: (
        github.render_summary(creation.record_run(run))
        + github.render_annotations(creation.record_run(run), "/")
    ),
    "html": lambda run: html.render(creation.record_run(run)),
    "json_summary": lambda run: json_summary.render(creation.record_run(run)),
    "jsonl": lambda run: jsonl.render(creation.record_run(run)),
    "junit": lambda run: junit.render(creation.record_run(run)),
    "progress": render_progress,
    "record": lambda run: render_json(creation.record_run(run)),
    "summary": render_replay,
    "trace": lambda run: trace.render(creation.record_run(run)),
}
"""All renderings of a run, by the module that renders it."""


def test_test_records_have_every_outcome() -> None:
    """The records of the tests have every outcome."""
    assert [result.outcome for result in records.make_every_outcome()] == list(Outcome)


def test_no_fact_of_an_outcome_has_a_default() -> None:
    """Each outcome has to set each fact."""
    with pytest.raises(TypeError) as raised:
        OutcomeFacts()  # type: ignore[call-arg]

    assert re.findall(r"'(\w+)'", str(raised.value)) == [
        field.name for field in fields(OutcomeFacts)
    ]


@pytest.mark.parametrize("outcome", Outcome)
def test_facts_are_valid_for_their_readers(outcome: Outcome) -> None:
    """The style and colours are valid, and all facts agree whether the outcome blocks."""
    facts = outcome.facts

    assert Style.parse(facts.console) != Style()
    assert all(re.fullmatch("#[0-9a-f]{3,6}", colour) for colour in facts.page)
    assert not (outcome.blocks and facts.is_skip)
    assert facts.junit in ({"failure", "error", "skipped"} if outcome.blocks else {"", "skipped"})
    if facts.pytest:
        assert (facts.pytest.category == "passed") is not outcome.blocks


def test_ranks_are_unique() -> None:
    """The ranks define a total order of the outcomes."""
    assert sorted(outcome.facts.rank for outcome in Outcome) == list(range(len(Outcome)))


def test_every_report_is_tested() -> None:
    """Each module of reports with outcomes and each kind of file is in `REPORTS`."""
    modules = {module.name for module in iter_modules(reports.__path__)} - {
        *("lanes", "timings", "wording")
    }
    kinds = {"record" if kind == "json" else kind for kind in reports.REPORTS}

    assert modules | kinds == set(REPORTS)


@pytest.mark.parametrize("kind", reports.REPORTS)
def test_every_report_is_documented(kind: str) -> None:
    """The page of commands shows each report as a value of `--report`."""
    page = (ROOT / "docs/commands-by-purpose.md").read_text()

    assert re.search(rf"isosmoke run --report .*\b{kind}=", page)


@pytest.mark.parametrize("report", REPORTS)
@EACH
def test_every_report_names_every_outcome(report: str, result: ScenarioResult) -> None:
    """Each report names the outcome; JUnit names the scenario of a pass instead."""
    text = REPORTS[report](result_factories.make_run(result))

    has_no_name = report == "junit" and not result.outcome.facts.junit
    assert (result.name if has_no_name else str(result.outcome)) in text


@pytest.mark.parametrize("outcome", Outcome)
def test_page_has_rules_for_every_outcome(outcome: Outcome) -> None:
    """The HTML page has both colours of each outcome."""
    page = html.render(creation.record_run(result_factories.make_run()))

    light, dark = re.findall(rf"--{outcome}: (#\w+);", page)
    assert (light, dark) == outcome.facts.page
    assert f".{outcome} {{ --accent: var(--{outcome}); }}" in page


@EACH
def test_gate_exit_code_and_wg_agree_on_every_outcome(result: ScenarioResult) -> None:
    """A blocking outcome shuts the gate, fails the run and fails for wg; no other outcome does."""
    run = result_factories.make_run(result)
    verdict = decision.judge_run(run, Gate(), task="task-a")
    reply = replies_to_wg.create_reply(result, Path("/p/manifest.toml"))

    assert verdict.open is not result.outcome.blocks
    assert str(result.outcome) in "\n".join(verdict.lines)
    if result.outcome.facts.is_skip:
        assert (select_exit_code(run), reply.code) == (ExitCode.ALL_SKIPPED, SKIP_CODE)
    else:
        assert (select_exit_code(run) is not ExitCode.OK) is result.outcome.blocks
        assert (reply.code != 0) is result.outcome.blocks


@pytest.mark.parametrize("outcome", Outcome)
def test_receipt_has_each_tested_outcome_in_one_list(outcome: Outcome) -> None:
    """A scenario is in one list; a skipped one is in none, and alone it is not a success."""
    about = receipt.Circumstances(
        task="task-a",
        open=not outcome.blocks,
        tested_at="2026-11-22T12:30:00Z",
        manifest="manifest.toml",
        outcomes={"one": outcome},
        engine="bubblewrap",
    )
    predicate = receipt.create_statement(
        about, in_toto.create_named_resource("binary", "wg"), ()
    ).predicate

    lists = {
        "passed": predicate.passed_tests,
        "warned": predicate.warned_tests,
        "failed": predicate.failed_tests,
    }
    expected = [] if outcome.facts.is_skip else [outcome.facts.effect]
    assert [effect for effect, names in lists.items() if names] == expected
    assert predicate.result == (*expected, "failed")[0].upper()


@pytest.mark.parametrize("outcome", Outcome)
def test_pytest_has_a_status_for_every_outcome(outcome: Outcome) -> None:
    """The status is that of the facts, or one of pytest itself."""
    report = SimpleNamespace(when="call", user_properties=[("isosmoke_outcome", str(outcome))])
    status = pytest_plugin.pytest_report_teststatus(cast("pytest.TestReport", report))

    facts = outcome.facts.pytest
    expected = facts and (facts.category, facts.letter, (str(outcome), {facts.colour: True}))
    assert status == expected


def find_enumerations(document: Any) -> Iterator[list[str]]:
    """Yield each list of outcomes in a schema."""
    if isinstance(document, dict):
        if "Outcome" in document:
            yield document["Outcome"]["enum"]
        for value in document.values():
            yield from find_enumerations(value)


def test_schemas_list_every_outcome() -> None:
    """Each schema with an outcome allows exactly the members."""
    enumerations = [
        enumeration
        for name in schema.find_documents()
        for enumeration in find_enumerations(schema.build_schema(name))
    ]

    assert enumerations
    assert all(enumeration == list(Outcome) for enumeration in enumerations)


def find_outcomes(text: str) -> set[Outcome]:
    """Return the outcomes that a text names."""
    names = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b", text))
    return {outcome for outcome in Outcome if outcome in names}


def test_pages_describe_every_outcome() -> None:
    """The pages on outcomes and on the gate name each outcome and classify it correctly."""
    page = (ROOT / "docs/outcomes.md").read_text()
    section = page.partition("\n## Outcomes\n")[2].partition("\n## ")[0]
    (succeeding,) = re.findall(r"\. ([^.]*) let a run succeed", section)
    rules = (ROOT / "docs/gate-rules.md").read_text()
    (shutting,) = re.findall(r"\| any ([^|]*) \| 1 \|", rules)

    assert find_outcomes(section) == set(Outcome)
    assert find_outcomes(succeeding) == set(Outcome) - BLOCKING
    assert find_outcomes(shutting) == BLOCKING


def test_pytest_documentation_describes_every_outcome() -> None:
    """The table has a row for each outcome, with its letter if pytest has none."""
    text = (ROOT / "docs/pytest.md").read_text()
    table = text.partition("| outcome | in pytest |\n")[2].partition("\n\n")[0]
    rows = {
        outcome: row for row in table.splitlines() for outcome in find_outcomes(row.split("|")[1])
    }

    assert set(rows) == set(Outcome)
    for outcome, row in rows.items():
        status = outcome.facts.pytest
        if status and status.category != "error":
            assert f"`{status.letter}`" in row
