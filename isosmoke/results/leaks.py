"""Which processes that outlived a scenario count as leaked."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from re import search
from shlex import join
from typing import Protocol


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


class Allowance(Protocol):
    """A command pattern that may outlive a scenario, until the end of a day."""

    @property
    def command(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def until(self) -> date | None: ...


@dataclass(frozen=True, slots=True)
class Tolerated:
    """A survivor that an allowance covers."""

    process: Process
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The survivors of one scenario, told apart."""

    leaked: tuple[Process, ...] = ()
    tolerated: tuple[Tolerated, ...] = ()

    def told_by(self, words: Callable[[str], str]) -> "Verdict":
        """The same verdict, each text of a process as `words` has it."""
        return Verdict(
            tuple(one.told_by(words) for one in self.leaked),
            tuple(Tolerated(one.process.told_by(words), one.reason) for one in self.tolerated),
        )


def tell_apart(
    survivors: Iterable[Process], allowances: Iterable[Allowance], today: date
) -> Verdict:
    """Every survivor is leaked but those whose command line an unexpired allowance matches."""
    current = [one for one in allowances if one.until is None or today <= one.until]
    leaked, tolerated = [], []
    for process in survivors:
        cover = next((one for one in current if search(one.command, process.command_line)), None)
        if cover is None:
            leaked.append(process)
        else:
            tolerated.append(Tolerated(process, cover.reason))
    return Verdict(tuple(leaked), tuple(tolerated))
