"""Asks for one scenario's verdict, as the script that wg runs: exit 0, 77 or else, words on stderr.

wg starts it once for each scenario, one after another. So it is a file that runs by itself, under
`python -I -S`, with few imports: nothing of isosmoke, and `subprocess` only to start a leader.
"""
# ruff: noqa: PTH102, PTH104, PTH112, PTH114, PTH115, PTH123
# Importing pathlib would take as long as everything else here.

import os
import select
import signal
import socket
import sys
from collections.abc import Callable

TROUBLE = 125
"""Whatever is wrong with the bridge itself: never 0, and never a skip."""

END = b"\0"
"""Ends a reply, so that one cut short by a dying leader is none."""

LOG = "leader.log"

_SOCKET = "socket"
_TRIES = 3
_LOG_LINES = 8
_PIECE = 65536

Begin = Callable[[socket.socket], object]
"""Starts a leader that serves a listening socket."""


def folder_for(scratch: str, pid: int) -> str:
    """The private folder of one wg; its name is a lease, so a sweep knows when it is over."""
    folder = f"{scratch}/{lease(pid)}.bridge"
    if os.path.islink(folder) or not os.path.isdir(folder):
        os.mkdir(folder, 0o700)  # a link is not ours: it is there already, and so an error
    return folder


def lease(pid: int) -> str:
    """What `isosmoke.host.leases.Lease` of that process would be as text."""
    boot = _text("/proc/sys/kernel/random/boot_id").strip()
    namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    return f"{boot}-{namespace}.{pid}.{_stat(pid)[19]}"


def begin(folder: str, mirror: str, listener: socket.socket) -> None:
    """Start a leader in a session of its own, with none of the caller's files but the socket."""
    import subprocess

    # -P: the folder that wg stands in is no place to import from.
    command = [sys.executable, "-P", "-m", "isosmoke.wg_bridge", folder, mirror]
    with open(f"{folder}/{LOG}", "ab") as log:
        subprocess.Popen(
            [*command, str(listener.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(listener.fileno(),),
            start_new_session=True,
        )


def listening(folder: str) -> socket.socket:
    """A socket that takes connections before any leader accepts them; it replaces a dead one's."""
    listener = socket.socket(socket.AF_UNIX)
    with _Near(folder) as near:
        new = f"{near}/{_SOCKET}.{os.getpid()}"
        listener.bind(new)
        listener.listen()
        os.rename(new, f"{near}/{_SOCKET}")
    return listener


class _Near:
    """A short path to a folder: that of a unix socket has 107 bytes at most."""

    def __init__(self, folder: str) -> None:
        self._fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._fd}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def verdict(folder: str, begin: Begin, name: str) -> tuple[int, str]:
    """The exit code of one scenario and what to say of it."""
    for _ in range(_TRIES):
        with _connected(folder, begin) as line:
            reply = _asked(line, name)
        if reply.endswith(END):
            code, _, words = reply[: -len(END)].decode(errors="replace").partition("\n")
            return int(code), words
    return TROUBLE, f"ERROR {name}: no run could be started\n{_last_words(folder)}"


def _connected(folder: str, begin: Begin) -> socket.socket:
    line = socket.socket(socket.AF_UNIX)
    with _Near(folder) as near:
        try:
            line.connect(f"{near}/{_SOCKET}")
        except (FileNotFoundError, ConnectionRefusedError):
            with listening(folder) as listener:
                begin(listener)
                line.connect(f"{near}/{_SOCKET}")
    return line


def _asked(line: socket.socket, name: str) -> bytes:
    reply = b""
    try:
        line.sendall(f"{name}\n".encode())
        while _answers(line) and (piece := line.recv(_PIECE)):
            reply += piece
    except OSError:
        pass  # The leader died in the middle: what is there of its reply has no end.
    return reply


def _answers(line: socket.socket) -> bool:
    """Wait for the leader; where nobody reads what we say any more, there is no wg to tell."""
    poll = _poll_of_stderr()
    poll.register(line, select.POLLIN)
    if any(fd == sys.stderr.fileno() for fd, _ in poll.poll()):
        sys.exit(TROUBLE)
    return True


def _poll_of_stderr() -> select.poll:
    """Wakes up when stderr has lost its reader: wg holds that end of the pipe while it lives."""
    poll = select.poll()
    poll.register(sys.stderr, 0)
    return poll


def _wg() -> int:
    """The process that called: our parent, or that of the `timeout` which wg puts between."""
    parent = os.getppid()
    name = _text(f"/proc/{parent}/comm").strip()
    return int(_stat(parent)[1]) if name == "timeout" else parent


def _stat(pid: int) -> list[str]:
    """The fields of proc(5)'s stat from the state on; the name before it may hold anything."""
    return _text(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _last_words(folder: str) -> str:
    try:
        return "\n".join(_text(f"{folder}/{LOG}").splitlines()[-_LOG_LINES:])
    except OSError:
        return ""


def _text(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read()


def _out_of_time(*_: object) -> None:
    sys.stderr.write("ERROR the run did not end within the deadline that the bridge gives to wg\n")
    sys.exit(TROUBLE)


def main(scratch: str, mirror: str) -> int:
    """Be the script of the scenario that wg names."""
    signal.signal(signal.SIGTERM, _out_of_time)
    folder = folder_for(scratch, _wg())
    if _poll_of_stderr().poll(0):
        return TROUBLE  # wg was gone already, so the one found in its place may be anybody
    name = os.environ.get("WG_SMOKE_SCENARIO", "")
    code, words = verdict(folder, lambda listener: begin(folder, mirror, listener), name)
    sys.stderr.write(words)
    return code


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except OSError as error:
        sys.stderr.write(f"ERROR the bridge of isosmoke is broken: {error}\n")
        sys.exit(TROUBLE)
