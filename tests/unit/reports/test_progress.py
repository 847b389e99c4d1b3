"""A run on a console that is no terminal: plain lines, and nothing a script printed steers it."""

import shlex
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from isosmoke.reports.progress import Progress
from isosmoke.results.events import (
    Event,
    RunFinished,
    RunStarted,
    ScenarioFinished,
    ScenarioPostponed,
    ScenarioStarted,
)
from isosmoke.results.leaks import Verdict
from isosmoke.results.outcome import Broke, Exited, Outcome, Stopped, TimedOut, Unmet
from isosmoke.results.run_results import Attempt, Captured, RunResult, ScenarioResult
from isosmoke.sandbox.processes import Process
from isosmoke.text import printable
from support import result_factories

BINARY = (Path("/p/target/debug/wg"), "0123456789abcdef" * 4)
TOOK = {"create": 0.25, "run": 1.0}
PASSED = Attempt(ending=Exited(0), phases=TOOK)


def said(text: str) -> Captured:
    """An output that is short enough to be kept whole."""
    return Captured(head=text.encode(), size=len(text.encode()))


def left(pid: int, *argv: str) -> Process:
    """A process that outlived its scenario."""
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


def result(*attempts: Attempt, name: str = "one", assertion: str = "") -> ScenarioResult:
    """A scenario with these attempts."""
    return result_factories.result(*attempts, name=name, assertion=assertion)


def run(*scenarios: ScenarioResult, stopped: str = "") -> RunResult:
    """A run of these scenarios."""
    return result_factories.run(*scenarios, binary=BINARY, stopped=stopped)


def shown(*events: Event) -> list[str]:
    """The lines that these events print, on a console of 80 columns that is no terminal."""
    file = StringIO()
    console = Console(file=file, width=80, highlight=False, soft_wrap=True, color_system=None)
    progress = Progress(console, live=False, repeat=lambda name: ("isosmoke", "run", name))
    for event in events:
        progress(event)
    return file.getvalue().splitlines()


def told(*scenarios: ScenarioResult, stopped: str = "") -> list[str]:
    """The lines of a whole run of these scenarios."""
    names = tuple(one.name for one in scenarios)
    each = [
        event
        for one in scenarios
        for event in (ScenarioStarted(one.name, 1), ScenarioFinished(one))
    ]
    finished = RunFinished(run(*scenarios, stopped=stopped))
    return shown(RunStarted(names, run()), *each, finished)


def test_passing_run_shows_one_line_for_each_scenario() -> None:
    """A run in which all is well is a head line, a line for each scenario, and the counts."""
    assert told(result(PASSED, name="a"), result(PASSED, name="b")) == [
        "isosmoke · bubblewrap · /p/target/debug/wg 0123456789ab · 2 scenarios",
        "PASS       1.25s  a",
        "PASS       1.25s  b",
        "2 PASS  in 2.5 s",
    ]


def test_run_without_a_binary_names_none() -> None:
    """Where there was no live binary the head line does not speak of one, and one is one."""
    assert shown(RunStarted(("a",), result_factories.run(engine="docker", binary=None))) == [
        "isosmoke · docker · 1 scenario"
    ]


@pytest.mark.parametrize(
    ("attempts", "line"),
    [
        (
            [Attempt(ending=Unmet("variable X not set"))],
            "SKIP       0.00s  one  variable X not set",
        ),
        ([Attempt(ending=Stopped("SIGINT"))], "NOT_RUN    0.00s  one  SIGINT"),
        ([Attempt(ending=Exited(1)), PASSED], "FLAKY      1.25s  one  exit 1"),
    ],
)
def test_reason_follows_the_name(attempts: list[Attempt], line: str) -> None:
    """What did not plainly pass says why on its own line, and no more where it broke nothing."""
    lines = told(result(*attempts))

    assert lines[1] == line
    assert len(lines) == 3


def test_failure_shows_why_what_was_printed_what_was_left_and_how_to_repeat_it() -> None:
    """At the end, each failure has a block with all that is needed to understand it."""
    failed = Attempt(
        ending=Exited(1),
        verdict=Verdict((left(7, "serve", "a b"),)),
        output=said("".join(f"line {number}\n" for number in range(20)) + "it broke\n"),
        stderr=said("it broke\n"),
        log=Path("/p/one/output-1.log"),
    )
    lines = told(result(PASSED, name="fine"), result(failed, assertion="It must hold."))

    assert lines[3:] == [
        "",
        "FAIL one",
        "  asserts It must hold.",
        "  because exit 1: it broke, left 1 process: serve 'a b'",
        "  log     /p/one/output-1.log",
        *(f"  │ line {number}" for number in range(9, 20)),
        "  │ it broke",
        "  left    pid 7 ppid 1 S 2.0s  serve 'a b'  listens tcp 127.0.0.1:80  in /work",
        "  repeat  isosmoke run one",
        "1 PASS  1 FAIL  in 2.5 s",
    ]


