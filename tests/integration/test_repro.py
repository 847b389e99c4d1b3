"""Sitting in a scenario's own sandbox: at a real terminal and by lines, on every engine."""

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

engines = pytest.mark.parametrize("engine", available.NAMES)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with a scenario that passes and one that leaves a process."""
    made = Project.within(tmp_path, GOOD + LEAKY)
    made.path("scenarios/leaky.sh").write_text("echo ran\nsleep 600 & exit 0\n")
    return made


def lines(project: Project, text: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """What comes of these lines in the sandbox that the words choose."""
    return subprocess.run(
        project.command("repro", *words),
        cwd=project.top,
        env=dict(project.environment()),
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def sitting(project: Project, *words: str) -> Iterator[tuple[Screen, "subprocess.Popen[bytes]"]]:
    """Somebody at a terminal, once the prompt is there."""
    environment = {**project.environment(), "TERM": "xterm-256color"}
    command = project.command("repro", *words)
    with terminal_screen.program(command, working=project.top, environment=environment) as (
        screen,
        one,
    ):
        screen.see("(isosmoke good)")
        screen.see("/project ")
        yield screen, one


@engines
def test_lines_run_where_the_scenario_would(project: Project, engine: str) -> None:
    """Each line is run beside the live binary, its output is all there is, and so is its status."""
    available.engine(engine)
    text = 'wg\ntest "$WG_SMOKE_SCENARIO" = good\ntouch mine && bash "$ISOSMOKE_SCRIPT"\nexit 5\n'
    done = lines(project, text, "good", "--engine", engine)

    assert done.stdout == "wg\nfine\n"
    assert done.returncode == 5
    assert not project.path("mine").exists()


@engines
def test_banner_says_where_one_is(project: Project, engine: str) -> None:
    """Before the first line one is told what is tested, and how to run the script."""
    available.engine(engine)
    told = lines(project, "", "good", "--engine", engine).stderr

    assert "good before its script" in told
    assert f"{engine}, image host" in told
    assert str(project.binary) in told
    assert str(project.path("scenarios/good.sh")) in told
    assert 'bash "$ISOSMOKE_SCRIPT"' in told
    assert "It works." in told


def test_words_of_the_banner_go_on_below_where_they_began(project: Project) -> None:
    """Also on a narrow terminal nothing but names stands at its edge."""
    available.engine("bubblewrap")
    words = " ".join(["word"] * 30)
    text = project.manifest.read_text().replace("It works.", words)
    project.manifest.write_text(text)
    with sitting(project, "good") as (screen, _):
        rows = screen.seen.decode().splitlines()

    first = next(at for at, row in enumerate(rows) if row.startswith("  asserts"))
    assert rows[first] == f"  asserts  {' '.join(['word'] * 14)}"
    assert rows[first + 1] == f"{' ' * 11}{' '.join(['word'] * 14)}"


@engines
def test_after_its_script_everything_is_still_there(project: Project, engine: str) -> None:
    """The outcome is told, and what was left stands still until it is told to go on."""
    available.engine(engine)
    state = 'for p in $(pgrep -x sleep); do read -r _ _ s _ <"/proc/$p/stat"; echo "$s"; done\n'
    done = lines(project, f"{state}kill -CONT -1\n{state}", "leaky", "--after", "--engine", engine)

    # It may not have gone back to sleep yet.
    assert done.stdout in ("T\nS\n", "T\nR\n")
    assert "LEAK: left 1 process: sleep 600" in done.stderr
    assert "kill -CONT" in done.stderr
    assert done.stderr.startswith("isosmoke: leaky runs first, then comes your shell\nran\n")


def test_what_was_left_goes_on_where_that_is_wanted(project: Project) -> None:
    """With --thaw nothing stands still."""
    available.engine("bubblewrap")
    state = 'read -r _ _ s _ <"/proc/$(pgrep -x sleep)/stat"; echo "$s"\n'
    done = lines(project, state, "leaky", "--after", "--thaw")

    assert done.stdout == "S\n"
    assert "kill -CONT" not in done.stderr


@engines
def test_terminal_inside_is_a_real_one(project: Project, engine: str) -> None:
    """Its size, its colours and its keys are those of the user's terminal, and resize with it."""
    available.engine(engine)
    with sitting(project, "good", "--engine", engine) as (screen, one):
        screen.type("stty size; tput colors; test -t 0 -a -t 1 -a -t 2 && echo all-$((3))\r")
        screen.see("24 80")
        screen.see("256")
        screen.see("all-3")
        screen.type(r"printf '\033[31mr%s\033[0m\n' ed" + "\r")
        screen.see("\033[31mred\033[0m")
        # A shell that redraws its line for a new size may lose what is typed meanwhile.
        screen.type(
            "echo waits-$((1)); until [ \"$(stty size)\" = '31 97' ]; do sleep 0.1; done;"
            " echo sized-$((1))\r"
        )
        screen.see("waits-1")
        screen.resize(31, 97)
        screen.see("sized-1")
        screen.type("sh -c 'echo up-$((1)); exec sleep 600'\r")
        screen.see("up-1")
        screen.type("\x03")
        screen.type("echo status-$?; exit 7\r")
        screen.see("status-130")

        assert one.wait(60) == 7


