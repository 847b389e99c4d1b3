"""Signals and job control reach a command under `isosmoke-exec` as they reach a plain command."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from isosmoke.interrupt import wait_readable
from support.available import wait_for
from support.exec_runs import EXEC, SECONDS, build_environment, read_records
from support.terminal_screen import Screen, program

COUNTER = """
import signal
numbers = {signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGCONT, signal.SIGWINCH}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
counts = {}
print("ready", flush=True)
while (number := signal.sigwait(numbers)) != signal.SIGUSR2:
    counts[number] = counts.get(number, 0) + 1
    print(signal.Signals(number).name, flush=True)
print([(int(number), count) for number, count in sorted(counts.items())], flush=True)
"""

NAMES = ("comm", "cmdline")
"""The files in /proc/PID that killall(1) and pkill(1) compare."""


class Wrapped:
    """A command under the wrapper, in a process group of the wrapper."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = process.pid

    def read_line(self) -> str:
        """Return the next line of output."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the process group, as a terminal and a test runner do."""
        os.killpg(self.pid, number)

    def wait_for_stop(self) -> int:
        """Return the signal that stops the wrapper."""
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), status
        return os.WSTOPSIG(status)


@contextmanager
def wrapped(*argv: str, log: Path | None = None) -> Iterator[Wrapped]:
    """Run a command under the wrapper; kill it afterwards if it still runs."""
    with subprocess.Popen(
        [EXEC, *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=build_environment(log),
        process_group=0,
    ) as process:
        try:
            yield Wrapped(process)
        finally:
            process.kill()


@contextmanager
def counter() -> Iterator[Wrapped]:
    """Run a command that counts signals until SIGUSR2."""
    with wrapped(sys.executable, "-c", COUNTER) as command:
        assert command.read_line() == "ready"
        yield command


@contextmanager
def terminal(*argv: str) -> Iterator[tuple[Screen, "subprocess.Popen[bytes]"]]:
    """Run a command at a terminal, as the leader of its session."""
    environment = {**build_environment(), "PS1": "prompt> "}
    with program(argv, working=Path("/"), environment=environment) as screen_and_process:
        yield screen_and_process


def find_child(pid: int) -> int:
    """Return the only child of a process."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def read_status(pid: int) -> dict[str, str]:
    """Return the fields of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def read_state(pid: int) -> str:
    """Return the letter of the state of a process."""
    return read_status(pid)["State"][0]


def has_ended(pid: int) -> bool:
    """Return whether a process has ended, also if its parent has not waited for it yet."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return read_state(pid) == "Z"
    return True


def has_passed_signals_on(wrapper: int) -> bool:
    """Return whether the wrapper has read its signals, and waits for the next event."""
    status = read_status(wrapper)
    return not int(status["ShdPnd"], 16) and status["State"][0] == "S"


@contextmanager
def run_after(later: int, first: int) -> Iterator[None]:
    """Let a process run only while another one does not: both share a core, one yields it."""
    core = {min(os.sched_getaffinity(later))}
    for pid in (later, first):
        os.sched_setaffinity(pid, core)
    os.sched_setscheduler(later, os.SCHED_IDLE, os.sched_param(0))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.sched_setscheduler(later, os.SCHED_OTHER, os.sched_param(0))


def finish(command: Wrapped) -> dict[int, int]:
    """End the counter through the wrapper alone, and return its counts."""
    os.kill(command.pid, signal.SIGUSR2)
    line = command.read_line()
    assert command.process.wait(SECONDS) == 0
    counts: dict[int, int] = dict(eval(line))  # noqa: S307 - the list that the counter prints
    return counts


def test_signal_for_the_wrapper_reaches_the_command_once() -> None:
    """`kill PID` means the command."""
    with counter() as command:
        for _ in range(3):
            os.kill(command.pid, signal.SIGUSR1)
            assert command.read_line() == "SIGUSR1"
        assert finish(command) == {signal.SIGUSR1: 3}


def test_signal_by_the_name_of_the_wrapper_reaches_the_command_once() -> None:
    """`killall isosmoke-exec` and `pkill -f isosmoke` find the wrapper and no other process."""
    with counter() as command:
        processes = [command.pid, find_child(command.pid)]
        for pid in processes:
            if any("isosmoke" in Path(f"/proc/{pid}/{file}").read_text() for file in NAMES):
                os.kill(pid, signal.SIGUSR1)
        assert command.read_line() == "SIGUSR1"
        os.kill(command.pid, signal.SIGTERM)
        assert command.read_line() == "SIGTERM"
        assert finish(command) == {signal.SIGUSR1: 1, signal.SIGTERM: 1}


def test_command_line_of_the_command_is_not_that_of_its_pid_1() -> None:
    """`pgrep -f` inside finds the command once, from its first instruction on."""
    script = "tr '\\0' ' ' </proc/1/cmdline; cat /proc/1/comm"
    for _ in range(20):
        with wrapped("sh", "-c", script) as command:
            assert command.process.stdout
            assert command.process.stdout.read().split() == ["namespace-init"] * 2


def test_signal_for_the_process_group_reaches_the_command_once() -> None:
    """The command gets it from the kernel, so the wrapper does not pass it on again."""
    with counter() as command:
        for _ in range(20):
            command.signal_group(signal.SIGUSR1)
            assert command.read_line() == "SIGUSR1"
        os.kill(command.pid, signal.SIGTERM)
        assert command.read_line() == "SIGTERM"
        assert finish(command) == {signal.SIGUSR1: 20, signal.SIGTERM: 1}


def test_end_of_a_command_counts_before_signals_that_its_pid_1_has_not_read() -> None:
    """The record and the verdict arrive although the command ends before PID 1 hears of them."""
    with wrapped("sh", "-c", "echo ready; exec sleep 1000") as command:
        assert command.read_line() == "ready"
        init = find_child(command.pid)
        inner = find_child(init)
        os.kill(init, signal.SIGSTOP)
        assert wait_for(lambda: read_state(init) == "T")
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
            os.kill(command.pid, number)
        assert wait_for(lambda: has_passed_signals_on(command.pid))
        os.kill(inner, signal.SIGTERM)
        assert wait_for(lambda: has_ended(inner))
        with run_after(command.pid, init):
            os.kill(init, signal.SIGCONT)
            assert wait_for(lambda: has_ended(init))
        assert command.process.wait(SECONDS) == -signal.SIGTERM


def test_signal_with_a_value_keeps_it() -> None:
    """`sigqueue` for the wrapper has the same value in the command."""
    code = (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN]);"
        "print('ready', flush=True); print(signal.sigwaitinfo([signal.SIGRTMIN]).si_code)"
    )
    with wrapped(sys.executable, "-c", code) as command:
        assert command.read_line() == "ready"
        sent = subprocess.run(
            ["kill", "--queue", "7", "-s", str(int(signal.SIGRTMIN)), str(command.pid)],
            check=False,
            capture_output=True,
        )
        if sent.returncode:
            pytest.skip("this kill cannot send a signal with a value")
        assert command.read_line() == "-1"  # SI_QUEUE


def test_signal_that_ends_the_wrapper_alone_ends_the_command(tmp_path: Path) -> None:
    """The wrapper ends only after the command, by the same signal, with a record."""
    log = tmp_path / "log"
    with wrapped("sh", "-c", "echo ready; exec sleep 1000", log=log) as command:
        assert command.read_line() == "ready"
        command.process.terminate()
        assert command.process.wait(SECONDS) == -signal.SIGTERM

    (record,) = read_records(log)
    assert (record["watched"], record["signal"]) == (True, signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU])
def test_stop_of_the_process_group_stops_and_continues(number: signal.Signals) -> None:
    """The wrapper stops after the command, by the same signal, and both continue once."""
    with counter() as command:
        for _ in range(3):
            command.signal_group(number)
            assert command.wait_for_stop() == number
            command.signal_group(signal.SIGCONT)
            assert command.read_line() == "SIGCONT"
        assert finish(command) == {signal.SIGCONT: 3}


def test_continue_for_the_wrapper_alone_continues_the_command() -> None:
    """`kill -CONT PID` means the command too."""
    with counter() as command:
        command.signal_group(signal.SIGTSTP)
        assert command.wait_for_stop() == signal.SIGTSTP
        os.kill(command.pid, signal.SIGCONT)
        assert command.read_line() == "SIGCONT"
        assert finish(command) == {signal.SIGCONT: 1}


def test_command_that_stops_itself_stops_the_wrapper() -> None:
    """A parent that watches for stops sees them."""
    with wrapped("sh", "-c", "kill -STOP $$; echo again; exit 6") as command:
        assert command.wait_for_stop() == signal.SIGSTOP
        command.signal_group(signal.SIGCONT)
        assert command.read_line() == "again"
        assert command.process.wait(SECONDS) == 6


def test_command_that_another_process_continues_never_stays_behind_a_stopped_wrapper() -> None:
    """A process inside continues the command: the wrapper continues too, whatever came first."""
    script = "for n in 1 2 3 4 5 6 7 8; do (kill -STOP $$; kill -CONT $$) & wait; done; exit 4"
    with wrapped("sh", "-c", script) as command:
        assert command.process.wait(SECONDS) == 4


def test_interrupt_key_ends_both() -> None:
    """Ctrl-C at a terminal ends the command and the wrapper by SIGINT."""
    with terminal(EXEC, "sh", "-c", "echo ready; exec sleep 1000") as (screen, process):
        screen.wait_for("ready")
        screen.type("\x03")
        assert process.wait(SECONDS) == -signal.SIGINT


def test_new_size_of_the_terminal_reaches_the_command_once() -> None:
    """SIGWINCH comes from the kernel; the size is that of the terminal."""
    with terminal(EXEC, sys.executable, "-c", COUNTER) as (screen, process):
        screen.wait_for("ready")
        screen.resize(33, 99)
        screen.wait_for("SIGWINCH")
        os.kill(process.pid, signal.SIGUSR2)
        screen.wait_for(f"[({int(signal.SIGWINCH)}, 1)]")
        assert process.wait(SECONDS) == 0


def test_job_control_of_a_shell_works() -> None:
    """Ctrl-Z stops a job, `jobs` lists it, `fg` gives it the terminal, and it reads from it."""
    bash = shutil.which("bash")
    assert bash
    with terminal(bash, "--norc", "--noprofile", "-i") as (screen, process):
        screen.type(f"{EXEC} sh -c 'echo re\"\"ady; while read x; do echo got-$x; done'\n")
        screen.wait_for("ready")
        screen.type("one\n")
        screen.wait_for("got-one")
        screen.type("\x1a")
        screen.wait_for("Stopped")
        screen.type("fg; echo code-$?\n")
        screen.wait_for(EXEC)
        screen.type("two\n")
        screen.wait_for("got-two")
        screen.type("\x04")
        screen.wait_for("code-0")
        screen.type("exit 3\n")
        assert process.wait(SECONDS) == 3


def test_shell_with_job_control_gives_the_terminal_back() -> None:
    """After `bash -i` as the command, the caller can still read from the terminal."""
    script = f"{EXEC} bash --norc --noprofile -i; read x; echo after-$x; exit 8"
    with terminal("sh", "-c", script) as (screen, process):
        screen.wait_for("prompt>")
        screen.type("exit\n")
        screen.wait_for("exit")
        screen.type("line\n")
        screen.wait_for("after-line")
        assert process.wait(SECONDS) == 8


def test_job_that_ends_in_the_background_leaves_the_terminal_to_the_shell(tmp_path: Path) -> None:
    """After Ctrl-Z and `bg`, the shell has the terminal, and keeps it when the job ends."""
    bash = shutil.which("bash")
    assert bash
    gate, held = tmp_path / "gate", tmp_path / "held"
    os.mkfifo(gate)
    os.mkfifo(held)
    end = os.open(held, os.O_RDONLY | os.O_NONBLOCK)  # the stderr of the wrapper, until its end
    with terminal(bash, "--norc", "--noprofile", "-i") as (screen, process):
        screen.type(f"{EXEC} sh -c 'echo re\"\"ady; exec cat {gate}' 2>{held}\n")
        screen.wait_for("ready")
        screen.type("\x1a")
        screen.wait_for("Stopped")
        screen.type("bg; echo ba''ck\n")
        screen.wait_for("back")
        screen.wait_for("prompt>")
        gate.write_text("")
        assert wait_readable(end, SECONDS)
        os.close(end)
        screen.type("exit 3\n")
        assert process.wait(SECONDS) == 3
