"""An outcome, an ending or a report that is added is missing nowhere."""

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
from isosmoke.execution import session
from isosmoke.gate import decision, receipt
from isosmoke.manifest.models import Gate
from isosmoke.reports import agent, github, html, jsonl, junit, summary, trace
from isosmoke.reports.progress import Progress
from isosmoke.results import run_record
from isosmoke.results.events import RunFinished, RunStarted, ScenarioFinished
from isosmoke.results.outcome import SKIP_CODE, Facts, Outcome
from isosmoke.results.run_results import RunResult, ScenarioResult
from isosmoke.wg_bridge import wg_replies
from support import records, result_factories
from support.paths import ROOT

BLOCKING = {one for one in Outcome if one.blocks}
EACH = pytest.mark.parametrize("one", records.every_outcome(), ids=lambda one: one.name)


def repeat(name: str) -> tuple[str, ...]:
    """Return a command line that stands for the one that repeats a scenario."""
    return ("isosmoke", "run", name)


def on_console(run: RunResult) -> str:
    """Return what a terminal shows while a run goes on."""
    console = Console(file=StringIO(), width=200)
    show = Progress(console, live=False, repeat=repeat)
    show(RunStarted(tuple(one.name for one in run.scenarios), run))
    for one in run.scenarios:
        show(ScenarioFinished(one))
    show(RunFinished(run))
    return cast("StringIO", console.file).getvalue()


def replayed(run: RunResult) -> str:
    """Return what `isosmoke show` prints of a run."""
    console = Console(file=StringIO(), width=200)
    for part in summary.replay(run_record.of(run)):
        console.print(part)
    return cast("StringIO", console.file).getvalue()


REPORTS: Mapping[str, Callable[[RunResult], str]] = {
    "agent": lambda run: agent.render(run_record.of(run), repeat),
    "github": lambda run: (
        github.summary(run_record.of(run)) + github.annotations(run_record.of(run), "/")
    ),
    "html": lambda run: html.render(run_record.of(run)),
    "jsonl": lambda run: jsonl.render(run_record.of(run)),
    "junit": lambda run: junit.render(run_record.of(run)),
    "progress": on_console,
    "record": lambda run: run_record.render(run_record.of(run)),
    "summary": replayed,
    "trace": lambda run: trace.render(run_record.of(run)),
}
"""Every way to tell of a run, by the module that does."""


def test_records_of_the_tests_have_every_outcome() -> None:
    """A test over these records leaves no outcome out."""
    assert [one.outcome for one in records.every_outcome()] == list(Outcome)


def test_no_fact_of_an_outcome_has_a_default() -> None:
    """Each outcome has to say each fact itself."""
    with pytest.raises(TypeError) as raised:
        Facts()  # type: ignore[call-arg]

    assert re.findall(r"'(\w+)'", str(raised.value)) == [one.name for one in fields(Facts)]


@pytest.mark.parametrize("outcome", Outcome)
def test_facts_are_what_their_readers_take(outcome: Outcome) -> None:
    """The style is one of rich's, the colours are CSS, and all facts agree whether it blocks."""
    facts = outcome.facts

    assert Style.parse(facts.console) != Style()
    assert all(re.fullmatch("#[0-9a-f]{3,6}", colour) for colour in facts.page)
    assert not (outcome.blocks and facts.is_skip)
    assert facts.junit in ({"failure", "error", "skipped"} if outcome.blocks else {"", "skipped"})
    if facts.pytest:
        assert (facts.pytest.category == "passed") is not outcome.blocks


def test_no_two_outcomes_have_one_rank() -> None:
    """What needs a look comes first on the page, in an order without chance."""
    assert sorted(one.facts.rank for one in Outcome) == list(range(len(Outcome)))


def test_every_report_is_among_those_that_are_tried() -> None:
    """No module of reports and no kind of file is left out; `wording` is what they share."""
    modules = {one.name for one in iter_modules(reports.__path__)} - {"wording"}
    kinds = {"record" if kind == "json" else kind for kind in reports.REPORTS}

    assert modules | kinds == set(REPORTS)


@pytest.mark.parametrize("report", REPORTS)
@EACH
def test_every_report_tells_of_every_outcome(report: str, one: ScenarioResult) -> None:
    """Each names the outcome; JUnit has no word for a pass, and names the scenario."""
    told = REPORTS[report](result_factories.run(one))

    is_untold = report == "junit" and not one.outcome.facts.junit
    assert (one.name if is_untold else str(one.outcome)) in told


