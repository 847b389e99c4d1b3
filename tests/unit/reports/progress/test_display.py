"""The live report on a console without a terminal: plain lines without control characters."""

import re
import shlex
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from isosmoke.reports.progress.display import Progress, Sources
from isosmoke.reports.progress.status_level import StatusLevel
from isosmoke.results.events import (
    Event,
    RunFinished,
    RunStarted,
    ScenarioFinished,
    ScenarioPostponed,
    ScenarioStarted,
)
from isosmoke.results.leaks import LeakVerdict
from isosmoke.results.outcome import Broke, Exited, MissingRequirement, Outcome, Stopped, TimedOut
from isosmoke.results.run_results import Attempt, CapturedOutput, RunResult, ScenarioResult
from isosmoke.sandbox.survivors import Process
from isosmoke.text import escape_controls
from support import result_factories

BINARY = (Path("/p/target/debug/wg"), "0123456789abcdef" * 4)
PHASES = {"create": 0.25, "run": 1.0}
PASSED = Attempt(ending=Exited(0), phases=PHASES)


def capture(text: str) -> CapturedOutput:
    """Return an output that is short enough to be captured whole."""
    return CapturedOutput(head=text.encode(), size=len(text.encode()))


def create_process(pid: int, *argv: str) -> Process:
    """Return a process that outlived its scenario."""
    return Process(
        pid=pid,
        ppid=1,
        argv=argv,
        cwd="/work",
        exe="/bin/x",
        age_seconds=2.04,
        state="S",
        listens=("tcp 127.0.0.1:80",),
    )


def create_result(*attempts: Attempt, name: str = "one", assertion: str = "") -> ScenarioResult:
    """Return the result of a scenario with these attempts."""
    return result_factories.make_result(*attempts, name=name, assertion=assertion)


def create_run(*scenarios: ScenarioResult, stopped: str = "") -> RunResult:
    """Return a run of these scenarios."""
    return result_factories.make_run(*scenarios, binary=BINARY, stopped=stopped)


def render_events(*events: Event) -> list[str]:
    """Return the lines for these events, on a console of 80 columns without a terminal."""
    file = StringIO()
    console = Console(file=file, width=80, highlight=False, soft_wrap=True, color_system=None)
    progress = Progress(console, live=False, repeat=lambda name: ("isosmoke", "run", name))
    for event in events:
        progress(event)
    return file.getvalue().splitlines()


def test_look_before_the_run_starts_names_no_time() -> None:
    """A signal may arrive while the run is prepared, when nothing is known about it."""
    file = StringIO()
    progress = Progress(Console(file=file), live=False, repeat=lambda name: ("isosmoke", name))
    progress.show_running()

    assert file.getvalue() == "no scenario runs yet\n"


def render_run(*scenarios: ScenarioResult, stopped: str = "") -> list[str]:
    """Return the lines of a whole run of these scenarios."""
    names = tuple(scenario.name for scenario in scenarios)
    each = [
        event
        for scenario in scenarios
        for event in (ScenarioStarted(scenario.name, 1), ScenarioFinished(scenario))
    ]
    finished = RunFinished(create_run(*scenarios, stopped=stopped))
    return render_events(RunStarted(names, create_run()), *each, finished)


def test_passing_run_has_one_line_per_scenario() -> None:
    """It has a head line, a line per scenario, and the counts."""
    assert render_run(create_result(PASSED, name="a"), create_result(PASSED, name="b")) == [
        "isosmoke · bubblewrap · /p/target/debug/wg 0123456789ab · 2 scenarios",
        "PASS       1.25s  a",
        "PASS       1.25s  b",
        "2 PASS  in 2.5 s",
    ]


def test_head_line_omits_missing_binary() -> None:
    """Without a live binary, the head line names none; one scenario is singular."""
    assert render_events(
        RunStarted(("a",), result_factories.make_run(engine="docker", binary=None))
    ) == ["isosmoke · docker · 1 scenario"]