@engines
def test_tmux_works_inside(project: Project, engine: str) -> None:
    """A full-screen program that makes terminals of its own can be used."""
    available.engine(engine)
    with sitting(project, "good", "--engine", engine) as (screen, one):
        screen.type("tmux -f /dev/null new 'echo deep-$((6 * 7)); read it; exit'\r")
        screen.see("deep-42")
        screen.see("[0]")
        screen.type("\r")
        screen.see("[exited]")
        screen.type("exit\r")

        assert one.wait(60) == 0


def test_terminal_is_given_back_as_it_was(project: Project) -> None:
    """Every key goes inside while somebody sits there, and afterwards none does."""
    available.engine("bubblewrap")
    with sitting(project, "good") as (screen, one):
        raw = screen.settings()
        screen.type("exit\r")
        one.wait(60)
        after = screen.settings()

    with terminal_screen.program(
        ["true"], working=project.top, environment=project.environment()
    ) as (
        fresh,
        _,
    ):
        assert raw[3] != fresh.settings()[3]
        assert after[:6] == fresh.settings()[:6]


def test_signal_ends_it_and_gives_the_terminal_back(project: Project) -> None:
    """SIGTERM ends the shell and its sandbox, is told, and leaves an ordinary terminal."""
    available.engine("bubblewrap")
    with sitting(project, "good") as (screen, one):
        raw = screen.settings()
        os.kill(one.pid, signal.SIGTERM)

        assert one.wait(60) == 143
        assert screen.settings() != raw
        screen.see("ended by SIGTERM")
    assert not any((project.state / "scratch").iterdir())


def test_script_and_command_need_no_manifest(project: Project, tmp_path: Path) -> None:
    """A bug that is no scenario yet: a script from anywhere, a command, or only a sandbox."""
    available.engine("bubblewrap")
    script = tmp_path / "elsewhere.sh"
    script.write_text("echo from elsewhere\nexit 9\n")
    project.manifest.unlink()

    again = lines(project, 'bash "$ISOSMOKE_SCRIPT"\n', "--script", str(script))
    assert (again.stdout, again.returncode) == ("from elsewhere\n", 9)

    after = lines(project, "echo hi\n", "--after", "--", "wg", "a b")
    assert after.stdout == "hi\n"
    assert "run it   wg 'a b'" in after.stderr
    assert "outcome  PASS" in after.stderr

    assert lines(project, "wg\n").stdout == "wg\n"


def recorded(project: Project, *names: str) -> str:
    """The id of a run of these scenarios, beside its name for one of them."""
    done = project.run("run", "--json", *names)
    return str(json.loads(done.stdout)["id"])


def test_an_outcome_is_told_again_only_where_it_differs(project: Project) -> None:
    """After the script what was is of interest where it is not so any more."""
    available.engine("bubblewrap")
    run = recorded(project, "good")

    assert "was  " not in lines(project, "", f"{run}/good", "--after").stderr
    project.path("scenarios/good.sh").write_text("exit 3\n")
    told = lines(project, "", f"{run}/good", "--after").stderr
    assert "was      PASS" in told
    assert "outcome  FAIL: exit 3" in told


def test_past_run_is_reproduced_with_the_binary_of_then(project: Project) -> None:
    """The source may have changed since: the copy of what was tested is taken, and that is said."""
    available.engine("bubblewrap")
    run = recorded(project, "good")
    project.binary.write_text("#!/bin/sh\necho another\n")
    done = lines(project, "wg\n", f"{run}/good")

    assert done.stdout == "wg\n"
    assert "has changed since" in done.stderr
    assert "was      PASS" in done.stderr
    assert lines(project, "wg\n", f"{run}/good", "--binary", "wg").stdout == "another\n"


def test_binary_of_then_that_is_gone_is_no_other(project: Project) -> None:
    """Where neither the source nor the copy is what was tested, nothing is reproduced silently."""
    available.engine("bubblewrap")
    run = recorded(project, "good")
    project.binary.write_text("#!/bin/sh\necho another\n")
    for copy in (project.state / "binaries").glob("*/*"):
        copy.unlink()
    done = lines(project, "wg\n", f"{run}/good")

    assert done.returncode == 125
    assert "the binary that was tested is gone" in done.stderr
    assert "--binary" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["good", "--", "true"], 2, "one of them"),
        (["--after"], 2, "--after what"),
        (["*"], 2, "means 2 scenarios"),
        (["nope"], 4, "no scenario is named 'nope'"),
        (["nope/good"], 4, "no run is recorded"),
        (["good", "--image", " "], 2, "--image"),
    ],
)
def test_mistake_is_told(project: Project, words: list[str], code: int, said: str) -> None:
    """What cannot be meant is said before anything is made."""
    done = lines(project, "", *words)

    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_script_of_a_past_run_that_is_gone_is_told(project: Project) -> None:
    """There is nothing to reproduce where the script is not any more."""
    available.engine("bubblewrap")
    run = recorded(project, "good")
    project.path("scenarios/good.sh").unlink()
    done = lines(project, "", f"{run}/good")

    assert (done.returncode, "there is no script" in done.stderr) == (2, True), done.stderr


