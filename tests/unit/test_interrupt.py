"""The interrupt flag, raised by signals and by threads."""

import gc
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from isosmoke.interrupt import Interrupt, interruptible
from support import available


def is_readable(interrupt: Interrupt) -> bool:
    """Return whether a poll would wake up immediately."""
    return bool(select.select([interrupt], [], [], 0)[0])


def test_interrupt_is_not_raised_at_first() -> None:
    """A new interrupt is not raised, has no reason and wakes no poll."""
    interrupt = Interrupt()

    assert not interrupt.is_raised
    assert interrupt.reason == ""
    assert not is_readable(interrupt)
    assert not interrupt.wait(0)


def test_raised_interrupt_wakes_every_poll() -> None:
    """A raised interrupt has a reason and wakes every later poll."""
    interrupt = Interrupt()
    interrupt.raise_for("SIGINT")

    assert interrupt.is_raised
    assert interrupt.reason == "SIGINT"
    assert [is_readable(interrupt) for _ in range(3)] == [True] * 3
    assert interrupt.wait(60)


def test_first_reason_is_kept() -> None:
    """Raising the interrupt again does not change its reason."""
    interrupt = Interrupt()
    interrupt.raise_for("SIGTERM")
    interrupt.raise_for("SIGINT")

    assert interrupt.reason == "SIGTERM"


def test_interrupt_wakes_another_thread() -> None:
    """A thread that waits without a timeout continues when another thread raises the interrupt."""
    interrupt = Interrupt()
    waiter = threading.Thread(target=select.select, args=([interrupt], [], []))
    waiter.start()
    interrupt.raise_for("SIGINT")
    waiter.join(60)

    assert not waiter.is_alive()


def test_interrupt_is_not_inherited() -> None:
    """The descriptor is not inherited by other programs."""
    assert not os.get_inheritable(Interrupt().fileno())


def test_unreferenced_interrupt_closes_its_descriptor() -> None:
    """The descriptor is closed once the interrupt is not referenced any more."""
    descriptor = Interrupt().fileno()
    gc.collect()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_signal_raises_interrupt_within_block() -> None:
    """A signal raises the interrupt within the block, and its handler is restored afterwards."""
    interrupt, before = Interrupt(), signal.getsignal(signal.SIGTERM)
    with interruptible(interrupt):
        pass
    with interruptible(interrupt) as target:
        signal.raise_signal(signal.SIGTERM)

    assert target is interrupt
    assert interrupt.reason == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before


DEAF = """
import os, signal, sys, threading
from isosmoke.interrupt import Interrupt, exit_on_signal, interruptible
from isosmoke.repro.shell_user import resize_events
shown = threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: (print("shown", flush=True), shown.set()))
never = threading.Lock()
never.acquire()
def send():
    waits.wait()
    os.kill(os.getpid(), {number})
    shown.wait() if {number} == signal.SIGUSR1 else interrupt.wait(60)
    never.release()
waits = threading.Event()
interrupt = Interrupt()
sender = threading.Thread(target=send)
sender.start()
signal.pthread_sigmask(signal.SIG_BLOCK, [{number}])  # the kernel delivers to the sender
with {guard}:
    waits.set()
    never.acquire()
print("went on", interrupt.reason)
"""


@pytest.mark.parametrize(
    ("number", "guard", "printed"),
    [
        (signal.SIGINT, "interruptible(interrupt)", "went on SIGINT\n"),
        (signal.SIGTERM, "interruptible(interrupt)", "went on SIGTERM\n"),
        (signal.SIGUSR1, "interruptible(interrupt)", "shown\nwent on \n"),
        (
            signal.SIGINT,
            "interruptible(interrupt), resize_events(has_terminal=True)",
            "went on SIGINT\n",
        ),
        (signal.SIGINT, "exit_on_signal(interrupt)", ""),
    ],
)
def test_signal_is_handled_while_the_main_thread_waits(
    number: signal.Signals, guard: str, printed: str
) -> None:
    """A handler runs soon, although the signal does not interrupt the wait of the main thread."""
    code = DEAF.format(number=int(number), guard=guard)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.stdout, done.stderr) == (printed, "")
    assert done.returncode == (0 if printed else 130)


def test_handlers_of_the_caller_stay() -> None:
    """After a block, no handler, wake-up descriptor or thread of it is left."""
    signals = sorted(signal.valid_signals())
    before = [signal.getsignal(number) for number in signals], threading.active_count()
    with interruptible():
        assert threading.active_count() == before[1] + 1
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor)

    assert ([signal.getsignal(number) for number in signals], threading.active_count()) == before
    assert descriptor == -1


IMPORT = "from isosmoke.interrupt import exit_on_signal, interruptible\n"
BUSY = """
import collections, itertools
print("ready", flush=True)
collections.deque(itertools.repeat(0), maxlen=0)
"""
HANDLERS = {
    "noted": "with interruptible():",
    "exits": "with interruptible() as interrupt, exit_on_signal(interrupt):",
    "noted again": "with interruptible() as interrupt:\n    with exit_on_signal(interrupt): pass",
}


def count_ticks(pid: int) -> int:
    """Return the CPU time of a process in user mode, in clock ticks (proc_pid_stat(5))."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


def catches(pid: int, number: int) -> bool:
    """Return whether a process has a handler for a signal (proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(mask, 16) >> number - 1 & 1)


@pytest.mark.parametrize("handlers", HANDLERS.values(), ids=HANDLERS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_second_signal_ends_a_process_that_runs_no_python(
    number: signal.Signals, handlers: str
) -> None:
    """A library that computes for ever keeps Python from the handler, but not the kernel."""
    code = f"{IMPORT}{handlers}{textwrap.indent(BUSY, '    ')}"
    command = ["env", "--default-signal=HUP", sys.executable, "-c", code]  # unlike under nohup(1)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            busy = count_ticks(process.pid) + 10
            assert available.wait_for(lambda: count_ticks(process.pid) > busy, 60)
            process.send_signal(number)
            assert available.wait_for(lambda: not catches(process.pid, number), 60)
            process.send_signal(number)

            assert process.wait(60) == -number
        finally:
            process.kill()