@pytest.mark.parametrize("outcome", Outcome)
def test_page_has_rules_for_every_outcome(outcome: Outcome) -> None:
    """Its class has the colours that its facts give, on light paper and on dark."""
    page = html.render(run_record.of(result_factories.run()))

    light, dark = re.findall(rf"--{outcome}: (#\w+);", page)
    assert (light, dark) == outcome.facts.page
    assert f"b.{outcome}, td.{outcome} {{ color: var(--{outcome}); }}" in page
    assert f".{outcome} {{ --edge: var(--{outcome}); }}" in page


@EACH
def test_gate_exit_code_and_wg_agree_on_every_outcome(one: ScenarioResult) -> None:
    """What blocks shuts the gate, makes a run fail and fails for wg; nothing else does."""
    run = result_factories.run(one)
    verdict = decision.verdict(run, Gate(), task="task-a")
    reply = wg_replies.of(one, Path("/p/manifest.toml"))

    assert verdict.open is not one.outcome.blocks
    assert str(one.outcome) in "\n".join(verdict.lines)
    if one.outcome.facts.is_skip:
        assert (session.exit_code(run), reply.code) == (ExitCode.ALL_SKIPPED, SKIP_CODE)
    else:
        assert (session.exit_code(run) is not ExitCode.OK) is one.outcome.blocks
        assert (reply.code != 0) is one.outcome.blocks


@pytest.mark.parametrize("outcome", Outcome)
def test_receipt_has_every_outcome_in_one_list(outcome: Outcome) -> None:
    """A scenario is among the passed, the warned or the failed ones, and in no two of them."""
    about = receipt.Circumstances(
        task="task-a",
        open=not outcome.blocks,
        tested_at="2026-11-22T12:30:00Z",
        manifest="manifest.toml",
        outcomes={"one": outcome},
        engine="bubblewrap",
    )
    told = receipt.statement(about, receipt.named("binary", "wg"), ()).predicate

    lists = {
        "passed": told.passed_tests,
        "warned": told.warned_tests,
        "failed": told.failed_tests,
    }
    assert [effect for effect, names in lists.items() if names] == [outcome.facts.effect]
    assert told.result == outcome.facts.effect.upper()


@pytest.mark.parametrize("outcome", Outcome)
def test_pytest_has_a_status_of_every_outcome(outcome: Outcome) -> None:
    """It is the one of the facts, or pytest's own."""
    report = SimpleNamespace(when="call", user_properties=[("isosmoke_outcome", str(outcome))])
    status = pytest_plugin.pytest_report_teststatus(cast("pytest.TestReport", report))

    facts = outcome.facts.pytest
    told = facts and (facts.category, facts.letter, (str(outcome), {facts.colour: True}))
    assert status == told


def enumerations(document: Any) -> Iterator[list[str]]:
    """Yield each list of outcomes in a schema."""
    if isinstance(document, dict):
        if "Outcome" in document:
            yield document["Outcome"]["enum"]
        for value in document.values():
            yield from enumerations(value)


def test_schemas_list_every_outcome() -> None:
    """Each document that has an outcome allows the members and nothing else."""
    found = [one for name in schema.documents() for one in enumerations(schema.of(name))]

    assert found
    assert all(one == [outcome.value for outcome in Outcome] for one in found)


def words(text: str) -> set[Outcome]:
    """Return the outcomes that a text names."""
    found = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b", text))
    return {one for one in Outcome if one in found}


def test_readme_tells_of_every_outcome() -> None:
    """The section names each, and says of the right ones that they block or let a run succeed."""
    readme = (ROOT / "README.md").read_text()
    section = readme.partition("\n## Outcomes\n")[2].partition("\n## ")[0]
    (succeeding,) = re.findall(r"\. ([^.]*) let a run succeed", section)
    (shutting,) = re.findall(r"\| any ([^|]*) \| 1 \|", readme)

    assert words(section) == set(Outcome)
    assert words(succeeding) == set(Outcome) - BLOCKING
    assert words(shutting) == BLOCKING


def test_documentation_of_pytest_tells_of_every_outcome() -> None:
    """Its table has a row for each, with the letter where that is not pytest's own."""
    text = (ROOT / "docs/pytest.md").read_text()
    table = text.partition("| outcome | in pytest |\n")[2].partition("\n\n")[0]
    rows = {outcome: row for row in table.splitlines() for outcome in words(row.split("|")[1])}

    assert set(rows) == set(Outcome)
    for outcome, row in rows.items():
        status = outcome.facts.pytest
        if status and status.category != "error":
            assert f"`{status.letter}`" in row