@pytest.mark.parametrize(
    ("attempts", "line"),
    [
        (
            [Attempt(ending=MissingRequirement("variable X not set"))],
            "SKIP       0.00s  one  variable X not set",
        ),
        ([Attempt(ending=Stopped("SIGINT"))], "NOT_RUN    0.00s  one  SIGINT"),
        ([Attempt(ending=Exited(1)), PASSED], "FLAKY      1.25s  one  exit 1"),
    ],
)
def test_reason_follows_the_name(attempts: list[Attempt], line: str) -> None:
    """A scenario that did not plainly pass has its reason on its line, and no more."""
    lines = render_run(create_result(*attempts))

    assert lines[1] == line
    assert len(lines) == 3


def test_failure_block_has_all_facts() -> None:
    """The block has reason, output, leaked processes and repeat command."""
    failed = Attempt(
        ending=Exited(1),
        verdict=LeakVerdict((create_process(7, "serve", "a b"),)),
        output=capture("".join(f"line {number}\n" for number in range(20)) + "it broke\n"),
        stderr=capture("it broke\n"),
        log=Path("/p/one/output-1.log"),
    )
    lines = render_run(
        create_result(PASSED, name="fine"), create_result(failed, assertion="It must hold.")
    )

    assert lines[3:] == [
        "",
        "FAIL one",
        "  asserts It must hold.",
        "  because exit 1: it broke, left 1 process: serve 'a b'",
        "  log     /p/one/output-1.log",
        *(f"  │ line {number}" for number in range(9, 20)),
        "  │ it broke",
        "  leaked  pid 7 ppid 1 S 2.0s  serve 'a b'  listens tcp 127.0.0.1:80  in /work",
        "  repeat  isosmoke run one",
        "1 PASS  1 FAIL  in 2.5 s",
    ]


def test_silent_failure_has_no_output() -> None:
    """An empty log and a missing assertion are omitted."""
    lines = render_run(create_result(Attempt(ending=TimedOut(30), log=Path("/p/log"))))

    assert lines[2:-1] == [
        "",
        "TIMEOUT one",
        "  because still running after 30 s",
        "  repeat  isosmoke run one",
    ]


def test_every_attempt_of_a_failure_is_listed() -> None:
    """Each attempt ran alongside others or in isolation."""
    lines = render_run(
        create_result(Attempt(ending=Exited(1), alone=False), Attempt(ending=TimedOut(3)))
    )

    assert "  tries   FAIL alongside others, TIMEOUT in isolation" in lines


def test_many_leaks_are_counted() -> None:
    """Of many leaked processes the first are listed, and the rest counted."""
    many = LeakVerdict(tuple(create_process(pid, "sleep", str(pid)) for pid in range(10, 25)))
    lines = render_run(create_result(Attempt(ending=Exited(0), verdict=many)))
    leaks = [line for line in lines if line.startswith("  leaked ")]

    assert len(leaks) == 9
    assert leaks[-1] == "  leaked  and 7 more"


@pytest.mark.parametrize("outcome", Outcome)
def test_tried_and_blocking_outcomes_have_a_block(outcome: Outcome) -> None:
    """Every blocking outcome has a block, except NOT_RUN."""
    attempts = {
        Outcome.PASS: [PASSED],
        Outcome.FLAKY: [Attempt(ending=Exited(1)), PASSED],
        Outcome.SKIP: [Attempt(ending=Exited(77))],
        Outcome.LEAK: [Attempt(ending=Exited(0), verdict=LeakVerdict((create_process(7, "x"),)))],
        Outcome.FAIL: [Attempt(ending=Exited(1))],
        Outcome.TIMEOUT: [Attempt(ending=TimedOut(1))],
        Outcome.ERROR: [Attempt(ending=Broke("no daemon"))],
        Outcome.NOT_RUN: [Attempt(ending=Stopped("SIGINT"))],
    }[outcome]
    lines = render_run(create_result(*attempts))

    assert lines[1].startswith(f"{outcome:<8} ")
    assert (f"{outcome} one" in lines) == (outcome.blocks and outcome is not Outcome.NOT_RUN)
    assert lines[-1] == f"1 {outcome}  in 2.5 s"


