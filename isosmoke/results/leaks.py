"""Classification of the processes that outlived a scenario."""

from collections.abc import Callable, Iterable
from datetime import date
from typing import Protocol

from isosmoke.dataclass import dataclass
from isosmoke.regular_expressions import Pattern
from isosmoke.sandbox.survivors import Process


class LeakAllowance(Protocol):
    """A pattern for commands that may outlive a scenario, until the end of a day."""

    @property
    def command(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def until(self) -> date | None: ...


@dataclass(frozen=True, slots=True)
class Tolerated:
    """A survivor that matches an allowance."""

    process: Process
    reason: str


@dataclass(frozen=True, slots=True)
class LeakVerdict:
    """The survivors of one scenario, divided into leaked and tolerated processes."""

    leaked: tuple[Process, ...] = ()
    tolerated: tuple[Tolerated, ...] = ()

    def transform_texts(self, transform: Callable[[str], str]) -> "LeakVerdict":
        """Return a copy with `transform` applied to each text of a process."""
        return LeakVerdict(
            tuple(process.transform_texts(transform) for process in self.leaked),
            tuple(
                Tolerated(survivor.process.transform_texts(transform), survivor.reason)
                for survivor in self.tolerated
            ),
        )


def classify_survivors(
    survivors: Iterable[Process], allowances: Iterable[LeakAllowance], today: date
) -> LeakVerdict:
    """Classify as leaked every survivor whose command line no unexpired allowance matches."""
    current = [
        allowance for allowance in allowances if allowance.until is None or today <= allowance.until
    ]
    leaked, tolerated = [], []
    for process in survivors:
        command_line = process.command_line
        matching = (
            allowance for allowance in current if Pattern(allowance.command).is_in(command_line)
        )
        allowance = next(matching, None)
        if allowance is None:
            leaked.append(process)
        else:
            tolerated.append(Tolerated(process, allowance.reason))
    return LeakVerdict(tuple(leaked), tuple(tolerated))
