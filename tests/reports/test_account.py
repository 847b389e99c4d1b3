"""Records told on a terminal: a scenario whole, and a run again as it was told when it ended."""

from collections.abc import Iterable
from io import StringIO

import made
import told
from hypothesis import given, settings
from rich.console import Console, RenderableType

from isosmoke.outcome import Exited
from isosmoke.printable import printable
from isosmoke.reports import account
from isosmoke.reports.console import Progress
from isosmoke.results import Attempt, RunFinished, RunStarted, ScenarioFinished


def lines(parts: Iterable[RenderableType]) -> list[str]:
    """What is printed on a console of 80 columns that is no terminal."""
    file = StringIO()
    console = Console(file=file, width=80, highlight=False, soft_wrap=True, color_system=None)
    for part in parts:
        console.print(part)
    return file.getvalue().splitlines()


def test_a_scenario_is_told_whole() -> None:
    """Every attempt with its outcome, its steps, what it left, its log and the last lines."""
    crowded = Attempt(ending=Exited(1), alone=False, output=told.words("no\n"))
    failed = told.failed().attempts[0]
    run = told.of(made.result(crowded, failed, name="bad", assertion="It holds.", owners=("t",)))

    shown = lines(account.whole(run, run.scenarios[0]))

    assert shown[0] == "FAIL bad"
    assert shown[1].startswith("  run     1 on bubblewrap, 2026-11-2")
    assert shown[2:] == [
        "  asserts It holds.",
        "  owners  t",
        "  try 1   FAIL beside others, exit 1",
        "  │ no",
        "  try 2   FAIL alone, exit 3: broken, left 1 process: serve 'a b'",
        "  took    1.60 s: create 0.25 s, start 0.05 s, run 1.00 s, settle 0.20 s, destroy 0.10 s",
        "  left    pid 7 ppid 1 S 2.0s  serve 'a b'  listens tcp 127.0.0.1:80  in /work",
        "  allowed pid 7 ppid 1 S 2.0s  tmux  listens tcp 127.0.0.1:80  in /work  (Known.)",
        f"  log     {told.LOG}",
        "  │ fine",
        "  │ broken",
        "  repeat  isosmoke run --manifest /p/manifest.toml --binary /p/wg --engine bubblewrap bad",
    ]


def test_what_passed_says_so_and_no_reason() -> None:
    """There is nothing to explain."""
    run = told.of(told.passed())

    assert lines(account.whole(run, run.scenarios[0]))[2] == "  try 1   PASS alone"


def test_a_run_is_told_again_as_when_it_ended() -> None:
    """Word for word what the console said, but for how to repeat, which is exact."""
    scenarios = told.every_outcome()
    result = made.run(*scenarios, notes=("Beware.",))
    file = StringIO()
    console = Console(file=file, width=80, highlight=False, soft_wrap=True, color_system=None)
    progress = Progress(console, live=False, repeat=lambda name: ("isosmoke", "run", name))
    progress(RunStarted(tuple(one.name for one in scenarios), result))
    for one in scenarios:
        progress(ScenarioFinished(one))
    progress(RunFinished(result))

    def plain(line: str) -> str:
        return line if not line.startswith("  repeat") else line.rsplit(maxsplit=1)[-1]

    again = lines(account.replay(told.of(*scenarios, notes=("Beware.",))))
    assert [plain(one) for one in again] == [plain(one) for one in file.getvalue().splitlines()]


def test_a_run_that_was_cut_short_says_so() -> None:
    """The counts are followed by what ended it, or by that nothing did."""
    stopped = told.of(stopped="SIGINT")

    assert account.summary(stopped).plain == "in 2.5 s, stopped by SIGINT"
    killed = stopped.model_copy(update={"finished": False, "stopped": None})
    assert account.summary(killed).plain == "in 2.5 s, not finished"


@settings(deadline=None)
@given(told.ANY_TEXT)
def test_nothing_that_was_written_steers_the_terminal(text: str) -> None:
    """Whatever a script printed or a path is of, every line is printable."""
    run = told.hostile_run(text)

    for line in lines([*account.replay(run), *account.whole(run, run.scenarios[0])]):
        assert printable(line) == line
