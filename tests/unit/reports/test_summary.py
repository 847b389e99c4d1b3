"""Records told on a terminal: a scenario whole, and a run again as it was told when it ended."""

from collections.abc import Iterable
from dataclasses import replace
from io import StringIO

from hypothesis import given, settings
from rich.console import Console, RenderableType

from isosmoke.reports import summary
from isosmoke.reports.progress import Progress
from isosmoke.results.events import RunFinished, RunStarted, ScenarioFinished
from isosmoke.results.evidence import Change, Evidence, Pane
from isosmoke.results.outcome import Exited
from isosmoke.results.run_results import Attempt
from isosmoke.sandbox.processes import Usage
from isosmoke.text import printable
from support import records, result_factories


def lines(parts: Iterable[RenderableType]) -> list[str]:
    """What is printed on a console of 80 columns that is no terminal."""
    file = StringIO()
    console = Console(file=file, width=80, highlight=False, soft_wrap=True, color_system=None)
    for part in parts:
        console.print(part)
    return file.getvalue().splitlines()


def test_a_scenario_is_told_whole() -> None:
    """Every attempt with its outcome, its steps, what it left, its log and the last lines."""
    crowded = Attempt(ending=Exited(1), alone=False, output=records.words("no\n"))
    failed = records.failed().attempts[0]
    run = records.of(
        result_factories.result(crowded, failed, name="bad", assertion="It holds.", owners=("t",))
    )

    shown = lines(summary.whole(run, run.scenarios[0]))

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
        f"  log     {records.LOG}",
        "  │ fine",
        "  │ broken",
        "  repeat  isosmoke run --manifest /p/manifest.toml --binary /p/wg --engine bubblewrap bad",
        "  sit in  isosmoke repro 1/bad --after",
    ]


EVIDENCE = Evidence(
    changes=(
        Change(path="/p/.git", change="changed", kind="folder", size=2048, within=12),
        Change(
            path="/p/.wg/service/daemon.log", change="added", kind="file", size=9, text="a\nb\n"
        ),
        Change(path="/p/gone\n", change="removed", kind="file"),
        Change(path="/p/to", change="added", kind="link", size=4, text="/etc"),
        Change(path="/p/wg", change="added", kind="file", size=12_345_678),
    ),
    changes_left_out=3,
    panes=(Pane(server="/run/tmux", name="main:0.1", pid=9, lines=("$ wg", "up")),),
    usage=Usage(1.5, 0.25, 4_200_000),
    peaks={"memory": 123_456_789, "processes": 4},
    missing=("/run: why",),
)


ALL_OF_IT = "4.2 MB the largest process, 123 MB memory at most, 4 processes at most"


def test_evidence_is_told_whole() -> None:
    """What was used, each change with the end of its text, each pane, and what is missing."""
    failed = Attempt(ending=Exited(1), phases={"run": 1.0}, waited=0.3, evidence=EVIDENCE)
    run = records.of(result_factories.result(failed, name="bad"))

    assert lines(summary.whole(run, run.scenarios[0]))[3:-2] == [
        "  took    1.00 s after 0.30 s of waiting: run 1.00 s",
        f"  used    1.50 s user, 0.25 s system, {ALL_OF_IT}",
        "  changed /p/.git  folder, 2 kB, 12 changes in it",
        "  added   /p/.wg/service/daemon.log  file, 9 B",
        "  │ a",
        "  │ b",
        "  removed /p/gone\\n  file",
        "  added   /p/to  link to /etc, 4 B",
        "  added   /p/wg  file, 12.3 MB",
        "  changed 3 more",
        "  pane    main:0.1 of tmux at /run/tmux",
        "  │ $ wg",
        "  │ up",
        "  missing /run: why",
    ]


def many() -> Evidence:
    """More than would be looked through."""
    log = Change(path="/p/a/daemon.log", change="added", kind="file", size=40, text="b\n" * 20)
    others = (replace(log, path=f"/p/{number}", text="c\n") for number in range(8))
    return Evidence(
        changes=(
            log,
            Change(path="/p/a/it.sock", change="added", kind="socket"),
            Change(path="/p/.git", change="changed", kind="folder", size=2048, within=12),
            *others,
        )
    )


