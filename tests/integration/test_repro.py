"""A shell in a scenario's sandbox: at a real terminal and with piped lines, on every engine."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import available, terminal_screen
from support.project import GOOD, Project
from support.terminal_screen import Screen

LEAKY = """
[[scenario]]
name = "leaky"
script = "scenarios/leaky.sh"
assertion = "It leaves nothing."
"""

engines = pytest.mark.parametrize("engine", available.ENGINE_NAMES)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project with a scenario that passes and one that leaves a process."""
    project = Project.within(tmp_path, GOOD + LEAKY)
    project.path("scenarios/leaky.sh").write_text("echo ran\nsleep 600 & exit 0\n")
    return project


def run_lines(project: Project, text: str, *args: str) -> "subprocess.CompletedProcess[str]":
    """Run these lines in a shell in the sandbox that the arguments select."""
    return subprocess.run(
        project.command("repro", *args),
        cwd=project.top,
        env=dict(project.environment()),
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def terminal_session(
    project: Project, *args: str
) -> Iterator[tuple[Screen, "subprocess.Popen[bytes]"]]:
    """Open a shell at a terminal, and yield it once the prompt is visible."""
    environment = {**project.environment(), "TERM": "xterm-256color"}
    command = project.command("repro", *args)
    with terminal_screen.program(command, working=project.top, environment=environment) as (
        screen,
        process,
    ):
        screen.wait_for("(isosmoke good)")
        screen.wait_for("/project ")
        yield screen, process


@engines
def test_lines_run_in_sandbox_of_scenario(project: Project, engine: str) -> None:
    """Each line has the live binary, and output and exit code are those of the shell."""
    available.require_engine(engine)
    text = 'wg\ntest "$WG_SMOKE_SCENARIO" = good\ntouch mine && bash "$ISOSMOKE_SCRIPT"\nexit 5\n'
    done = run_lines(project, text, "good", "--engine", engine)

    assert done.stdout == "wg\nfine\n"
    assert done.returncode == 5
    assert not project.path("mine").exists()


@engines
def test_banner_describes_the_sandbox(project: Project, engine: str) -> None:
    """The banner reports the binary and the command that runs the script."""
    available.require_engine(engine)
    report = run_lines(project, "", "good", "--engine", engine).stderr

    assert "good before its script" in report
    assert f"{engine}, image host" in report
    assert str(project.binary) in report
    assert str(project.path("scenarios/good.sh")) in report
    assert 'bash "$ISOSMOKE_SCRIPT"' in report
    assert "It works." in report


def test_long_banner_values_are_indented(project: Project) -> None:
    """On a narrow terminal only labels start at the left edge."""
    available.require_engine("bubblewrap")
    assertion = " ".join(["word"] * 30)
    text = project.manifest.read_text().replace("It works.", assertion)
    project.manifest.write_text(text)
    with terminal_session(project, "good") as (screen, _):
        rows = screen.seen.decode().splitlines()

    first = next(number for number, row in enumerate(rows) if row.startswith("  asserts"))
    assert rows[first] == f"  asserts  {' '.join(['word'] * 14)}"
    assert rows[first + 1] == f"{' ' * 11}{' '.join(['word'] * 14)}"


@engines
def test_survivors_are_frozen_after_script(project: Project, engine: str) -> None:
    """The outcome is reported, and survivors are stopped until they are resumed."""
    available.require_engine(engine)
    state = 'for p in $(pgrep -x sleep); do read -r _ _ s _ <"/proc/$p/stat"; echo "$s"; done\n'
    done = run_lines(
        project, f"{state}kill -CONT -1\n{state}", "leaky", "--after", "--engine", engine
    )

    # The resumed process may not sleep yet.
    assert done.stdout in ("T\nS\n", "T\nR\n")
    assert "LEAK: left 1 process: sleep 600" in done.stderr
    assert "kill -CONT" in done.stderr
    assert done.stderr.startswith("isosmoke: running leaky before opening the shell\nran\n")


def test_survivors_run_with_thaw(project: Project) -> None:
    """With --thaw no process is stopped."""
    available.require_engine("bubblewrap")
    state = 'read -r _ _ s _ <"/proc/$(pgrep -x sleep)/stat"; echo "$s"\n'
    done = run_lines(project, state, "leaky", "--after", "--thaw")

    assert done.stdout == "S\n"
    assert "kill -CONT" not in done.stderr


@engines
def test_shell_has_a_real_terminal(project: Project, engine: str) -> None:
    """Size, colours and keys are those of the user's terminal, and a resize is passed on."""
    available.require_engine(engine)
    with terminal_session(project, "good", "--engine", engine) as (screen, process):
        screen.type("stty size; tput colors; test -t 0 -a -t 1 -a -t 2 && echo all-$((3))\r")
        screen.wait_for("24 80")
        screen.wait_for("256")
        screen.wait_for("all-3")
        screen.type(r"printf '\033[31mr%s\033[0m\n' ed" + "\r")
        screen.wait_for("\033[31mred\033[0m")
        # A shell that redraws its line for a new size may lose input.
        screen.type(
            "echo waits-$((1)); until [ \"$(stty size)\" = '31 97' ]; do sleep 0.1; done;"
            " echo sized-$((1))\r"
        )
        screen.wait_for("waits-1")
        screen.resize(31, 97)
        screen.wait_for("sized-1")
        screen.type("sh -c 'echo up-$((1)); exec sleep 600'\r")
        screen.wait_for("up-1")
        screen.type("\x03")
        screen.type("echo status-$?; exit 7\r")
        screen.wait_for("status-130")

        assert process.wait(60) == 7


@engines
def test_tmux_works_in_sandbox(project: Project, engine: str) -> None:
    """A full-screen program that creates terminals can be used."""
    available.require_engine(engine)
    with terminal_session(project, "good", "--engine", engine) as (screen, process):
        screen.type("tmux -f /dev/null new 'echo deep-$((6 * 7)); read it; exit'\r")
        screen.wait_for("deep-42")
        screen.wait_for("[0]")
        screen.type("\r")
        screen.wait_for("[exited]")
        screen.type("exit\r")

        assert process.wait(60) == 0


def test_terminal_settings_are_restored(project: Project) -> None:
    """The terminal is raw during the shell, and has its original settings afterwards."""
    available.require_engine("bubblewrap")
    with terminal_session(project, "good") as (screen, process):
        raw = screen.settings()
        screen.type("exit\r")
        process.wait(60)
        after = screen.settings()

    with terminal_screen.program(
        ["true"], working=project.top, environment=project.environment()
    ) as (
        fresh,
        _,
    ):
        assert raw[3] != fresh.settings()[3]
        assert after[:6] == fresh.settings()[:6]


def test_sigterm_ends_shell_and_restores_terminal(project: Project) -> None:
    """SIGTERM ends the shell and its sandbox, is reported, and restores the terminal."""
    available.require_engine("bubblewrap")
    with terminal_session(project, "good") as (screen, process):
        raw = screen.settings()
        os.kill(process.pid, signal.SIGTERM)

        assert process.wait(60) == 143
        assert screen.settings() != raw
        screen.wait_for("terminated by SIGTERM")
    assert not any((project.state / "scratch").iterdir())


def test_script_and_command_need_no_manifest(project: Project, tmp_path: Path) -> None:
    """A script from any directory, a command, or only a sandbox can be opened."""
    available.require_engine("bubblewrap")
    script = tmp_path / "elsewhere.sh"
    script.write_text("echo from elsewhere\nexit 9\n")
    project.manifest.unlink()

    script_result = run_lines(project, 'bash "$ISOSMOKE_SCRIPT"\n', "--script", str(script))
    assert (script_result.stdout, script_result.returncode) == ("from elsewhere\n", 9)

    after = run_lines(project, "echo hi\n", "--after", "--", "wg", "a b")
    assert after.stdout == "hi\n"
    assert "run it   wg 'a b'" in after.stderr
    assert "outcome  PASS" in after.stderr

    assert run_lines(project, "wg\n").stdout == "wg\n"


def record_run(project: Project, *names: str) -> str:
    """Run these scenarios, and return the id of the run."""
    done = project.run("run", "--json", *names)
    return str(json.loads(done.stdout)["id"])


def test_recorded_outcome_is_reported_if_different(project: Project) -> None:
    """After the script, the recorded outcome is reported only if the new outcome differs."""
    available.require_engine("bubblewrap")
    run = record_run(project, "good")

    assert "recorded " not in run_lines(project, "", f"{run}/good", "--after").stderr
    project.path("scenarios/good.sh").write_text("exit 3\n")
    report = run_lines(project, "", f"{run}/good", "--after").stderr
    assert "recorded PASS" in report
    assert "outcome  FAIL: exit 3" in report


def test_past_run_is_reproduced_with_recorded_binary(project: Project) -> None:
    """If the binary has changed, its stored copy is used, and that is reported."""
    available.require_engine("bubblewrap")
    run = record_run(project, "good")
    project.binary.write_text("#!/bin/sh\necho another\n")
    done = run_lines(project, "wg\n", f"{run}/good")

    assert done.stdout == "wg\n"
    assert "has changed since" in done.stderr
    assert "recorded PASS" in done.stderr
    assert run_lines(project, "wg\n", f"{run}/good", "--binary", "wg").stdout == "another\n"


def test_missing_recorded_binary_is_not_replaced(project: Project) -> None:
    """Without the binary and its copy, nothing is reproduced."""
    available.require_engine("bubblewrap")
    run = record_run(project, "good")
    project.binary.write_text("#!/bin/sh\necho another\n")
    for copy in (project.state / "binaries").glob("*/*"):
        copy.unlink()
    done = run_lines(project, "wg\n", f"{run}/good")

    assert done.returncode == 125
    assert "the binary that was tested is no longer available" in done.stderr
    assert "--binary" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["good", "--", "true"], 2, "only one of them"),
        (["--after"], 2, "--after requires a script or a command"),
        (["*"], 2, "matches 2 scenarios"),
        (["nope"], 4, "no scenario is named 'nope'"),
        (["nope/good"], 4, "no run is recorded"),
        (["good", "--image", " "], 2, "--image"),
    ],
)
def test_wrong_arguments_are_reported(
    project: Project, args: list[str], code: int, message: str
) -> None:
    """An error is reported before a sandbox is created."""
    done = run_lines(project, "", *args)

    assert (done.returncode, message in done.stderr) == (code, True), done.stderr


