"""Commands of isosmoke that a test runs to their end, each in a separate process."""

import atexit
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from support.command_server import STREAMS
from support.paths import TESTS

_READ_AT_START = ("PYTHON", "LANG", "LC_", "LD_", "MALLOC_", "GLIBC_")
"""The variables that a program reads only when it starts, by the beginnings of their names."""


class CommandServer:
    """The process that forks, and the connection to it."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            subprocess.run(
                [sys.executable, "-m", "support.command_server", str(theirs.fileno())],
                cwd=TESTS,
                env={},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=True,
            )
        self._lock = threading.Lock()

    def start(self, command: Mapping[str, object], descriptors: Sequence[int]) -> None:
        """Start a command with these descriptors: its streams, and a pipe for its wait status."""
        text = json.dumps(command).encode()
        with self._lock:
            socket.send_fds(self._control, [len(text).to_bytes(8)], descriptors)
            self._control.sendall(text)

    def close(self) -> None:
        """Let the process end."""
        self._control.close()


@cache
def _get_server() -> CommandServer:
    server = CommandServer()
    atexit.register(server.close)
    return server


def run(
    arguments: Sequence[str], working: Path, environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run `isosmoke` with these arguments to its end, and return its output."""
    if any(name.startswith(_READ_AT_START) for name in environment):
        return subprocess.run(
            [sys.executable, "-m", "isosmoke", *arguments],
            cwd=working,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    return _run_forked(arguments, working, environment)


def _run_forked(
    arguments: Sequence[str], working: Path, environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    pipes = [os.pipe() for _ in range(STREAMS)]
    writing = [end for _, end in pipes]
    command = {
        "arguments": list(arguments),
        "working": str(working),
        "environment": dict(environment),
    }
    try:
        _get_server().start(command, [0, *writing])
    finally:
        for end in writing:
            os.close(end)
    with ThreadPoolExecutor(STREAMS) as readers:
        output, errors, status = readers.map(_read, (end for end, _ in pipes))
    assert status, "the process that forks has ended"
    code = os.waitstatus_to_exitcode(int.from_bytes(status))
    texts = (text.decode().replace("\r\n", "\n") for text in (output, errors))
    return subprocess.CompletedProcess(["isosmoke", *arguments], code, *texts)


def _read(descriptor: int) -> bytes:
    with open(descriptor, "rb") as stream:
        return stream.read()
