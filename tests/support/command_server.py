"""A process that has imported isosmoke, and forks for each command that a test runs to its end.

Of a short command, most of the time is the import of its modules. A fork has them already, and is
otherwise like a new process: its directory, environment, streams and arguments are its own.
"""

import atexit
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import NoReturn

import isosmoke

STREAMS = 3
"""The number of standard streams, which precede the pipe for the status of the end."""

_UNUSED = ("pytest_plugin", "testing", *(() if find_spec("distributed") else ("cluster",)))
"""The packages of isosmoke that no command imports, or that have not what they need."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its arguments and environment, and the descriptors of its streams."""

    arguments: Sequence[str]
    working: str
    environment: Mapping[str, str]
    descriptors: Sequence[int]

    def take_over(self) -> None:
        """Give this process the directory, environment, streams and arguments of the command."""
        for number, descriptor in enumerate(self.descriptors[:STREAMS]):
            os.dup2(descriptor, number)
        os.closerange(STREAMS, os.sysconf("SC_OPEN_MAX"))
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(number, mode, closefd=False) for number, mode in enumerate("rww")
        )
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(self.working)
        os.environ.clear()
        os.environ.update(self.environment)
        time.tzset()
        sys.path[0] = self.working
        sys.argv[1:] = self.arguments


def import_all() -> None:
    """Import the modules of isosmoke that commands import."""
    left_out = tuple(f"{isosmoke.__name__}.{name}" for name in _UNUSED)
    for module in pkgutil.walk_packages(isosmoke.__path__, f"{isosmoke.__name__}."):
        if not module.name.startswith(left_out) and not module.name.endswith(".__main__"):
            import_module(module.name)


def receive(control: socket.socket) -> Command | None:
    """Return the next command, or None if the process of the tests has ended."""
    size, descriptors, _, _ = socket.recv_fds(control, 8, STREAMS + 1)
    if not size:
        return None
    text = b""
    while len(text) < int.from_bytes(size):
        text += control.recv(int.from_bytes(size) - len(text))
    return Command(**json.loads(text), descriptors=descriptors)


def serve(control: socket.socket) -> Command:
    """Fork for each command; return only in the new process, with its command."""
    running: dict[int, tuple[int, int]] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor in running:
                poll.unregister(descriptor)
                report_end(descriptor, *running.pop(descriptor))
                continue
            command = receive(control)
            if command is None:
                os._exit(0)
            pid = os.fork()
            if pid == 0:
                control.close()
                return command
            *streams, status = command.descriptors
            for stream in streams:
                os.close(stream)
            pidfd = os.pidfd_open(pid)
            running[pidfd] = pid, status
            poll.register(pidfd, select.POLLIN)


def report_end(pidfd: int, pid: int, status: int) -> None:
    """Write the wait status of a process that has ended."""
    os.close(pidfd)
    os.write(status, os.waitpid(pid, 0)[1].to_bytes(4))
    os.close(status)


def leave(code: int) -> NoReturn:
    """Exit as Python does, except that its modules are not taken apart, which takes longest."""
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - as multiprocessing
    atexit._run_exitfuncs()  # noqa: SLF001 - as multiprocessing
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = 120
    os._exit(code)


def main() -> None:
    """Serve commands until the process of the tests ends, and be one of them in each fork.

    The server is no child of that process, whose children are a matter of some tests.
    """
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_all()
    entry = import_module("isosmoke.__main__")
    serve(socket.socket(fileno=int(sys.argv[1]))).take_over()
    sys.argv[0] = str(entry.__file__)
    try:
        entry.main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            leave(end.code or 0)
        raise


if __name__ == "__main__":
    main()
