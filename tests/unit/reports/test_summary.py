"""Console output of records: a scenario in full, and a past run as it was printed."""

from collections.abc import Iterable
from dataclasses import replace
from io import StringIO

from hypothesis import given, settings
from rich.console import Console, RenderableType

from isosmoke.reports import summary
from isosmoke.reports.progress.display import Progress
from isosmoke.results.events import RunFinished, RunStarted, ScenarioFinished
from isosmoke.results.evidence import Change, Evidence, Pane
from isosmoke.results.machine_load import Doubt
from isosmoke.results.outcome import Exited
from isosmoke.results.run_results import Attempt
from isosmoke.sandbox.survivors import Usage
from isosmoke.text import escape_controls
from support import records, result_factories


def render_lines(parts: Iterable[RenderableType]) -> list[str]:
    """Return the lines printed on a console of 80 columns without a terminal."""
    file = StringIO()
    console = Console(file=file, width=80, highlight=False, soft_wrap=True, color_system=None)
    for part in parts:
        console.print(part)
    return file.getvalue().splitlines()


def test_scenario_is_rendered_in_full() -> None:
    """Every attempt has its outcome, phases, leaked processes, log and last lines."""
    crowded = Attempt(ending=Exited(1), alone=False, output=records.make_output("no\n"))
    failed = records.make_failed().attempts[0]
    run = records.make_record(
        result_factories.make_result(
            crowded, failed, name="bad", assertion="It holds.", owners=("t",)
        )
    )

    rendered = render_lines(summary.render_scenario(run, run.scenarios[0]))

    assert rendered[0] == "FAIL bad"
    assert rendered[1].startswith("  run     1 on bubblewrap, 2026-11-2")
    assert rendered[2:] == [
        "  asserts It holds.",
        "  owners  t",
        "  try 1   FAIL alongside others, exit 1",
        "  │ no",
        "  try 2   FAIL in isolation, exit 3: broken, left 1 process: serve 'a b'",
        "  time    1.60 s: create 0.25 s, start 0.05 s, run 1.00 s, settle 0.20 s, destroy 0.10 s",
        "  leaked  pid 7 ppid 1 S 2.0s  serve 'a b'  listens tcp 127.0.0.1:80  in /work",
        "  allowed pid 7 ppid 1 S 2.0s  tmux  listens tcp 127.0.0.1:80  in /work  (Known.)",
        f"  log     {records.LOG}",
        "  │ fine",
        "  │ broken",
        "  repeat  isosmoke run --manifest /p/manifest.toml --binary /p/wg --engine bubblewrap bad",
        "  shell   isosmoke repro 1/bad --after",
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
    peaks={"memory": 123_456_789, "processes": 4, "cpu": 1_260_000, "io_pressure": 30_000},
    missing=("/run: why",),
)


USAGE = (
    "4.2 MB in the largest process, 123 MB memory at most, 4 processes at most, "
    "1.26 s CPU together, 0.03 s waiting for io"
)


