"""The plan of a command's streams, from those of isosmoke."""

import os
import pty
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from isosmoke.interrupt import Interrupt
from isosmoke.keeper.exchange import StoppedError
from isosmoke.keeper.protocol import Size, StreamPlan
from isosmoke.repro.command_streams import CommandStreams, plan_streams
from isosmoke.repro.shell_user import Patience, measure_terminal


class Files:
    """Open files of several kinds."""

    def __init__(self, directory: Path) -> None:
        self._masters = [pty.openpty(), pty.openpty()]
        self.terminal, self.other_terminal = (slave for _, slave in self._masters)
        self.pipe, self.pipe_end = os.pipe()
        self.pipe_copy = os.dup(self.pipe_end)
        self.file = os.open(directory / "file", os.O_RDWR | os.O_CREAT)
        self.null = os.open(os.devnull, os.O_RDWR)

    def close(self) -> None:
        pipes = (self.pipe, self.pipe_end, self.pipe_copy)
        for descriptor in (*pipes, self.file, self.null, *chain(*self._masters)):
            os.close(descriptor)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    """Return open files, which are closed at the end of the test."""
    files = Files(tmp_path)
    yield files
    files.close()


def test_one_pipe_is_one_stream(files: Files) -> None:
    """Two descriptors of one pipe are one stream, and a pipe and a file are two."""
    joined = plan_streams(files.null, files.pipe_end, files.pipe_copy)

    assert joined == StreamPlan(output="joined")
    assert plan_streams(files.null, files.pipe_end, files.file) == StreamPlan()


def test_one_terminal_is_a_terminal(files: Files) -> None:
    """A terminal as stdout and stderr is one for the command, and for its input if that is one."""
    out = files.terminal
    size = measure_terminal(out)

    assert plan_streams(out, out, out) == StreamPlan(input="terminal", output="terminal", size=size)
    assert plan_streams(files.pipe, out, out) == StreamPlan(
        input="passed", output="terminal", size=size
    )
    assert size == Size(24, 80)


def test_two_terminals_are_two_streams(files: Files) -> None:
    """A terminal whose output goes elsewhere has lines that are passed on."""
    plan = plan_streams(files.terminal, files.terminal, files.other_terminal)

    assert plan == StreamPlan(input="passed")


def test_null_device_is_no_input(files: Files) -> None:
    """A file is passed on, and /dev/null is not."""
    assert plan_streams(files.file, files.file, files.null).input == "passed"
    assert plan_streams(files.null, files.file, files.null).input == ""


def test_terminal_that_hung_up_stops_the_run() -> None:
    """A terminal that hangs up before it is in raw mode ends the run, and is no internal error."""
    master, terminal = pty.openpty()
    plan = StreamPlan(input="terminal", output="terminal", size=Size(24, 80))
    patience = Patience(Interrupt())
    streams = CommandStreams(plan, patience, stdin=terminal, stdout=terminal, resizes=terminal)
    os.close(master)
    try:
        with streams.attached(), pytest.raises(StoppedError, match="terminal is gone"):
            assert streams.keyboard
    finally:
        os.close(terminal)
