"""Survivors of a sandbox, and the resource usage of processes that ended (pure)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePath
from shlex import join

from isosmoke.dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that outlived its scenario; PIDs are those of the sandbox.

    `argv` is `[name]`, as in ps, for a process that wiped its arguments. `ppid` is its current
    parent: 1, the keeper, for an orphan. `age_seconds` is the time from its start to the listing.
    `state` is the letter of proc(5) before it was frozen. `listens` are the addresses on which its
    sockets accept, such as `tcp 127.0.0.1:8080` or `unix /tmp/daemon.sock`.
    """

    pid: int
    ppid: int
    argv: tuple[str, ...]
    cwd: str
    exe: str
    age_seconds: float
    state: str
    listens: tuple[str, ...] = ()

    @property
    def command_line(self) -> str:
        """The arguments, quoted for a shell, or the title that a daemon gave itself."""
        if not self.argv:
            return f"[{self.exe or 'unknown'}]"
        return self.argv[0].rstrip() if self._has_title else join(self.argv)

    @property
    def _has_title(self) -> bool:
        """True if the process replaced its arguments by a title, which ps(1) shows unquoted.

        A title is written over the arguments (setproctitle(3)): it is the first one and not the
        name of the program, and zeros fill the rest.
        """
        first, *others = self.argv
        names_program = PurePath(first).name == PurePath(self.exe).name
        return " " in first and not any(others) and not names_program

    def transform_texts(self, transform: Callable[[str], str]) -> "Process":
        """Return a copy with `transform` applied to each text."""
        return replace(
            self,
            argv=tuple(map(transform, self.argv)),
            cwd=transform(self.cwd),
            exe=transform(self.exe),
            listens=tuple(map(transform, self.listens)),
        )


def describe_process(process: Process) -> str:
    """Return a one-line description of a survivor."""
    listens = f"  listens {', '.join(process.listens)}" if process.listens else ""
    return (
        f"pid {process.pid} ppid {process.ppid} {process.state} {process.age_seconds:.1f}s  "
        f"{process.command_line}{listens}  in {process.cwd}"
    )


_MAX_NAMED = 3


def name_processes(processes: Sequence[Process]) -> str:
    """Return the PID, the command line and, if known, the directory of the first processes."""
    names = [
        f"pid {process.pid}: {process.command_line}" + (f" in {process.cwd}" if process.cwd else "")
        for process in processes[:_MAX_NAMED]
    ]
    more = len(processes) - _MAX_NAMED
    return "; ".join(names) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class Usage:
    """The resource usage of all ended processes together, as counted by getrusage(2).

    CPU times are in seconds. `largest` is the peak memory of the largest single process, in bytes.
    Processes that still run and probes are not included.
    """

    user_seconds: float
    system_seconds: float
    largest: int
