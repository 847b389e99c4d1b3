"""Processes of a sandbox: one that is still there, and what those that ended took (pure)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from shlex import join


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that outlived its scenario, with the pids of its sandbox.

    `argv` of a process that wiped its own is `[name]`, as ps has it. `ppid` is its parent now: 1,
    the keeper, for an orphan. `age_seconds` counts from its start to the list; `state` is the
    letter of proc(5) before it was frozen; `listens` are the addresses that its sockets accept on,
    such as `tcp 127.0.0.1:8080` or `unix /tmp/daemon.sock`.
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
        """The arguments as a shell would take them."""
        return join(self.argv) if self.argv else f"[{self.exe or 'unknown'}]"

    def told_by(self, words: Callable[[str], str]) -> "Process":
        """The same process, each of its texts as `words` has it."""
        return replace(
            self,
            argv=tuple(map(words, self.argv)),
            cwd=words(self.cwd),
            exe=words(self.exe),
            listens=tuple(map(words, self.listens)),
        )


def described(process: Process) -> str:
    """One process that was left, in one line."""
    listens = f"  listens {', '.join(process.listens)}" if process.listens else ""
    return (
        f"pid {process.pid} ppid {process.ppid} {process.state} {process.age_seconds:.1f}s  "
        f"{process.command_line}{listens}  in {process.cwd}"
    )


@dataclass(frozen=True, slots=True)
class Usage:
    """Of every process that is over, as getrusage(2) counts: CPU time in seconds, all together.

    `largest` is the most memory that a single one of them had at a time, in bytes. What still runs
    is not in it, nor are probes.
    """

    user_seconds: float
    system_seconds: float
    largest: int
