"""The shim in front of wg: what it gates, what it passes on, and how it is installed."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from support import available, bridged_wg
from support.bridged_wg import Project

FAKE = """#!/bin/sh
exec "$PYTHON" -IS "$RECORDER" "$@"
"""
"""A wg that records how it was called. A sandbox can run it, as it can run a script of sh."""

RECORDER = """
import json, os, sys
call = {"arguments": sys.argv[1:], "cwd": os.getcwd(), "tty": os.isatty(0)}
call["environment"] = dict(os.environ)
call["input"] = "" if os.isatty(0) else sys.stdin.read()
open(os.environ["CALLS"], "a").write(json.dumps(call) + "\\n")
sys.stdout.write("out")
sys.stderr.write("err")
sys.exit(int(os.environ.get("CODE", "0")))
"""

NO_VARIABLES: Mapping[str, str] = {}

ADDED_BY_SHELLS = {"PWD", "OLDPWD", "SHLVL", "_"}


class Installation:
    """A project with a fake wg and a shim in front of it."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.calls = project.top.parent / "calls.jsonl"
        self.real = project.top.parent / "real bin"
        self.real.mkdir()
        self.recorder = project.top.parent / "recorder.py"
        self.recorder.write_text(RECORDER)
        write_program(self.real / "wg", FAKE)
        installed = self.isosmoke("shim", "install")
        assert installed.returncode == 0, installed.stderr
        self.front = Path(os.environ["ISOSMOKE_STATE"]) / "shim"
        assert installed.stdout == f"export PATH='{self.front}':$PATH\n"

    def environment(self, path: str = "", **variables: str) -> dict[str, str]:
        """Return an environment with the shim first on PATH, or with another PATH."""
        recording = {
            "CALLS": str(self.calls),
            "PYTHON": sys.executable,
            "RECORDER": str(self.recorder),
        }
        environment = self.project.environment({**recording, **variables})
        del environment["WG_SMOKE_MANIFEST"]
        return {**environment, "PATH": path or f"{self.front}:{self.real}:{bridged_wg.PATH}"}

    def isosmoke(self, *arguments: str, path: str = "") -> "subprocess.CompletedProcess[str]":
        """Run isosmoke; by default, without the shim on PATH."""
        return self._run(
            [sys.executable, "-m", "isosmoke", *arguments],
            self.environment(path or f"{self.real}:{bridged_wg.PATH}"),
        )

    def wg(
        self, *arguments: str, text: str = "", path: str = "", **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run the first wg on PATH."""
        environment = self.environment(path, **variables)
        program = shutil.which("wg", path=environment["PATH"])
        assert program
        return self._run([program, *arguments], environment, text)

    def _run(
        self, command: list[str], environment: Mapping[str, str], text: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            cwd=self.project.top,
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def read_calls(self) -> list[list[str]]:
        """Return the arguments of each call of the fake wg."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [json.loads(line)["arguments"] for line in lines]


def write_program(path: Path, text: str) -> None:
    """Write an executable script."""
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """Return a project with an installed shim; its task `task` owns nothing yet."""
    return Installation(bridged_wg.create_project(tmp_path / "with a space", monkeypatch))


PASSED = [
    [],
    ["show", "done"],
    ["--dir", "done", "show", "task"],
    ["--json", "list"],
    ["-a", "--help-all"],
    ["--", "done", "task"],
    ["log", "task", "it is done; `x` $(y) \"'\\ *", ""],
    ["-x", "--", "list"],
    ["a" * 1000],
]


@pytest.mark.parametrize("arguments", PASSED, ids=lambda arguments: " ".join(arguments)[:20])
def test_other_calls_are_unchanged(installation: Installation, arguments: list[str]) -> None:
    """Arguments, stdin, stdout, stderr and the exit code are those of wg."""
    done = installation.wg(*arguments, text="in\0put", CODE="7")

    (line,) = installation.calls.read_text().splitlines()
    call = json.loads(line)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out", "err")
    assert call["arguments"] == arguments
    assert call["input"] == "in\0put"
    assert call["cwd"] == str(installation.project.top)


def test_environment_is_unchanged(installation: Installation) -> None:
    """No variable is added or changed, except those that every shell sets."""
    odd = {"wg": "1", "python": "2", "ENV": "/dev/null", "directory": "3"}
    installation.wg("list", **odd)

    found = json.loads(installation.calls.read_text())["environment"]
    expected = installation.environment(**odd)
    changed = {name for name, value in found.items() if expected.get(name) != value}
    assert changed | (expected.keys() - found.keys()) <= ADDED_BY_SHELLS | {"LC_CTYPE"}


def test_process_is_unchanged(installation: Installation) -> None:
    """The shim becomes wg: it is the same process, so every signal reaches wg."""
    write_program(installation.real / "wg", "#!/bin/sh\necho $$\nread line\n")
    with subprocess.Popen(
        [installation.front / "wg", "service"],
        env=installation.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == f"{process.pid}\n"
        process.send_signal(signal.SIGUSR1)
        assert process.wait(60) == -signal.SIGUSR1


@pytest.mark.parametrize("arguments", [["list"], ["done", "task"]])
def test_terminal_is_unchanged(installation: Installation, arguments: list[str]) -> None:
    """The real wg has the terminal of its caller, after the gate too."""
    installation.project.add("passes", "exit 0")
    controller, terminal = pty.openpty()
    try:
        subprocess.run(
            [installation.front / "wg", *arguments],
            cwd=installation.project.top,
            env=installation.environment(),
            stdin=terminal,
            capture_output=True,
            timeout=300,
            check=True,
        )
    finally:
        os.close(controller)
        os.close(terminal)

    assert json.loads(installation.calls.read_text())["tty"] is True


GATED = [
    ["done", "task"],
    ["done", "--dir", ".wg", "task"],
    ["--dir", ".wg", "done", "task"],
    ["--dir=.wg", "--json", "done", "task"],
    ["-a", "done", "--", "task"],
]


@pytest.mark.parametrize("arguments", GATED, ids=" ".join)
def test_done_is_gated(installation: Installation, arguments: list[str]) -> None:
    """The real wg is called once the gate opens, with the same arguments."""
    installation.project.add("checks", "test ! -e broken || { echo broke >&2; exit 3; }")
    (installation.project.top / "broken").touch()

    shut = installation.wg(*arguments)
    calls = installation.read_calls()
    (installation.project.top / "broken").unlink()
    opened = installation.wg(*arguments, CODE="5")

    assert (shut.returncode, calls) == (1, [])
    assert "FAIL checks: exit 3: broke" in shut.stderr
    assert (opened.returncode, installation.read_calls()) == (5, [arguments])
    assert "gate: OPEN for 'task'" in opened.stderr


@pytest.mark.parametrize("arguments", ["--new x done task", "-d x done task", "done --new task"])
def test_call_that_is_not_certain_is_refused(installation: Installation, arguments: str) -> None:
    """The value of an unknown option could be the task, or hide the command."""
    refused = installation.wg(*arguments.split())

    assert (refused.returncode, installation.read_calls()) == (2, [])
    assert "  try: " in refused.stderr


def test_upgraded_wg_is_used(installation: Installation) -> None:
    """The real wg is looked up at each call, and may move to another directory."""
    installation.project.add("passes", "exit 0")
    later = installation.real.parent / "later"
    later.mkdir()
    write_program(later / "wg", '#!/bin/sh\necho upgraded "$@"\n')
    path = f"{installation.front}:{installation.real}:{later}:{bridged_wg.PATH}"
    assert installation.wg("list", path=path).stdout == "out"

    (installation.real / "wg").unlink()

    assert installation.wg("list", path=path).stdout == "upgraded list\n"
    assert installation.wg("done", "task", path=path).stdout == "upgraded done task\n"


def test_shim_never_calls_a_shim(installation: Installation) -> None:
    """Neither a link to it, a copy of it, nor a second one is the real wg."""
    installation.project.add("passes", "exit 0")
    directories = [installation.real.parent / name for name in ("link", "copy", "second")]
    for directory in directories:
        directory.mkdir()
    (directories[0] / "wg").symlink_to(installation.front / "wg")
    shutil.copy(installation.front / "wg", directories[1])
    installation.isosmoke("shim", "install", "--directory", str(directories[2]))
    fronts = ":".join(map(str, (*directories, installation.front, *directories)))

    path = f"{fronts}:{installation.real}:{bridged_wg.PATH}"
    assert installation.wg("list", path=path).stdout == "out"
    assert installation.wg("done", "task", path=path).returncode == 0
    assert installation.read_calls() == [["list"], ["done", "task"]]
    lost = installation.wg("list", path=f"{fronts}:{bridged_wg.PATH}")
    assert (lost.returncode, lost.stdout) == (127, "")
    assert "finds no wg on PATH" in lost.stderr


def test_shim_is_not_the_binary_under_test(installation: Installation) -> None:
    """Scenarios run with the wg behind it, and it cannot be named as the binary."""
    installation.project.add("names", 'grep -q RECORDER "$WG_BIN"')
    path = installation.environment()["PATH"]

    assert installation.isosmoke("run", path=path).returncode == 0
    named = installation.isosmoke("run", "--binary", str(installation.front / "wg"), path=path)
    assert named.returncode == 2
    assert "isosmoke's shim" in named.stderr


def test_shim_without_its_isosmoke_gates_nothing(installation: Installation) -> None:
    """`done` is refused with the way out; other commands still work."""
    shim = installation.front / "wg"
    write_program(shim, shim.read_text().replace(sys.executable, "/gone/python"))

    refused = installation.wg("done", "task")

    assert (refused.returncode, installation.read_calls()) == (125, [])
    assert "isosmoke shim install" in refused.stderr
    assert installation.wg("list").stdout == "out"


def test_repository_does_not_replace_isosmoke(installation: Installation) -> None:
    """A module of that name in the working directory is not imported."""
    installation.project.add("fails", "exit 3")
    (installation.project.top / "isosmoke.py").write_text("raise SystemExit(0)\n")

    assert installation.wg("done", "task").returncode == 1
    assert installation.read_calls() == []


def test_status_tells_whether_done_is_gated(installation: Installation) -> None:
    """It is gated only if the shim comes first, has a wg behind it and is up to date."""
    front, real = str(installation.front), str(installation.real)
    good = installation.isosmoke("shim", "status", path=f"{front}:{real}:{bridged_wg.PATH}")
    behind = installation.isosmoke("shim", "status", path=f"{real}:{front}:{bridged_wg.PATH}")
    absent = installation.isosmoke("shim", "status")
    alone = installation.isosmoke("shim", "status", path=f"{front}:{bridged_wg.PATH}")

    assert (good.returncode, behind.returncode, absent.returncode, alone.returncode) == (0, 1, 1, 1)
    assert f"wg: {real}/wg\n`wg done` is gated" in good.stdout
    assert f"{front}/wg is not the first wg on PATH" in behind.stdout
    assert f"{front}/wg finds no wg after it" in alone.stdout


def test_doctor_names_the_shim(installation: Installation) -> None:
    """It tells whether there is one, and whether it works."""
    path = installation.environment()["PATH"]
    behind = f"{installation.real}:{installation.front}:{bridged_wg.PATH}"

    found = [installation.isosmoke("doctor", "--json", path=entry) for entry in (path, behind)]
    lines = [
        [finding for finding in json.loads(done.stdout)["findings"] if finding["subject"] == "shim"]
        for done in found
    ]

    ((active,), (inactive,)) = lines
    assert active["good"]
    assert active["words"] == (
        f"{installation.front}/wg gates `wg done` in front of {installation.real}/wg"
    )
    assert not inactive["good"]
    assert "export PATH=" in inactive["hint"]


def test_shim_is_removed(installation: Installation) -> None:
    """Only shims are removed, and no other wg is overwritten."""
    path = installation.environment()["PATH"]
    refused = installation.isosmoke("shim", "install", "--directory", str(installation.real))
    removed = installation.isosmoke("shim", "uninstall", path=path)
    again = installation.isosmoke("shim", "uninstall", path=path)

    assert refused.returncode == 2
    assert removed.stdout == f"removed {installation.front}/wg\n"
    assert again.stdout == "no shim is installed\n"
    assert (installation.real / "wg").read_text() == FAKE


def test_live_wg_is_reached(installation: Installation) -> None:
    """A live wg behind the shim prints the same, and its `done` is gated."""
    wg = available.require_wg()
    (installation.real / "wg").unlink()
    (installation.real / "wg").symlink_to(wg)
    installation.project.add("fails", "echo broke >&2; exit 3")
    direct = subprocess.run([wg, "--version"], capture_output=True, text=True, check=True)

    done = installation.wg("done", "task")

    assert installation.wg("--version").stdout == direct.stdout
    assert done.returncode == 1
    assert "FAIL fails: exit 3: broke" in done.stderr