def test_failure_that_printed_nothing_has_no_output() -> None:
    """A silent failure shows no empty log, and says nothing of an assertion it does not have."""
    lines = told(result(Attempt(ending=TimedOut(30), log=Path("/p/log"))))

    assert lines[2:-1] == [
        "",
        "TIMEOUT one",
        "  because still running after 30 s",
        "  repeat  isosmoke run one",
    ]


def test_every_try_of_a_failure_is_told() -> None:
    """What failed more than once says how each try went, and whether others ran beside it."""
    lines = told(result(Attempt(ending=Exited(1), alone=False), Attempt(ending=TimedOut(3))))

    assert "  tries   FAIL beside others, TIMEOUT alone" in lines


def test_many_leaks_are_counted() -> None:
    """Of many processes left the first are shown, and the rest are counted, none forgotten."""
    many = Verdict(tuple(left(pid, "sleep", str(pid)) for pid in range(10, 25)))
    lines = told(result(Attempt(ending=Exited(0), verdict=many)))
    leaks = [line for line in lines if line.startswith("  left ")]

    assert len(leaks) == 9
    assert leaks[-1] == "  left    and 7 more"


@pytest.mark.parametrize("outcome", Outcome)
def test_block_is_for_what_was_tried_and_blocks(outcome: Outcome) -> None:
    """Each outcome that blocks has a block of its own, but for what was never started."""
    attempts = {
        Outcome.PASS: [PASSED],
        Outcome.FLAKY: [Attempt(ending=Exited(1)), PASSED],
        Outcome.SKIP: [Attempt(ending=Exited(77))],
        Outcome.LEAK: [Attempt(ending=Exited(0), verdict=Verdict((left(7, "x"),)))],
        Outcome.FAIL: [Attempt(ending=Exited(1))],
        Outcome.TIMEOUT: [Attempt(ending=TimedOut(1))],
        Outcome.ERROR: [Attempt(ending=Broke("no daemon"))],
        Outcome.NOT_RUN: [Attempt(ending=Stopped("SIGINT"))],
    }[outcome]
    lines = told(result(*attempts))

    assert lines[1].startswith(f"{outcome:<8} ")
    assert (f"{outcome} one" in lines) == (outcome.blocks and outcome is not Outcome.NOT_RUN)
    assert lines[-1] == f"1 {outcome}  in 2.5 s"


def test_postponed_scenario_is_told_at_once_and_again_at_its_end() -> None:
    """What failed beside others says so when it happens, with what comes next."""
    crowded = Attempt(ending=Exited(1), alone=False, phases=TOOK)
    lines = shown(
        RunStarted(("one",), run()),
        ScenarioStarted("one", 1),
        ScenarioPostponed(result(crowded)),
        ScenarioStarted("one", 2),
        ScenarioFinished(result(crowded, PASSED)),
    )

    assert lines[1:] == [
        "FAIL       1.25s  one  failed beside others; will run again alone",
        "FLAKY      2.50s  one  exit 1",
    ]


def test_interrupted_run_says_so() -> None:
    """The last line of a run that was cut short says by what."""
    lines = told(result(Attempt(ending=Stopped("SIGTERM"))), stopped="SIGTERM")

    assert lines[-1] == "1 NOT_RUN  in 2.5 s, stopped by SIGTERM"


def test_long_lines_are_not_wrapped() -> None:
    """What is longer than 80 columns stays on its line, so that it can be searched and copied."""
    long = "x" * 300
    failed = Attempt(
        ending=Exited(1),
        verdict=Verdict((left(7, long),)),
        output=said(long + "\n"),
        stderr=said(long + "\n"),
        log=Path("/", long),
    )
    lines = told(result(failed, name="n" * 150, assertion=long))

    assert len(lines) == 11
    assert sum(long in line for line in lines) == 6


MARKUP = "[bold]not[/bold] :smile: [red] [/] https://example.org 'quoted' 1.5 None"


def test_markup_in_output_is_printed_as_it_is() -> None:
    """Brackets and words that the console library knows mean nothing in what a script says."""
    failed = Attempt(ending=Exited(1), output=said(MARKUP), stderr=said(MARKUP))
    lines = told(result(failed, assertion=MARKUP))

    assert f"  │ {MARKUP}" in lines
    assert f"  asserts {MARKUP}" in lines
    assert f"  because exit 1: {MARKUP}" in lines


