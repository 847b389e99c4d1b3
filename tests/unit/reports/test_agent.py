"""A run as a coding agent is told of it."""

from pathlib import Path

import pytest

from isosmoke.reports import agent
from isosmoke.results import run_record
from isosmoke.results.events import RunFinished, RunStarted
from isosmoke.results.outcome import Exited, Stopped, TimedOut
from isosmoke.results.run_results import Attempt, Captured, RunResult, ScenarioResult
from support import available, records, result_factories
from support.project import Project

LOG = Path("/p/.isosmoke/runs/1/bad/output-1.log")


def words(text: str) -> Captured:
    """An output that is short enough to be kept whole."""
    return Captured(head=text.encode(), size=len(text.encode()))


def run(*scenarios: ScenarioResult, stopped: str = "") -> RunResult:
    """A run of these scenarios."""
    return result_factories.run(*scenarios, seconds=2.5, stopped=stopped)


def result(name: str, *attempts: Attempt, assertion: str = "") -> ScenarioResult:
    """A scenario with these attempts."""
    return result_factories.result(*attempts, name=name, assertion=assertion)


def told(*scenarios: ScenarioResult, stopped: str = "") -> list[str]:
    """The lines of the report."""
    whole = run_record.of(run(*scenarios, stopped=stopped))
    text = agent.render(whole, lambda name: ("isosmoke", "run", name))
    return text.splitlines()


GOOD = result("good", Attempt(ending=Exited(0)))
SKIPPED = result("skipped", Attempt(ending=Exited(77), stderr=words("reason: no network\n")))
BAD = result(
    "bad",
    Attempt(ending=Exited(3), stderr=words("broken\n"), output=words("broken\n"), log=LOG),
    assertion="It never\nbreaks.",
)


def test_the_whole_report_is_one_line_for_each_thing_to_look_at() -> None:
    """Broken ones first, then skips, the counts, the folder of the logs, and how to see more."""
    assert told(GOOD, SKIPPED, BAD) == [
        (
            "FAIL bad: exit 3: broken | asserts: It never breaks."
            f" | log: {LOG} | repeat: isosmoke run bad"
        ),
        "SKIP skipped: exit 77: no network",
        "1 PASS, 1 SKIP, 1 FAIL in 2.5 s on bubblewrap of /p/wg (sha256 0123456789ab)",
        "logs: /p/.isosmoke/runs/1",
        (
            "more: isosmoke show 1/NAME; "
            "a shell beside what it left: echo COMMANDS | isosmoke repro 1/NAME --after"
        ),
    ]


def test_what_passed_is_a_number() -> None:
    """A hundred passes are no line more than one."""
    assert len(told(*[GOOD] * 100)) == 2


def test_a_flaky_one_and_what_was_stopped_are_named() -> None:
    """Neither is a plain pass."""
    flaky = result("flaky", Attempt(ending=TimedOut(5), alone=False), Attempt(ending=Exited(0)))
    never = result("never", Attempt(ending=Stopped("SIGINT")))

    lines = told(flaky, never, stopped="SIGINT")

    assert lines[0] == "NOT_RUN never: SIGINT | repeat: isosmoke run never"
    assert lines[1] == "FLAKY flaky: still running after 5 s"
    assert lines[2].endswith(", stopped by SIGINT")


def test_output_does_not_steer() -> None:
    """What a script printed stays on its line, and its control characters are shown."""
    hostile = result("x", Attempt(ending=Exited(1), stderr=words("\x1b[2Jgone\rFAIL y\n")))

    assert len(told(hostile)) == 4
    assert all(line.isprintable() for line in told(hostile))


def test_nothing_is_said_before_the_end() -> None:
    """An agent reads a report, not a display."""
    said: list[str] = []
    terse = agent.Terse(said.append, lambda name: ("isosmoke", "run", name))

    terse(RunStarted(("good",), run()))
    assert said == []
    terse(RunFinished(run(GOOD)))

    assert len(said) == 1


@pytest.mark.parametrize("name", agent.ENVIRONMENTS)
def test_each_agent_is_recognised_by_its_variable(name: str) -> None:
    """Set to anything but nothing or no."""
    assert agent.preferred({name: "1"}) == "agent"
    for no in ("", "0", "false"):
        assert agent.preferred({name: no}) == "console"


def test_a_persons_environment_is_no_agents() -> None:
    """Settings of an agent's program do not make an agent of its user."""
    assert agent.preferred({"PATH": "/bin", "CODEX_HOME": "/h", "TERM": "xterm"}) == "console"


def test_run_is_told_so_to_an_agent_and_to_whoever_asks(tmp_path: Path) -> None:
    """A recognised agent gets this report on stdout; `--report` and `--json` have their way."""
    available.engine("bubblewrap")
    project = Project.within(tmp_path)

    plain = project.run("run", "bad")
    sniffed = project.run("run", "bad", CLAUDECODE="1")
    asked = project.run("run", "bad", "--report", "agent", "--json")

    assert plain.stdout.startswith("isosmoke")
    assert sniffed.stdout.startswith("FAIL bad: exit 3: broken | asserts: It never breaks.")
    assert asked.stdout.startswith("{")
    assert asked.stderr.startswith("FAIL bad")


def test_notes_are_told_before_the_counts() -> None:
    """What the user should know beside the outcomes is a line each."""
    noted = records.of(result("one", Attempt(ending=Exited(0))), notes=("PIN is shown",))

    assert agent.render(noted, lambda name: (name,)).splitlines()[0] == "note: PIN is shown"


def test_what_is_left_behind_is_told_before_the_counts() -> None:
    """A run that is not clean says so, with the command that mends it."""
    left = Attempt(ending=Exited(0), left_behind=("box (remove it: docker rm box)",))

    assert "DIRTY: box (remove it: docker rm box)" in told(result("good", left))[:-2]


def test_what_is_left_behind_does_not_steer() -> None:
    """The name of a thing that was left stays on its line, and its control characters are shown."""
    left = Attempt(ending=Exited(0), left_behind=("box\nFAIL other: \x1b[2J",))

    lines = told(result("good", left))

    assert lines[0] == "DIRTY: box\\nFAIL other: \\x1b[2J"
    assert all(line.isprintable() for line in lines)
