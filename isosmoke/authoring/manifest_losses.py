"""Detection of losses between two editions of a manifest, which may only grow."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from isosmoke.manifest.key_meaning import find_changes
from isosmoke.manifest.models import Gate, Scenario


@dataclass(frozen=True, slots=True)
class Edition:
    """A manifest at one revision, with the texts of its scripts by scenario name."""

    scenarios: tuple[Scenario, ...] = ()
    gate: Gate = field(default_factory=Gate)
    scripts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loss:
    """A weakening of a manifest.

    `scenario` is the name before the loss, or empty for the `[gate]` table. `identity` names the
    loss within the scenario; losses are equal if these two are, whatever their `text`. A loss that
    is not `refused` is a note for a human reviewer.
    """

    scenario: str
    identity: str
    text: str = field(compare=False)
    refused: bool = field(default=True, compare=False)

    def __str__(self) -> str:
        subject = f"scenario {self.scenario!r}" if self.scenario else "[gate]"
        return f"{subject}: {self.text}"


def find_losses(before: Edition, after: Edition) -> Iterator[Loss]:
    """Yield the losses from `before` to `after`, in the order of `before`."""
    successors = _find_successors(before, after)
    for was in before.scenarios:
        if is_now := successors.get(was.name):
            yield from _find_key_losses(was.name, was, is_now)
            yield from _find_script_losses(was, is_now, before, after)
        else:
            yield _describe_lost_scenario(was, before, after)
    yield from _find_key_losses("", before.gate, after.gate)


def _find_key_losses(name: str, was: Scenario | Gate, is_now: Scenario | Gate) -> Iterator[Loss]:
    for change in find_changes(was, is_now):
        yield Loss(name, change.identity, change.text, change.refused)


def _find_successors(before: Edition, after: Edition) -> Mapping[str, Scenario]:
    """Map each old name to the scenario that has it now, by name or by alias.

    An alias counts only for a new scenario that takes over a single name. Otherwise one scenario
    could replace two.
    """
    successors = {scenario.name: scenario for scenario in after.scenarios}
    old = {scenario.name for scenario in before.scenarios}
    missing = old - successors.keys()
    for scenario in after.scenarios:
        renamed = missing.intersection(scenario.aliases)
        if scenario.name not in old and len(renamed) == 1:
            successors.setdefault(renamed.pop(), scenario)
    return successors


def _describe_lost_scenario(was: Scenario, before: Edition, after: Edition) -> Loss:
    old = {scenario.name for scenario in before.scenarios}
    for scenario in after.scenarios:
        if scenario.name not in old and _has_same_script(scenario, was):
            text = f"renamed to {scenario.name!r} without an alias: add aliases = ['{was.name}']"
            return Loss(was.name, "scenario", text)
    return Loss(was.name, "scenario", "lost")


def _has_same_script(scenario: Scenario, other: Scenario) -> bool:
    return PurePosixPath(scenario.script) == PurePosixPath(other.script)


def _find_script_losses(
    was: Scenario, is_now: Scenario, before: Edition, after: Edition
) -> Iterator[Loss]:
    """Yield a loss if a script is missing, emptied, or replaced by another scenario's script."""
    old, new = before.scripts.get(was.name), after.scripts.get(is_now.name)
    if old is None:
        return
    others = [other for other in before.scenarios if other.name != was.name]
    if new is None:
        yield Loss(was.name, "script", f"lost script {was.script!r}")
    elif not _has_same_script(was, is_now) and any(
        _has_same_script(is_now, other) for other in others
    ):
        text = f"lost script {was.script!r}: {is_now.script!r} belongs to another scenario"
        yield Loss(was.name, "script", text)
    elif is_empty(new) and not is_empty(old):
        yield Loss(was.name, "emptied", f"script {is_now.script!r} was emptied: it cannot fail")


# Arguments of a command that runs no other: quoted or not, no `$(`, no backquote, no pipe.
_ARGUMENTS = r"""(?:"(?:[^"`$]|\$(?!\())*"|'[^']*'|>&2|\$(?!\()|[^;&|`$"'#])*"""
_IDLE = rf"(?:(exit)(?:\s+(?:0|77))?|:|true|(?:set|echo|printf)\b{_ARGUMENTS}|(?=#))"
_IDLE_COMMAND = re.compile(rf"{_IDLE}\s*(?:;|&&|#.*|$)\s*")


def is_empty(script: str) -> bool:
    """Return whether a script only prints text before its end, an `exit 0` or an `exit 77`.

    This detects an emptied script, not a weakened one. Only a run with a broken binary shows
    whether a script can fail at all.
    """
    for line in map(str.strip, script.splitlines()):
        rest = line
        while rest:
            idle = _IDLE_COMMAND.match(rest)
            if idle is None:
                return False
            if idle[1]:
                return True
            rest = rest[idle.end() :]
    return True