def test_evidence_is_rendered_in_full() -> None:
    """It has used resources, changes with the end of their text, panes, and missing items."""
    failed = Attempt(ending=Exited(1), phases={"run": 1.0}, waited=0.3, evidence=EVIDENCE)
    run = records.make_record(result_factories.make_result(failed, name="bad"))

    assert render_lines(summary.render_scenario(run, run.scenarios[0]))[3:-2] == [
        "  time    1.00 s after a wait of 0.30 s: run 1.00 s",
        f"  used    1.50 s user, 0.25 s system, {USAGE}",
        "  changed /p/.git  folder, 2 kB, 12 changes inside",
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


def create_evidence() -> Evidence:
    """Return more evidence than is shown file by file."""
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


def test_many_changes_are_grouped_by_directory() -> None:
    """`--file` shows the text of matching files."""
    run = records.make_record(
        result_factories.make_result(
            Attempt(ending=Exited(1), evidence=create_evidence()), name="bad"
        )
    )
    (one,) = run.scenarios

    assert render_lines(summary.render_scenario(run, one))[3:-2] == [
        "  added   /p/a:  daemon.log 40 B, it.sock socket",
        "  changed /p:  .git/ 12 changes",
        f"  added   /p:  {', '.join(f'{number} 40 B' for number in range(8))}",
        "  hint    use --file PATTERN to show the contents of matching files",
    ]
    assert render_lines(summary.render_files(one, "daemon.*")) == [
        "  added   /p/a/daemon.log  file, 40 B",
        *["  │ b"] * 20,
    ]
    assert render_lines(summary.render_files(one, "/p/*/*.log")) == render_lines(
        summary.render_files(one, "a/daemon.log")
    )
    assert render_lines(summary.render_files(one, "daemon")) == []


def test_same_changes_of_attempts_are_shown_once() -> None:
    """An attempt with other changes lists them like the first."""
    first = Attempt(ending=Exited(1), evidence=create_evidence())
    other = Attempt(
        ending=Exited(1), evidence=replace(create_evidence(), changes=create_evidence().changes[1:])
    )
    run = records.make_record(result_factories.make_result(first, other, first, name="bad"))

    rendered = render_lines(summary.render_scenario(run, run.scenarios[0]))
    assert "  changed the same 11 paths as in try 1" in rendered
    assert len([line for line in rendered if line.startswith("  hint")]) == 2


def test_failure_names_command_for_its_evidence() -> None:
    """One line has the amount and the command."""
    run = records.make_record(
        result_factories.make_result(Attempt(ending=Exited(1), evidence=EVIDENCE), name="bad")
    )

    assert render_lines(summary.render_failure(run, run.scenarios[0], ("again",)))[-2:] == [
        "  details 8 changes, 1 pane: isosmoke show 1/bad",
        "  repeat  again",
    ]


def test_failure_without_evidence_has_no_such_line() -> None:
    """Used resources and missing items alone do not count."""
    empty = Evidence(usage=Usage(1.0, 1.0, 1), missing=("/run: why",))
    run = records.make_record(
        result_factories.make_result(Attempt(ending=Exited(1), evidence=empty), name="bad")
    )

    assert not [
        line
        for line in render_lines(summary.render_failure(run, run.scenarios[0], ("again",)))
        if line.startswith("  details")
    ]


def test_failure_alongside_others_has_its_doubts_or_its_basis() -> None:
    """A postponed failure has the doubts about its cause, and one that counts says why."""
    doubts = (Doubt(kind="cpu", text="it waited"), Doubt(kind="network", text="one listened"))
    doubtful = Attempt(ending=Exited(1), alone=False, postponed=True, doubts=doubts)
    known = Attempt(ending=Exited(1), alone=False, doubts=doubts, basis="known")
    run = records.make_record(result_factories.make_result(doubtful, known, name="bad"))

    assert render_lines(summary.render_scenario(run, run.scenarios[0]))[2:-2] == [
        "  try 1   FAIL alongside others, exit 1",
        "  doubt   it waited",
        "  doubt   one listened",
        "  try 2   FAIL alongside others, exit 1",
        "  counts  at once: the same inputs failed in isolation in the same way",
    ]


def test_pass_has_no_reason() -> None:
    """There is nothing to explain."""
    run = records.make_record(records.make_passed())

    assert (
        render_lines(summary.render_scenario(run, run.scenarios[0]))[2]
        == "  try 1   PASS in isolation"
    )


def test_replay_equals_live_report() -> None:
    """Only the repeat command differs, because it is exact."""
    scenarios = records.make_every_outcome()
    result = result_factories.make_run(*scenarios, notes=("Beware.",))
    file = StringIO()
    console = Console(file=file, width=80, highlight=False, soft_wrap=True, color_system=None)
    progress = Progress(console, live=False, repeat=lambda name: ("isosmoke", "run", name))
    progress(RunStarted(tuple(scenario.name for scenario in scenarios), result))
    for scenario in scenarios:
        progress(ScenarioFinished(scenario))
    progress(RunFinished(result))

    def plain(line: str) -> str:
        return line if not line.startswith("  repeat") else line.rsplit(maxsplit=1)[-1]

    again = render_lines(summary.render_run(records.make_record(*scenarios, notes=("Beware.",))))
    assert [plain(row) for row in again] == [plain(row) for row in file.getvalue().splitlines()]


def test_summary_of_incomplete_run_gives_the_reason() -> None:
    """The counts are followed by the signal, or by the note that the run is not finished."""
    stopped = records.make_record(stopped="SIGINT")

    assert str(summary.render_summary(stopped)) == "in 2.5 s, stopped by SIGINT"
    killed = replace(stopped, finished=False, stopped=None)
    assert str(summary.render_summary(killed)) == "in 2.5 s, not finished"


def test_interrupted_run_ends_with_the_command_that_continues_it() -> None:
    """A run that ended by itself has nothing to continue."""
    stopped = records.make_record(stopped="SIGINT")
    complete = replace(stopped, stopped=None)
    last = render_lines(summary.render_end(stopped))[-1]

    assert last.startswith(f"run the rest: isosmoke run --rerun {stopped.id} --manifest ")
    assert "--rerun" not in "".join(render_lines(summary.render_end(complete)))


@settings(deadline=None)
@given(records.ANY_TEXT)
def test_foreign_text_cannot_control_the_terminal(text: str) -> None:
    """With any output and paths, every line is printable."""
    run = records.make_hostile_record(text)

    for line in render_lines(
        [*summary.render_run(run), *summary.render_scenario(run, run.scenarios[0])]
    ):
        assert escape_controls(line) == line


def test_leftovers_precede_the_counts() -> None:
    """Each leftover has its own line."""
    first, *_ = render_lines(summary.render_end(records.make_dirty_record()))

    assert first == "DIRTY: box (remove it: docker rm box)"