def test_lines_become_a_scenario(project: Project) -> None:
    """What was piped in is a scenario of the manifest afterwards, that comes out as it did."""
    available.engine("bubblewrap")
    words = ("good", "--save", "mine", "--owner", "task-z", "--assertion", "It is mine.")
    done = lines(project, "wg add x\nexit 3\n", *words)

    assert done.returncode == 3
    assert project.path("scenarios/mine.sh").read_text().endswith("\n\nwg add x\nexit 3\n")
    entry = project.manifest.read_text().removeprefix(GOOD + LEAKY)
    assert 'owners = ["task-z"]' in entry
    assert 'assertion = "It is mine."' in entry
    assert done.stderr.endswith(" fails while the bug is there: isosmoke run mine\n")
    again = json.loads(project.run("run", "--json", "mine").stdout)
    assert again["scenarios"][0]["exit_code"] == 3


def test_what_was_typed_at_a_terminal_becomes_a_scenario(project: Project) -> None:
    """Commands are kept as bash read them: edited, in order, and several lines of one together."""
    available.engine("bubblewrap")
    with sitting(project, "good", "--save", "mine") as (screen, one):
        screen.type("wgx\x7f; echo on-$((1))\r")
        screen.see("on-1")
        screen.type("for a in 1 2; do\recho n-$a\rdone\r")
        screen.see("n-2")
        screen.type("exit\r")
        assert one.wait(60) == 0

    body = project.path("scenarios/mine.sh").read_text().partition("\n\n")[2]
    assert body == "wg; echo on-$((1))\nfor a in 1 2; do\necho n-$a\ndone\n"


def test_scenario_that_cannot_be_saved_is_told_before_anything_is_typed(project: Project) -> None:
    """A name that is taken, or a wrong one, costs nobody what he typed."""
    for words in (("--save", "leaky"), ("--save", "no/name"), ("--owner", "x")):
        done = lines(project, "touch x\n", "good", *words)

        assert done.returncode == 2
        assert "in a fresh sandbox" not in done.stderr


def test_environment_of_what_was_reproduced_is_saved_with_it(project: Project) -> None:
    """The new scenario has the surroundings that it was typed in."""
    available.engine("bubblewrap")
    project.manifest.write_text(
        GOOD.rstrip() + '\nnetwork = "isolated"\nenv = { A = "1 2" }\npass_env = ["B"]\n'
    )
    lines(project, 'test "$A" = "1 2"\n', "good", "--save", "mine")
    entry = project.manifest.read_text().rpartition("[[scenario]]")[2]

    for line in ('network = "isolated"', 'env = { A = "1 2" }', 'pass_env = ["B"]'):
        assert line in entry.splitlines()


def test_limits_of_what_was_reproduced_hold_for_what_is_saved(project: Project) -> None:
    """Every key that makes the sandbox is saved, and the new scenario runs like the old one."""
    available.engine("bubblewrap")
    keys = (
        "limits = { open_files = 77 }",
        'capabilities = ["IPC_LOCK"]',
        'locks = ["one"]',
        'requires = { commands = ["sh"] }',
        "settle_seconds = 1.5",
        "timeout_seconds = 99",
    )
    project.manifest.write_text("\n".join([GOOD.rstrip(), *keys, ""]))
    typed = 'ulimit -n; echo "$WG_SMOKE_TIMEOUT_SECS"\n'
    there = lines(project, typed, "good", "--save", "mine")
    entry = project.manifest.read_text().rpartition("[[scenario]]")[2]

    assert there.stdout == "77\n99\n"
    assert set(keys) <= set(entry.splitlines())
    done = project.run("run", "--json", "mine")
    (again,) = json.loads(done.stdout)["scenarios"]
    assert again["outcome"] == "PASS", again
    assert project.run("logs", "mine").stdout == "77\n99\n"


def test_deadline_of_what_is_in_no_manifest_is_not_saved(project: Project) -> None:
    """An hour is for whoever types; a scenario that is made of it has the manifest's deadline."""
    available.engine("bubblewrap")
    lines(project, "true\n", "--save", "mine")
    entry = project.manifest.read_text().rpartition("[[scenario]]")[2]

    assert 'name = "mine"' in entry
    assert "timeout_seconds" not in entry
