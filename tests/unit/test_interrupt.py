"""A flag that a poll can wait for, and that signals raise."""

import gc
import os
import select
import signal
import threading

import pytest

from isosmoke.interrupt import Interrupt, interruptible


def is_readable(interrupt: Interrupt) -> bool:
    """Whether a poll would wake up at once."""
    return bool(select.select([interrupt], [], [], 0)[0])


def test_interrupt_is_not_raised_at_first() -> None:
    """Until somebody raises it, an interrupt is false, has no reason and wakes nobody."""
    interrupt = Interrupt()

    assert not interrupt.raised
    assert interrupt.reason == ""
    assert not is_readable(interrupt)
    assert not interrupt.within(0)


def test_raised_interrupt_wakes_for_good() -> None:
    """Once raised it is true, says why, and wakes every poll from then on."""
    interrupt = Interrupt()
    interrupt.raise_for("SIGINT")

    assert interrupt.raised
    assert interrupt.reason == "SIGINT"
    assert [is_readable(interrupt) for _ in range(3)] == [True] * 3
    assert interrupt.within(60)


def test_first_reason_stays() -> None:
    """Raising it again is allowed and changes nothing: the first reason is why the run ended."""
    interrupt = Interrupt()
    interrupt.raise_for("SIGTERM")
    interrupt.raise_for("SIGINT")

    assert interrupt.reason == "SIGTERM"


def test_interrupt_wakes_another_thread() -> None:
    """A thread that waits without a deadline goes on when another raises the interrupt."""
    interrupt = Interrupt()
    waiter = threading.Thread(target=select.select, args=([interrupt], [], []))
    waiter.start()
    interrupt.raise_for("SIGINT")
    waiter.join(60)

    assert not waiter.is_alive()


def test_interrupt_is_not_inherited() -> None:
    """Its descriptor is closed in every program that is started, so nothing else can raise it."""
    assert not os.get_inheritable(Interrupt().fileno())


def test_interrupt_that_nobody_holds_leaves_no_descriptor() -> None:
    """A test session makes one for each container, and may make many."""
    descriptor = Interrupt().fileno()
    gc.collect()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_signal_raises_the_interrupt_for_the_time_of_a_block() -> None:
    """The same interrupt may hear signals again and again; afterwards all is as it was."""
    interrupt, before = Interrupt(), signal.getsignal(signal.SIGTERM)
    with interruptible(interrupt):
        pass
    with interruptible(interrupt) as raised:
        signal.raise_signal(signal.SIGTERM)

    assert raised is interrupt
    assert interrupt.reason == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before