def test_many_changes_are_told_by_their_folders() -> None:
    """That can be looked over; what a file holds is shown when it is asked for."""
    run = records.of(
        result_factories.result(Attempt(ending=Exited(1), evidence=many()), name="bad")
    )
    (one,) = run.scenarios

    assert lines(summary.whole(run, one))[3:-2] == [
        "  added   /p/a:  daemon.log 40 B, it.sock socket",
        "  changed /p:  .git/ 12 changes",
        f"  added   /p:  {', '.join(f'{number} 40 B' for number in range(8))}",
        "  look    with --file PATTERN, for what files hold that match it",
    ]
    assert lines(summary.files(one, "daemon.*")) == [
        "  added   /p/a/daemon.log  file, 40 B",
        *["  │ b"] * 20,
    ]
    assert lines(summary.files(one, "/p/*/*.log")) == lines(summary.files(one, "a/daemon.log"))
    assert lines(summary.files(one, "daemon")) == []


def test_what_each_try_changed_alike_is_told_once() -> None:
    """A second try seldom writes anything else; one that does is told like the first."""
    first = Attempt(ending=Exited(1), evidence=many())
    other = Attempt(ending=Exited(1), evidence=replace(many(), changes=many().changes[1:]))
    run = records.of(result_factories.result(first, other, first, name="bad"))

    shown = lines(summary.whole(run, run.scenarios[0]))
    assert "  changed the same 11 paths as in try 1" in shown
    assert len([line for line in shown if line.startswith("  look")]) == 2


def test_failure_says_where_its_evidence_is() -> None:
    """One short line: how much there is, and the command that shows it."""
    run = records.of(
        result_factories.result(Attempt(ending=Exited(1), evidence=EVIDENCE), name="bad")
    )

    assert lines(summary.failure(run, run.scenarios[0], ("again",)))[-2:] == [
        "  kept    8 changes, 1 pane: isosmoke show 1/bad",
        "  repeat  again",
    ]


def test_failure_without_evidence_says_nothing_of_it() -> None:
    """What was used, or what is missing, is no reason to look."""
    empty = Evidence(usage=Usage(1.0, 1.0, 1), missing=("/run: why",))
    run = records.of(result_factories.result(Attempt(ending=Exited(1), evidence=empty), name="bad"))

    assert not [
        one
        for one in lines(summary.failure(run, run.scenarios[0], ("again",)))
        if one.startswith("  kept")
    ]


def test_what_passed_says_so_and_no_reason() -> None:
    """There is nothing to explain."""
    run = records.of(records.passed())

    assert lines(summary.whole(run, run.scenarios[0]))[2] == "  try 1   PASS alone"


def test_a_run_is_told_again_as_when_it_ended() -> None:
    """Word for word what the console said, but for how to repeat, which is exact."""
    scenarios = records.every_outcome()
    result = result_factories.run(*scenarios, notes=("Beware.",))
    file = StringIO()
    console = Console(file=file, width=80, highlight=False, soft_wrap=True, color_system=None)
    progress = Progress(console, live=False, repeat=lambda name: ("isosmoke", "run", name))
    progress(RunStarted(tuple(one.name for one in scenarios), result))
    for one in scenarios:
        progress(ScenarioFinished(one))
    progress(RunFinished(result))

    def plain(line: str) -> str:
        return line if not line.startswith("  repeat") else line.rsplit(maxsplit=1)[-1]

    again = lines(summary.replay(records.of(*scenarios, notes=("Beware.",))))
    assert [plain(one) for one in again] == [plain(one) for one in file.getvalue().splitlines()]


def test_a_run_that_was_cut_short_says_so() -> None:
    """The counts are followed by what ended it, or by that nothing did."""
    stopped = records.of(stopped="SIGINT")

    assert summary.summary(stopped).plain == "in 2.5 s, stopped by SIGINT"
    killed = stopped.model_copy(update={"finished": False, "stopped": None})
    assert summary.summary(killed).plain == "in 2.5 s, not finished"


@settings(deadline=None)
@given(records.ANY_TEXT)
def test_nothing_that_was_written_steers_the_terminal(text: str) -> None:
    """Whatever a script printed or a path is of, every line is printable."""
    run = records.hostile_run(text)

    for line in lines([*summary.replay(run), *summary.whole(run, run.scenarios[0])]):
        assert printable(line) == line


def test_what_is_left_behind_is_told_loudly() -> None:
    """Each thing that could not be removed has a line of its own before the counts."""
    first, *_ = lines(summary.end(records.dirty()))

    assert first == "DIRTY: box (remove it: docker rm box)"