def test_postponed_scenario_is_reported_twice() -> None:
    """A concurrent failure is printed at once, and the final outcome later."""
    crowded = Attempt(ending=Exited(1), alone=False, phases=PHASES)
    lines = render_events(
        RunStarted(("one",), create_run()),
        ScenarioStarted("one", 1),
        ScenarioPostponed(create_result(crowded)),
        ScenarioStarted("one", 2),
        ScenarioFinished(create_result(crowded, PASSED)),
    )

    assert lines[1:] == [
        "FAIL       1.25s  one  failed alongside others; will run again",
        "FLAKY      2.50s  one  exit 1",
    ]


def test_interrupted_run_names_the_signal() -> None:
    """The line before the command that runs the rest names the signal."""
    lines = render_run(create_result(Attempt(ending=Stopped("SIGTERM"))), stopped="SIGTERM")

    assert lines[-2] == "1 NOT_RUN  in 2.5 s, stopped by SIGTERM"


def test_long_lines_are_not_wrapped() -> None:
    """Lines longer than 80 columns can be searched and copied."""
    long = "x" * 300
    failed = Attempt(
        ending=Exited(1),
        verdict=LeakVerdict((create_process(7, long),)),
        output=capture(long + "\n"),
        stderr=capture(long + "\n"),
        log=Path("/", long),
    )
    lines = render_run(create_result(failed, name="n" * 150, assertion=long))

    assert len(lines) == 11
    assert sum(long in line for line in lines) == 6


MARKUP = "[bold]not[/bold] :smile: [red] [/] https://example.org 'quoted' 1.5 None"


def test_markup_in_output_is_printed_verbatim() -> None:
    """The console library's markup has no meaning in the output of a script."""
    failed = Attempt(ending=Exited(1), output=capture(MARKUP), stderr=capture(MARKUP))
    lines = render_run(create_result(failed, assertion=MARKUP))

    assert f"  │ {MARKUP}" in lines
    assert f"  asserts {MARKUP}" in lines
    assert f"  because exit 1: {MARKUP}" in lines


CONTROLS = "\x1b[2J\x1b]0;title\x07 \x08\x08 \r over \x00 \x9b31m \u202e \u2066 \udcff"


def test_foreign_text_cannot_control_the_terminal() -> None:
    """Control characters in output, reasons, processes, paths and names are made visible."""
    everywhere = Attempt(
        ending=Broke(CONTROLS),
        verdict=LeakVerdict((create_process(7, CONTROLS),)),
        output=capture(CONTROLS.replace("\udcff", "") + "\n"),
        stderr=capture(CONTROLS.replace("\udcff", "") + "\n"),
        log=Path("/", CONTROLS),
    )
    binary = (Path("/p", CONTROLS), "0" * 64)
    one = create_result(everywhere, assertion=CONTROLS)
    lines = render_events(
        RunStarted(("one",), result_factories.make_run(engine=CONTROLS, binary=binary)),
        ScenarioFinished(one),
        RunFinished(create_run(one)),
    )

    assert len(lines) == 12
    for line in lines:
        assert line.isprintable(), line
    assert sum("\\x1b[2J" in line for line in lines) == 7


@given(st.text(st.characters(codec=None)))
def test_any_text_becomes_printable(text: str) -> None:
    """Everything except tabs becomes printable, and printable text is unchanged."""
    result = escape_controls(text)

    assert result.replace("\t", "").isprintable()
    assert result.encode().decode() == result
    assert (result == text) == text.replace("\t", "").isprintable()


def test_repeat_can_be_pasted_into_a_shell() -> None:
    """The repeat command is quoted for a shell."""
    file = StringIO()
    command = ("isosmoke", "run", "--manifest", "/a folder/manifest.toml", "one")
    console = Console(file=file, width=80, highlight=False, soft_wrap=True)
    Progress(console, live=False, repeat=lambda _: command)(
        RunFinished(create_run(create_result(Attempt(ending=Exited(1)))))
    )
    (line,) = (row for row in file.getvalue().splitlines() if "repeat" in row)

    assert tuple(shlex.split(line.removeprefix("  repeat  "))) == command