STEERING = "\x1b[2J\x1b]0;title\x07 \x08\x08 \r over \x00 \x9b31m \u202e \u2066 \udcff"


def test_nothing_told_steers_the_terminal() -> None:
    """Control characters in output, reasons, processes, paths and names are made visible."""
    everywhere = Attempt(
        ending=Broke(STEERING),
        verdict=Verdict((left(7, STEERING),)),
        output=said(STEERING.replace("\udcff", "") + "\n"),
        stderr=said(STEERING.replace("\udcff", "") + "\n"),
        log=Path("/", STEERING),
    )
    binary = (Path("/p", STEERING), "0" * 64)
    one = result(everywhere, assertion=STEERING)
    lines = shown(
        RunStarted(("one",), result_factories.run(engine=STEERING, binary=binary)),
        ScenarioFinished(one),
        RunFinished(run(one)),
    )

    assert len(lines) == 12
    for line in lines:
        assert line.isprintable(), line
    assert sum("\\x1b[2J" in line for line in lines) == 7


@given(st.text(st.characters(codec=None)))
def test_printable_text_can_be_printed_and_read(text: str) -> None:
    """Any text becomes printable but for its tabs, and printable text stays as it is."""
    made = printable(text)

    assert made.replace("\t", "").isprintable()
    assert made.encode().decode() == made
    assert (made == text) == text.replace("\t", "").isprintable()


def test_repeat_can_be_pasted_into_a_shell() -> None:
    """The line that repeats a scenario is quoted as a shell needs it."""
    file = StringIO()
    words = ("isosmoke", "run", "--manifest", "/a folder/manifest.toml", "one")
    console = Console(file=file, width=80, highlight=False, soft_wrap=True)
    Progress(console, live=False, repeat=lambda _: words)(
        RunFinished(run(result(Attempt(ending=Exited(1)))))
    )
    (line,) = (one for one in file.getvalue().splitlines() if "repeat" in one)

    assert tuple(shlex.split(line.removeprefix("  repeat  "))) == words


def on_a_terminal(one: ScenarioResult) -> str:
    """What a run of this scenario sends to a terminal of 80 columns."""
    file = StringIO()
    console = Console(
        file=file, width=80, force_terminal=True, color_system=None, highlight=False, soft_wrap=True
    )
    progress = Progress(console, live=True, repeat=lambda name: ("isosmoke", "run", name))
    for event in (
        RunStarted((one.name,), run()),
        ScenarioStarted(one.name, 1),
        ScenarioFinished(one),
        RunFinished(run(one)),
    ):
        progress(event)
    return file.getvalue()


def test_live_display_is_gone_at_the_end() -> None:
    """On a terminal the live part is taken away, and what stays is what a pipe would have got."""
    text = on_a_terminal(result(PASSED))

    assert text.endswith("1 PASS  in 2.5 s\n")
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1


def test_what_is_told_at_the_end_takes_one_row_before() -> None:
    """On a terminal a long reason of a failure is cut, and whole below; that of a skip is whole."""
    long = "x" * 100
    failed = on_a_terminal(result(Attempt(ending=Exited(1), stderr=said(long))))
    skipped = on_a_terminal(result(Attempt(ending=Exited(77), stderr=said(long))))

    assert f"FAIL       0.00s  one  exit 1: {'x' * 48}…\n" in failed
    assert f"because exit 1:\n{' ' * 10}{long}\n" in failed
    assert f"SKIP       0.00s  one  exit 77:\n{' ' * 18}{long}\n" in skipped


def test_words_go_on_below_where_they_began() -> None:
    """On a terminal no word is broken, and no other line begins at the edge."""
    words = " ".join(["word"] * 30)
    failed = on_a_terminal(result(Attempt(ending=Exited(1)), assertion=words))
    skipped = on_a_terminal(result(Attempt(ending=Exited(77), stderr=said(words))))

    assert f"\n  asserts {' '.join(['word'] * 14)}\n{' ' * 10}word word" in failed
    assert f"  one  exit 77: {' '.join(['word'] * 9)}\n{' ' * 18}word word" in skipped


def test_what_is_to_be_copied_is_one_line_on_a_terminal_too() -> None:
    """A terminal gives back whole what it folded itself."""
    log = Path("/", "a folder/" * 20)
    failed = Attempt(ending=Exited(1), output=said("broken\n"), log=log)

    assert f"\n  log     {log}\n" in on_a_terminal(result(failed))
