"""Fuzz the parser of `/proc`: text that a script controls, in the places where the kernel has it.

An input consists of fields between bytes 0xff: a process's name, arguments, working directory and
program, the name of its Unix socket, then whole texts of `stat`, `net/tcp`, `net/udp6` and
`net/unix`.
"""

from contextlib import suppress

from isosmoke.keeper import procfs
from isosmoke.keeper.events import Survivor
from isosmoke.sandbox.survivors import Process

_FIELDS = 9
_PID, _PARENT, _INODE = 4321, 1234, "98765"
_UNIX_LINE = b"0000000000000000: 00000002 00000000 00010000 0001 01 %s %s\n"
_HEADER = b"Num       RefCount Protocol Flags    Type St Inode Path\n"


def _create_stat(name: bytes) -> bytes:
    """Return a `stat` line with a command name of any bytes (proc(5))."""
    return b"%d (%s) S %d %s\n" % (_PID, name, _PARENT, b"7 " * 48)


def _parse(survivor: Survivor, accepting: dict[str, str]) -> Process:
    _, state = procfs.parse_pid_and_state(survivor.stat)
    process = procfs.parse_process(
        survivor, uptime=1000.0, ticks=100, state=state, accepting=accepting
    )
    "".join((*process.argv, process.cwd, process.exe, *process.listens)).encode()
    if not process.argv:
        raise AssertionError("the process has no arguments")
    return process


def run(content: bytes) -> None:
    """Parse a survivor whose text is its own, and texts that no kernel prints."""
    fields = content.split(b"\xff") + [b""] * _FIELDS
    name, cmdline, cwd, exe, socket, stat, tcp, udp6, unix = fields[:_FIELDS]
    table = _HEADER + _UNIX_LINE % (_INODE.encode(), socket)
    accepting = procfs.parse_listeners({"unix": table})
    own = Survivor(_create_stat(name), cmdline, cwd, exe, frozenset((_INODE,)))
    process = _parse(own, accepting)
    if (process.pid, process.ppid, process.state) != (_PID, _PARENT, "S"):
        raise AssertionError(f"its name has changed other fields: {process}")
    if not process.listens:
        raise AssertionError("its socket is not listed")
    for tables in ({"tcp": tcp}, {"udp6": udp6}, {"unix": unix}):
        with suppress(*procfs.INVALID):
            accepting |= procfs.parse_listeners(tables)
    with suppress(*procfs.INVALID):
        _parse(Survivor(stat, cmdline, cwd, exe, frozenset(accepting)), accepting)