def test_missing_script_of_past_run_is_reported(project: Project) -> None:
    """A run whose script no longer exists cannot be reproduced."""
    available.require_engine("bubblewrap")
    run = record_run(project, "good")
    project.path("scenarios/good.sh").unlink()
    done = run_lines(project, "", f"{run}/good")

    assert (done.returncode, "scenarios/good.sh does not exist" in done.stderr) == (2, True), (
        done.stderr
    )


def test_piped_lines_are_saved_as_scenario(project: Project) -> None:
    """The saved scenario has the same exit code as the piped lines."""
    available.require_engine("bubblewrap")
    args = ("good", "--save", "mine", "--owner", "task-z", "--assertion", "It is mine.")
    done = run_lines(project, "wg add x\nexit 3\n", *args)

    assert done.returncode == 3
    assert project.path("scenarios/mine.sh").read_text().endswith("\n\nwg add x\nexit 3\n")
    entry = project.manifest.read_text().removeprefix(GOOD + LEAKY)
    assert 'owners = ["task-z"]' in entry
    assert 'assertion = "It is mine."' in entry
    assert done.stderr.endswith(" fails with the bug: isosmoke run mine\n")
    document = json.loads(project.run("run", "--json", "mine").stdout)
    assert document["scenarios"][0]["exit_code"] == 3