def render_on_terminal(one: ScenarioResult) -> str:
    """Return what a run of this scenario prints on a terminal of 80 columns."""
    file = StringIO()
    console = Console(
        file=file, width=80, force_terminal=True, color_system=None, highlight=False, soft_wrap=True
    )
    progress = Progress(console, live=True, repeat=lambda name: ("isosmoke", "run", name))
    for event in (
        RunStarted((one.name,), create_run()),
        ScenarioStarted(one.name, 1),
        ScenarioFinished(one),
        RunFinished(create_run(one)),
    ):
        progress(event)
    return file.getvalue()


def test_live_display_is_removed_at_the_end() -> None:
    """Only the lines remain that a pipe would have received."""
    text = render_on_terminal(create_result(PASSED))

    assert text.endswith("1 PASS  in 2.5 s\n")
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1


def test_reason_of_failure_is_truncated_above_its_block() -> None:
    """The block has the full reason; the reason of a skip is not truncated."""
    long = "x" * 100
    failed = render_on_terminal(create_result(Attempt(ending=Exited(1), stderr=capture(long))))
    skipped = render_on_terminal(create_result(Attempt(ending=Exited(77), stderr=capture(long))))

    assert f"FAIL       0.00s  one  exit 1: {'x' * 48}…\n" in failed
    assert f"because exit 1:\n{' ' * 10}{long}\n" in failed
    assert f"SKIP       0.00s  one  exit 77:\n{' ' * 18}{long}\n" in skipped


def test_text_wraps_with_a_hanging_indent() -> None:
    """On a terminal no word is split, and no continuation starts in the first column."""
    text = " ".join(["word"] * 30)
    failed = render_on_terminal(create_result(Attempt(ending=Exited(1)), assertion=text))
    skipped = render_on_terminal(create_result(Attempt(ending=Exited(77), stderr=capture(text))))

    assert f"\n  asserts {' '.join(['word'] * 14)}\n{' ' * 10}word word" in failed
    assert f"  one  exit 77: {' '.join(['word'] * 9)}\n{' ' * 18}word word" in skipped


def test_output_and_notes_wrap_at_words() -> None:
    """The output of a script, the first line and the notes are wrapped like everything else."""
    words = " ".join(["word"] * 30)
    failed = Attempt(ending=Exited(1), output=capture(f"  {words}\n"))
    result = create_result(failed)
    run = replace(create_run(result), notes=(words,), binary=(Path("/p", "x " * 50), "0" * 64))
    file = StringIO()
    console = Console(file=file, width=80, force_terminal=True, color_system=None, soft_wrap=True)
    progress = Progress(console, live=False, repeat=lambda name: ("again", name))
    for event in (RunStarted((result.name,), run), ScenarioFinished(result), RunFinished(run)):
        progress(event)

    rows = file.getvalue().splitlines()

    assert max(map(len, rows)) <= 80
    assert f"  │   {' '.join(['word'] * 15)}" in rows
    assert not [row for row in rows if re.search(r"\b(w|wo|wor|ord|rd|d)\b", row)]


@pytest.mark.parametrize("width", [1000, 5000])
def test_control_characters_do_not_multiply_a_line(width: int) -> None:
    """A line of NULs takes as much room as any other long line, in each part of the report."""
    hostile = capture("\0" * width + "\n")
    failed = Attempt(ending=Exited(1), output=hostile, stderr=hostile)

    rows = render_on_terminal(create_result(failed)).splitlines()

    assert max(map(len, rows)) <= 1100


def test_copyable_text_is_one_line_on_a_terminal() -> None:
    """A terminal that wraps a line on its own copies it as one line."""
    log = Path("/", "a folder/" * 20)
    failed = Attempt(ending=Exited(1), output=capture("broken\n"), log=log)

    assert f"\n  log     {log}\n" in render_on_terminal(create_result(failed))


