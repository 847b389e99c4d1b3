"""Which processes that outlived a scenario count as leaked."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from re import search
from typing import Protocol

from isosmoke.sandbox.processes import Process


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
