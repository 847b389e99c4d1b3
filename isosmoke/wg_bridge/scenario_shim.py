"""Script that wg runs for each scenario: request the verdict, print its text, exit with its code.

wg starts it once per scenario, one after another, so its start must be fast. It is a standalone
file for `python -I -S` with few imports: none of isosmoke, and `subprocess` only to start a leader.
"""
# ruff: noqa: PTH102, PTH104, PTH112, PTH114, PTH115, PTH123
# Importing pathlib would take as long as everything else in this file.

import os
import select
import signal
import socket
import sys
from collections.abc import Callable

ERROR_CODE = 125
"""The exit code for an error of the bridge itself: neither a pass nor a skip."""

END = b"\0"
"""The end of a reply; without it, the leader died and the reply is incomplete."""

LOG = "leader.log"

_SOCKET = "socket"
_TRIES = 3
_LOG_LINES = 8
_CHUNK_SIZE = 65536

StartLeader = Callable[[socket.socket], object]
"""A function that starts a leader for a listening socket."""


def create_directory(scratch: str, pid: int) -> str:
    """Create the private directory of a wg process if missing, and return its path.

    Its name is a lease, so a sweep can tell when the process has ended.
    """
    directory = f"{scratch}/{format_lease(pid)}.bridge"
    if os.path.islink(directory) or not os.path.isdir(directory):
        os.mkdir(directory, 0o700)  # fails if a foreign link or file exists there
    return directory


def format_lease(pid: int) -> str:
    """Return the lease of a process as text, equal to that of `isosmoke.host.leases.Lease`."""
    boot = _read_text("/proc/sys/kernel/random/boot_id").strip()
    namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    return f"{boot}-{namespace}.{pid}.{_read_stat(pid)[19]}"


def start_leader(directory: str, mirror: str, listener: socket.socket) -> None:
    """Start a leader in its own session; it inherits no file from the caller except the socket."""
    import subprocess

    # -P: do not import from the working directory of wg.
    command = [sys.executable, "-P", "-m", "isosmoke.wg_bridge", directory, mirror]
    with open(f"{directory}/{LOG}", "ab") as log:
        subprocess.Popen(
            [*command, str(listener.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(listener.fileno(),),
            start_new_session=True,
        )


def open_listener(directory: str) -> socket.socket:
    """Return a listening socket, in place of any former leader's.

    Shims can connect to it before a leader accepts connections.
    """
    listener = socket.socket(socket.AF_UNIX)
    with _ShortPath(directory) as path:
        new = f"{path}/{_SOCKET}.{os.getpid()}"
        listener.bind(new)
        listener.listen()
        os.rename(new, f"{path}/{_SOCKET}")
    return listener


class _ShortPath:
    """A short path to a directory, because the path of a Unix socket has at most 107 bytes."""

    def __init__(self, directory: str) -> None:
        self._fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._fd}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def request_verdict(directory: str, start: StartLeader, name: str) -> tuple[int, str]:
    """Return the exit code of a scenario and the text to print."""
    for _ in range(_TRIES):
        with _connect(directory, start) as connection:
            reply = _request(connection, name)
        if reply.endswith(END):
            code, _, text = reply[: -len(END)].decode(errors="replace").partition("\n")
            return int(code), text
    return ERROR_CODE, f"ERROR {name}: no run could be started\n{_read_log(directory)}"


def _connect(directory: str, start: StartLeader) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    with _ShortPath(directory) as path:
        try:
            connection.connect(f"{path}/{_SOCKET}")
        except (FileNotFoundError, ConnectionRefusedError):
            with open_listener(directory) as listener:
                start(listener)
                connection.connect(f"{path}/{_SOCKET}")
    return connection


def _request(connection: socket.socket, name: str) -> bytes:
    reply = b""
    try:
        connection.sendall(f"{name}\n".encode())
        while _wait_for_reply(connection) and (chunk := connection.recv(_CHUNK_SIZE)):
            reply += chunk
    except OSError:
        pass  # The leader died, so the reply has no end.
    return reply


def _wait_for_reply(connection: socket.socket) -> bool:
    """Wait for the leader and return True; exit if wg, the reader of stderr, has ended."""
    poll = _poll_stderr()
    poll.register(connection, select.POLLIN)
    if any(fd == sys.stderr.fileno() for fd, _ in poll.poll()):
        sys.exit(ERROR_CODE)
    return True


def _poll_stderr() -> select.poll:
    """Return a poll that wakes up when the reader of stderr, which is wg, has closed the pipe."""
    poll = select.poll()
    poll.register(sys.stderr, 0)
    return poll


def _find_wg() -> int:
    """Return the PID of wg: the parent, or the parent of the `timeout` that wg started."""
    parent = os.getppid()
    name = _read_text(f"/proc/{parent}/comm").strip()
    return int(_read_stat(parent)[1]) if name == "timeout" else parent


def _read_stat(pid: int) -> list[str]:
    """Return the fields of stat, proc(5), from the state on; the name before can have spaces."""
    return _read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _read_log(directory: str) -> str:
    """Return the last lines of the leader's log; empty if it cannot be read."""
    try:
        return "\n".join(_read_text(f"{directory}/{LOG}").splitlines()[-_LOG_LINES:])
    except OSError:
        return ""


def _read_text(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read()


def _exit_at_deadline(*_: object) -> None:
    sys.stderr.write("ERROR the run exceeded the deadline that the bridge sets for wg\n")
    sys.exit(ERROR_CODE)


def main(scratch: str, mirror: str) -> int:
    """Run as the script of the scenario that wg names in the environment."""
    signal.signal(signal.SIGTERM, _exit_at_deadline)
    directory = create_directory(scratch, _find_wg())
    if _poll_stderr().poll(0):
        return ERROR_CODE  # wg has ended, so the PID found may belong to any other process
    name = os.environ.get("WG_SMOKE_SCENARIO", "")
    code, text = request_verdict(
        directory, lambda listener: start_leader(directory, mirror, listener), name
    )
    sys.stderr.write(text)
    return code


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except OSError as error:
        sys.stderr.write(f"ERROR the wg bridge of isosmoke failed: {error}\n")
        sys.exit(ERROR_CODE)
