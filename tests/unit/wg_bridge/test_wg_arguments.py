"""The arguments of wg: its task and graph directory, and what wg itself would refuse."""

import subprocess
from pathlib import Path

import pytest

from isosmoke.errors import UsageError
from isosmoke.wg_bridge import wg_arguments
from isosmoke.wg_bridge.wg_arguments import DONE_OPTIONS, TOP_OPTIONS, DoneCall
from support import available

CALLS: list[tuple[str, DoneCall]] = [
    ("done fix", DoneCall(task="fix")),
    ("done --dir .wg broken", DoneCall(task="broken", directory=".wg")),
    ("done --dir=.wg broken", DoneCall(task="broken", directory=".wg")),
    ("done broken --dir other", DoneCall(task="broken", directory="other")),
    ("--dir .wg done broken", DoneCall(task="broken", directory=".wg")),
    ("--dir done done done", DoneCall(task="done", directory="done")),
    ("--dir one done broken --dir two", DoneCall(task="broken", directory="two")),
    ("done --dir - task", DoneCall(task="task", directory="-")),
    ("done --dir=-x task", DoneCall(task="task", directory="-x")),
    ("--json -a done --converged fix", DoneCall(task="fix")),
    ("done --skip-verify --ignore-unmerged-worktree fix", DoneCall(task="fix")),
    ("done --full-smoke fix", DoneCall(task="fix", full=True)),
    ("done fix --skip-smoke", DoneCall(task="fix", skip=True)),
    ("done -- fix", DoneCall(task="fix")),
    ("done -- --full-smoke", DoneCall(task="--full-smoke")),
    ("done -- --dir", DoneCall(task="--dir")),
    ("done -", DoneCall(task="-")),
    ("done fix --unknown", DoneCall(task="fix")),
    ("done fix --unknown value --dir=other", DoneCall(task="fix", directory="other")),
    ("done fix --help", DoneCall(task="fix", asks_for_help=True)),
    ("done -ah", DoneCall(task="", asks_for_help=True)),
    ("--help-all done", DoneCall(task="", asks_for_help=True)),
]

OTHER_COMMANDS = [
    "",
    "show done",
    "--dir done show",
    "--json",
    "-- done fix",
    "user archive",
    "list",
]

REFUSED = [
    ("done", "no task given"),
    ("done --full-smoke", "no task given"),
    ("done --dir fix", "no task given"),
    ("done --dir", "--dir has no value"),
    ("done --dir --json fix", "--dir has no value"),
    ("done --dir -- fix", "--dir has no value"),
    ("done --dir= fix", "--dir has no value"),
    ("done --dir a --dir b fix", "only once"),
    ("done --json --json fix", "only once"),
    ("done --json=yes fix", "takes no value"),
    ("done one two", "takes one task"),
    ("done one -- two", "takes one task"),
    ("done --unknown fix", "--unknown is no option of wg"),
    ("done --unknown=value fix", "--unknown is no option of wg"),
    ("done --di other fix", "did you mean '--dir'?"),
    ("done -x fix", "-x is no option of wg"),
    ("done -ax fix", "-ax is no option of wg"),
    ("done -V fix", "-V is no option of wg"),
    ("--unknown value done fix", "--unknown is no option of wg"),
    ("-x done fix", "-x is no option of wg"),
    ("done -d other fix", "refuses -d"),
    ("done fix -d other", "refuses -d"),
    ("done fix -dother", "refuses -d"),
    ("-d other done fix", "refuses -d"),
]


@pytest.mark.parametrize(("line", "call"), CALLS)
def test_call_of_done_is_read(line: str, call: DoneCall) -> None:
    """The task and the graph directory are those that wg would use."""
    assert wg_arguments.parse(line.split()) == call


@pytest.mark.parametrize("line", OTHER_COMMANDS)
def test_another_command_is_not_done(line: str) -> None:
    """The word `done` as a value or as an argument of another command calls nothing."""
    assert wg_arguments.parse(line.split()) is None


@pytest.mark.parametrize(("line", "message"), REFUSED)
def test_call_that_cannot_be_understood_is_refused(line: str, message: str) -> None:
    """An unknown option before the task is an error, as is what wg refuses; each has a hint."""
    with pytest.raises(UsageError) as refused:
        wg_arguments.parse(line.split())

    assert message in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("empty", [["done", "--dir", "", "fix"], ["--dir=", "done", "fix"]])
def test_empty_directory_is_refused(empty: list[str]) -> None:
    """An unset variable in a script does not select another graph."""
    with pytest.raises(UsageError, match="--dir has no value"):
        wg_arguments.parse(empty)


def run_wg(wg: Path, directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a live wg in an empty directory without any graph."""
    return subprocess.run(
        [wg, *arguments],
        cwd=directory,
        env={"PATH": available.PATH, "HOME": str(directory), "RUST_BACKTRACE": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def is_refused_by_parser(process: "subprocess.CompletedProcess[str]") -> bool:
    """Return whether clap refused the arguments, which it reports with exit code 2."""
    return process.returncode == 2 and "error: " in process.stderr


@pytest.mark.parametrize("line", [line for line, _ in REFUSED])
def test_live_wg_refuses_the_same_calls(tmp_path: Path, line: str) -> None:
    """Nothing that a live wg would complete is refused."""
    process = run_wg(available.require_wg(), tmp_path, *line.split())

    assert is_refused_by_parser(process), process.stdout + process.stderr


@pytest.mark.parametrize(
    "line", [line for line, call in CALLS if "--unknown" not in line and not call.asks_for_help]
)
def test_live_wg_accepts_the_same_calls(tmp_path: Path, line: str) -> None:
    """A live wg understands each call, and finds no graph."""
    process = run_wg(available.require_wg(), tmp_path, *line.split())

    assert process.returncode != 0
    assert not is_refused_by_parser(process), process.stderr


@pytest.mark.parametrize(("command", "options"), [((), TOP_OPTIONS), (("done",), DONE_OPTIONS)])
def test_live_wg_has_the_same_options(
    tmp_path: Path, command: tuple[str, ...], options: tuple[wg_arguments.WgOption, ...]
) -> None:
    """Each option is known to a live wg, and takes a value only if it is said to."""
    wg = available.require_wg()
    for option in options:
        value = ["=x"] if option.takes_value else [""]
        process = run_wg(wg, tmp_path, *command, *(option.name + text for text in value), "--none")

        assert f"'{option.name}" not in process.stderr
        if option.name not in ("--help", "--version"):
            assert "unexpected argument '--none'" in process.stderr, option.name