def test_typed_commands_are_saved_as_scenario(project: Project) -> None:
    """Commands are saved as bash read them: edited, in order, and with all of their lines."""
    available.require_engine("bubblewrap")
    with terminal_session(project, "good", "--save", "mine") as (screen, process):
        screen.type("wgx\x7f; echo on-$((1))\r")
        screen.wait_for("on-1")
        screen.type("for a in 1 2; do\recho n-$a\rdone\r")
        screen.wait_for("n-2")
        screen.type("exit\r")
        assert process.wait(60) == 0

    body = project.path("scenarios/mine.sh").read_text().partition("\n\n")[2]
    assert body == "wg; echo on-$((1))\nfor a in 1 2; do\necho n-$a\ndone\n"


def test_scenario_that_cannot_be_saved_is_reported_first(project: Project) -> None:
    """A name that is taken or invalid is reported before the user types anything."""
    for args in (("--save", "leaky"), ("--save", "no/name"), ("--owner", "x")):
        done = run_lines(project, "touch x\n", "good", *args)

        assert done.returncode == 2
        assert "in a fresh sandbox" not in done.stderr


def test_environment_of_sandbox_is_saved(project: Project) -> None:
    """The saved scenario has the environment in which it was typed."""
    available.require_engine("bubblewrap")
    project.manifest.write_text(
        GOOD.rstrip() + '\nnetwork = "isolated"\nenv = { A = "1 2" }\npass_env = ["B"]\n'
    )
    run_lines(project, 'test "$A" = "1 2"\n', "good", "--save", "mine")
    entry = project.manifest.read_text().rpartition("[[scenario]]")[2]

    for line in ('network = "isolated"', 'env = { A = "1 2" }', 'pass_env = ["B"]'):
        assert line in entry.splitlines()


def test_limits_of_sandbox_are_saved(project: Project) -> None:
    """Every key that affects the sandbox is saved, and the new scenario runs like the old one."""
    available.require_engine("bubblewrap")
    keys = (
        "limits = { open_files = 77 }",
        'capabilities = ["IPC_LOCK"]',
        'locks = ["one"]',
        'requires = { commands = ["sh"] }',
        "settle_seconds = 1.5",
        "timeout_seconds = 99",
    )
    project.manifest.write_text("\n".join([GOOD.rstrip(), *keys, ""]))
    commands = 'ulimit -n; echo "$WG_SMOKE_TIMEOUT_SECS"\n'
    done = run_lines(project, commands, "good", "--save", "mine")
    entry = project.manifest.read_text().rpartition("[[scenario]]")[2]

    assert done.stdout == "77\n99\n"
    assert set(keys) <= set(entry.splitlines())
    done = project.run("run", "--json", "mine")
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert scenario["outcome"] == "PASS", scenario
    assert project.run("logs", "mine").stdout == "77\n99\n"


def test_timeout_without_manifest_is_not_saved(project: Project) -> None:
    """An hour is for a user who types; the saved scenario has the manifest's timeout."""
    available.require_engine("bubblewrap")
    run_lines(project, "true\n", "--save", "mine")
    entry = project.manifest.read_text().rpartition("[[scenario]]")[2]

    assert 'name = "mine"' in entry
    assert "timeout_seconds" not in entry