def render_level(level: StatusLevel, *scenarios: ScenarioResult) -> list[str]:
    """Return the lines between the first and the last of a run with this level."""
    file = StringIO()
    console = Console(file=file, width=80, highlight=False, soft_wrap=True, color_system=None)
    progress = Progress(
        console,
        live=False,
        repeat=lambda name: ("isosmoke", "run", name),
        level=level,
        sources=Sources(load_usual=lambda _: {"slow": 0.1}),
    )
    progress(RunStarted(tuple(scenario.name for scenario in scenarios), create_run()))
    for scenario in scenarios:
        progress(ScenarioFinished(scenario))
    return file.getvalue().splitlines()[1:]


def test_level_folds_lines() -> None:
    """The end of the run still has all counts."""
    scenarios = [
        create_result(PASSED, name="fine"),
        create_result(PASSED, name="slow"),
        create_result(Attempt(ending=Exited(1)), PASSED, name="flaky"),
        create_result(Attempt(ending=Exited(1)), name="broken"),
    ]

    def names(level: StatusLevel) -> list[str]:
        return [line.split()[2] for line in render_level(level, *scenarios)]

    assert names("none") == []
    assert names("fail") == ["broken"]
    assert names("retry") == ["flaky", "broken"]
    assert names("slow") == ["slow", "flaky", "broken"]
    assert names("all") == ["fine", "slow", "flaky", "broken"]


def test_slow_pass_has_its_usual_time() -> None:
    """The reader sees why it is named."""
    assert render_level("all", create_result(PASSED, name="slow")) == [
        "PASS       1.25s  slow  usually 0.1 s"
    ]


@pytest.mark.parametrize("width", [140, 80, 50])
def test_live_display_fits(width: int) -> None:
    """No line of the display is wider than the terminal, and the name is cut last."""
    file = StringIO()
    console = Console(file=file, width=width, height=24, force_terminal=True, color_system=None)
    names = tuple(f"scenario_with_a_rather_long_name_{number}" for number in range(12))
    progress = Progress(
        console,
        live=False,
        repeat=lambda name: ("isosmoke", "run", name),
        sources=Sources(load_usual=lambda _: dict.fromkeys(names, 3.0)),
    )
    progress(RunStarted(names, create_run()))
    for name in names:
        progress(ScenarioStarted(name, 1))
    start = len(file.getvalue())
    console.print(progress.render_live())
    rows = file.getvalue()[start:].splitlines()

    assert len(rows) == 10
    assert max(map(len, rows)) <= width
    assert rows[0].startswith("0/12  0:00, about 0:03 left")
    assert rows[1][:40].endswith("scenario_with_a_rather")
    assert rows[-1].strip() == "and 4 more"
    assert ("(usually 3.0 s)" in rows[1]) == (width >= 80)


def test_running_scenarios_are_shown_with_their_output() -> None:
    """A glance prints the last lines of each scenario that runs, made printable."""
    file = StringIO()
    console = Console(file=file, width=80, highlight=False, soft_wrap=True, color_system=None)
    output = {"one": ("first", "\x1b[2Jlast")}
    progress = Progress(
        console,
        live=False,
        repeat=lambda name: ("isosmoke", "run", name),
        sources=Sources(read_output=lambda name, limit: output.get(name, ())[-limit:]),
    )
    progress(RunStarted(("one", "two", "three"), create_run()))
    progress(ScenarioStarted("one", 1))
    progress(ScenarioStarted("two", 1))
    start = len(file.getvalue())
    progress.show_running()
    head, *rows = file.getvalue()[start:].splitlines()

    assert head.startswith("running: 2  0/3  0:00")
    assert [row.split()[-1] for row in rows if row.startswith("RUNNING ")] == ["one", "two"]
    assert rows[1:3] == ["  │ first", "  │ \\x1b[2Jlast"]
    assert rows[4:] == ["  no output so far"]
