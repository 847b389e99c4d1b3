"""The Python API: typed results, no traces in the calling process, and an end on interrupts."""

import inspect
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import isosmoke
from isosmoke.cli.scenarios import run as run_command
from isosmoke.errors import ExitCode, IsosmokeError, ManifestError, NothingSelectedError, UsageError
from support import available
from support.project import BAD, GOOD, SKIPS, Project

WAITS = """
[[scenario]]
name = "waits"
script = "scenarios/waits.sh"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project that is the working directory, on a machine with bubblewrap."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path, GOOD + BAD + SKIPS + WAITS)
    project.path("scenarios/waits.sh").write_text("echo begun\nexec sleep 600\n")
    monkeypatch.chdir(project.top)
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    return project


def list_processes(project: Project) -> list[str]:
    """Return the command lines of processes that name the project."""
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in lines.stdout.splitlines() if str(project.top) in line]


def test_names_are_imported_when_first_used() -> None:
    """`import isosmoke` imports no other module of isosmoke; each name then exists."""
    code = (
        "import sys, isosmoke\n"
        "print(sum(name.startswith('isosmoke') for name in sys.modules))\n"
        "print(all(hasattr(isosmoke, name) for name in isosmoke.__all__))\n"
        "print(set(isosmoke.__all__) <= set(dir(isosmoke)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["1", "True", "True"]


def test_unknown_name_is_an_attribute_error() -> None:
    """A misspelled name of the API is reported as of any module."""
    with pytest.raises(AttributeError, match="no attribute 'runs'"):
        _ = isosmoke.runs


def test_parameters_have_names_of_options() -> None:
    """Each parameter that is no Python object has the name of an option of `isosmoke run`."""
    options = {parameter.name for parameter in run_command.command.params}
    parameters = set(inspect.signature(isosmoke.run_scenarios).parameters)
    renamed = {"manifest": "manifest_path", "select": "expression"}

    assert {
        renamed.get(name, name) for name in parameters - {"working", "on_event", "interrupt"}
    } <= options


def test_command_has_all_of_its_result(project: Project) -> None:
    """A result has the outcome, the exit code, the last lines and the log of the output."""
    result = isosmoke.run(["sh", "-c", "echo out; echo err >&2; pwd; exit 3"], network="isolated")

    assert (result.outcome, result.exit_code, result.blocks) == ("FAIL", 3, True)
    assert result.output.log is not None
    lines = Path(result.output.log).read_text().splitlines()
    assert sorted(lines) == sorted(["out", "err", str(project.top)])


def test_working_is_the_directory_of_a_command(project: Project) -> None:
    """The command runs in `working`, not in the directory of the process."""
    result = isosmoke.run(["pwd"], working=project.path("scenarios"))

    assert result.output.last_lines == (str(project.path("scenarios")),)


@pytest.mark.usefixtures("project")
def test_run_calls_from_several_threads_do_not_mix() -> None:
    """Each thread gets its own result and its own events."""
    found: dict[str, tuple[object, ...]] = {}

    def call(text: str) -> None:
        names: list[str] = []
        threads: set[int] = set()

        def note(event: isosmoke.Event) -> None:
            names.append(event.event)
            threads.add(threading.get_ident())

        result = isosmoke.run(["echo", text], on_event=note)
        is_own = threads == {threading.get_ident()}
        found[text] = (result.output.last_lines, names, is_own)

    workers = [threading.Thread(target=call, args=(text,)) for text in ("one", "two")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    events = ["run_started", "scenario_started", "scenario_finished", "run_finished"]
    assert found == {text: ((text,), events, True) for text in ("one", "two")}


@pytest.mark.usefixtures("project")
def test_process_stays_as_it_was() -> None:
    """No signal handler, directory, variable, mask, logger or thread is different after a run."""

    def describe() -> list[object]:
        mask = os.umask(0o077)
        os.umask(mask)
        handlers = [signal.getsignal(number) for number in signal.valid_signals()]
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        loggers = (list(logging.root.handlers), logging.root.level)
        return [mask, handlers, blocked, loggers, Path.cwd(), dict(os.environ)]

    before = describe()
    during: list[list[object]] = []
    run = isosmoke.run_scenarios(names=["good"], on_event=lambda _: during.append(describe()))

    assert run.passed
    assert all(found == before for found in (*during, describe()))
    assert [thread for thread in threading.enumerate() if thread.name.startswith("isosmoke")] == []


def test_selection_is_as_on_the_command_line(project: Project) -> None:
    """Names, owners and expressions select, in a manifest that is found or given."""

    def list_outcomes(run: isosmoke.RunRecord) -> dict[str, str]:
        return {scenario.name: str(scenario.outcome) for scenario in run.scenarios}

    assert list_outcomes(isosmoke.run_scenarios(names=["g*"])) == {"good": "PASS"}
    assert list_outcomes(isosmoke.run_scenarios(owners=["task-c"])) == {"skips": "SKIP"}
    found = isosmoke.run_scenarios(project.manifest, select="owner(task-b) or owner(task-a)")
    assert list_outcomes(found) == {"good": "PASS", "bad": "FAIL"}


@pytest.mark.parametrize("name", ["good", "bad", "skips"])
def test_passed_agrees_with_exit_code(project: Project, name: str) -> None:
    """`passed` is true exactly if the command line exits with 0."""
    assert isosmoke.run_scenarios(names=[name]).passed == (project.run("run", name).returncode == 0)


class StopError(Exception):
    """An error of the caller."""


def test_exception_in_the_caller_ends_the_run(project: Project) -> None:
    """An exception of `on_event` goes on after the sandbox is gone and the record is complete."""

    def stop(event: isosmoke.Event) -> None:
        if event.event == "scenario_started":
            raise StopError

    with pytest.raises(StopError):
        isosmoke.run_scenarios(names=["waits"], on_event=stop)

    assert list_processes(project) == []
    shown = project.run("show", "waits")
    assert "NOT_RUN" in shown.stdout
    assert "ended by StopError" in shown.stdout


def test_keyboard_interrupt_ends_the_run(project: Project) -> None:
    """A SIGINT of a program that uses the API ends the run, and then the program."""
    code = (
        "import isosmoke, os, signal, threading\n"
        "def interrupt(event):\n"
        "    if event.event == 'scenario_started':\n"
        "        threading.Timer(0, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "isosmoke.run_scenarios(names=['waits'], on_event=interrupt)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt", done.stderr
    assert list_processes(project) == []
    assert "ended by KeyboardInterrupt" in project.run("show", "waits").stdout


@pytest.mark.usefixtures("project")
def test_another_thread_stops_a_run() -> None:
    """With an interrupt, the call returns what was stopped, with the reason."""
    interrupt = isosmoke.Interrupt()

    def stop(event: isosmoke.Event) -> None:
        if event.event == "scenario_started":
            threading.Thread(target=interrupt.raise_for, args=("enough",)).start()

    run = isosmoke.run_scenarios(
        names=["waits", "good"], on_event=stop, interrupt=interrupt, jobs=1
    )

    assert run.stopped == "enough"
    assert run.scenarios[0].outcome == isosmoke.Outcome.NOT_RUN
    assert not run.passed


def test_errors_have_one_base_class(project: Project) -> None:
    """Each misuse is an `IsosmokeError` with a hint, and nothing is run."""
    wrong: dict[str, Any] = {"confirm": "sometimes"}
    unknown: dict[str, Any] = {"imge": "x"}
    numbers: Any = [1]
    calls: dict[str, tuple[type[IsosmokeError], Callable[[], object]]] = {
        "not a command": (UsageError, lambda: isosmoke.run("ls")),
        "unknown option 'imge'": (UsageError, lambda: isosmoke.run(["ls"], **unknown)),
        "timeout_seconds must": (UsageError, lambda: isosmoke.run(["ls"], timeout=0)),
        "not a directory": (UsageError, lambda: isosmoke.run(["ls"], working="nowhere")),
        "did you mean 'docker'": (UsageError, lambda: isosmoke.run(["ls"], engine="dokcer")),
        "jobs: 0 is too low": (UsageError, lambda: isosmoke.run_scenarios(jobs=0)),
        "confirm: 'sometimes'": (UsageError, lambda: isosmoke.run_scenarios(**wrong)),
        "names: 'good' is one text": (UsageError, lambda: isosmoke.run_scenarios(names="good")),
        "names: '' is one text": (UsageError, lambda: isosmoke.run_scenarios(names="")),
        "owners: 'task-a' is one text": (
            UsageError,
            lambda: isosmoke.run_scenarios(owners="task-a"),
        ),
        "owners: 1 is no text": (UsageError, lambda: isosmoke.run_scenarios(owners=numbers)),
        "did you mean 'good'": (
            NothingSelectedError,
            lambda: isosmoke.run_scenarios(names=["god"]),
        ),
        "no such file": (ManifestError, lambda: isosmoke.run_scenarios("missing.toml")),
    }
    for text, (kind, call) in calls.items():
        with pytest.raises(isosmoke.IsosmokeError, match=text) as caught:
            call()
        assert isinstance(caught.value, kind)
        assert caught.value.hint
        assert caught.value.exit_code in (ExitCode.USAGE, ExitCode.NOTHING_SELECTED)
    assert not project.path(".isosmoke").exists()


def test_error_of_the_machine_is_one_of_isosmoke(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state directory that cannot be used is reported with the base class."""
    project.path("file").write_text("")
    monkeypatch.setenv("ISOSMOKE_STATE", str(project.path("file")))

    with pytest.raises(isosmoke.IsosmokeError, match="file"):
        isosmoke.run(["true"])
