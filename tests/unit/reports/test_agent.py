"""The report for coding agents."""

from pathlib import Path

import pytest

from isosmoke.host.caller_process import AGENT_VARIABLES
from isosmoke.reports import agent
from isosmoke.results.events import RunFinished, RunStarted
from isosmoke.results.outcome import Exited, Stopped, TimedOut
from isosmoke.results.records import creation
from isosmoke.results.run_results import Attempt, CapturedOutput, RunResult, ScenarioResult
from support import records, result_factories

LOG = Path("/p/.isosmoke/runs/1/bad/output-1.log")


def capture(text: str) -> CapturedOutput:
    """Return an output that is short enough to be captured whole."""
    return CapturedOutput(head=text.encode(), size=len(text.encode()))


def create_run(*scenarios: ScenarioResult, stopped: str = "") -> RunResult:
    """Return a run of these scenarios."""
    return result_factories.make_run(*scenarios, seconds=2.5, stopped=stopped)


def create_result(name: str, *attempts: Attempt, assertion: str = "") -> ScenarioResult:
    """Return the result of a scenario with these attempts."""
    return result_factories.make_result(*attempts, name=name, assertion=assertion)


def render_lines(*scenarios: ScenarioResult, stopped: str = "") -> list[str]:
    """Return the lines of the report."""
    record = creation.record_run(create_run(*scenarios, stopped=stopped))
    text = agent.render(record, lambda name: ("isosmoke", "run", name))
    return text.splitlines()


GOOD = create_result("good", Attempt(ending=Exited(0)))
SKIPPED = create_result(
    "skipped", Attempt(ending=Exited(77), stderr=capture("reason: no network\n"))
)
BAD = create_result(
    "bad",
    Attempt(ending=Exited(3), stderr=capture("broken\n"), output=capture("broken\n"), log=LOG),
    assertion="It never\nbreaks.",
)


def test_report_has_one_line_per_problem() -> None:
    """Failures come first, then skips, counts, the path of the logs, and further commands."""
    assert render_lines(GOOD, SKIPPED, BAD) == [
        (
            "FAIL bad: exit 3: broken | asserts: It never breaks."
            f" | log: {LOG} | repeat: isosmoke run bad"
        ),
        "SKIP skipped: exit 77: no network",
        "1 PASS, 1 SKIP, 1 FAIL in 2.5 s on bubblewrap of /p/wg (sha256 0123456789ab)",
        "logs: /p/.isosmoke/runs/1",
        (
            "more: isosmoke show 1/NAME; "
            "shell in its sandbox: echo COMMANDS | isosmoke repro 1/NAME --after"
        ),
    ]


def test_passes_are_only_counted() -> None:
    """A hundred passes add no line."""
    assert len(render_lines(*[GOOD] * 100)) == 2


def test_report_of_many_problems_is_short() -> None:
    """Failures come first; what does not fit is named, with the command that shows everything."""
    failed = [
        create_result(f"bad{number}", Attempt(ending=Exited(3), stderr=capture("x" * 5000)))
        for number in range(300)
    ]

    *shown, omitted, _counts, _logs, _more = render_lines(SKIPPED, *failed)

    assert shown
    assert all(line.startswith(f"FAIL bad{number}: ") for number, line in enumerate(shown))
    assert omitted.startswith(f"{301 - len(shown)} more: FAIL bad{len(shown)}, FAIL ")
    assert omitted.endswith(" | all: isosmoke show 1 --full")
    assert sum(map(len, render_lines(SKIPPED, *failed))) < 10_000


def test_text_for_an_agent_is_shortened() -> None:
    """The rest is counted, with the command that shows it; a short text is unchanged."""
    command = ("isosmoke", "show", "one")

    shortened = agent.shorten_text("\0" * 5000 + "\n" + "line\n" * 5000, command).splitlines()

    assert agent.shorten_text("a\nb\n", command) == "a\nb\n"
    assert len(shortened[0]) == 300
    assert shortened[-1] == f"{5001 - (len(shortened) - 1)} more lines: isosmoke show one"
    assert sum(map(len, shortened)) < 8_100


def test_flaky_and_stopped_scenarios_are_named() -> None:
    """Neither is a plain pass."""
    flaky = create_result(
        "flaky", Attempt(ending=TimedOut(5), alone=False), Attempt(ending=Exited(0))
    )
    never = create_result("never", Attempt(ending=Stopped("SIGINT")))

    lines = render_lines(flaky, never, stopped="SIGINT")

    assert lines[0] == "NOT_RUN never: SIGINT | repeat: isosmoke run never"
    assert lines[1] == "FLAKY flaky: still running after 5 s"
    assert lines[2].endswith(", stopped by SIGINT")


def test_output_cannot_control_the_terminal() -> None:
    """Output of a script stays on its line, and its control characters are made visible."""
    hostile = create_result("x", Attempt(ending=Exited(1), stderr=capture("\x1b[2Jgone\rFAIL y\n")))

    assert len(render_lines(hostile)) == 4
    assert all(line.isprintable() for line in render_lines(hostile))


def test_nothing_is_printed_before_the_end() -> None:
    """An agent reads a report rather than a display."""
    lines: list[str] = []
    terse = agent.AgentReporter(lines.append, lambda name: ("isosmoke", "run", name))

    terse(RunStarted(("good",), create_run()))
    assert lines == []
    terse(RunFinished(create_run(GOOD)))

    assert len(lines) == 1


@pytest.mark.parametrize("name", AGENT_VARIABLES)
def test_each_agent_is_recognised_by_its_variable(name: str) -> None:
    """Any value counts except empty, 0 and false."""
    assert agent.select_report({name: "1"}) == "agent"
    for value in ("", "0", "false"):
        assert agent.select_report({name: value}) == "console"


def test_user_environment_is_not_an_agents() -> None:
    """Settings for an agent program do not make its user an agent."""
    assert agent.select_report({"PATH": "/bin", "CODEX_HOME": "/h", "TERM": "xterm"}) == "console"


def test_notes_precede_the_counts() -> None:
    """Each note is one line."""
    noted = records.make_record(
        create_result("one", Attempt(ending=Exited(0))), notes=("PIN is shown",)
    )

    assert agent.render(noted, lambda name: (name,)).splitlines()[0] == "note: PIN is shown"


def test_leftovers_precede_the_counts() -> None:
    """A run that is not clean names the leftover and the command that removes it."""
    attempt = Attempt(ending=Exited(0), leftovers=("box (remove it: docker rm box)",))

    assert (
        "DIRTY: box (remove it: docker rm box)" in render_lines(create_result("good", attempt))[:-2]
    )


def test_leftovers_cannot_control_the_terminal() -> None:
    """The name of a leftover stays on its line, and its control characters are made visible."""
    attempt = Attempt(ending=Exited(0), leftovers=("box\nFAIL other: \x1b[2J",))

    lines = render_lines(create_result("good", attempt))

    assert lines[0] == "DIRTY: box\\nFAIL other: \\x1b[2J"
    assert all(line.isprintable() for line in lines)
