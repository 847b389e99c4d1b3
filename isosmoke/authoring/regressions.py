"""What a manifest has lost since it was last looked at: it may grow, and nothing else."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from operator import gt, lt
from pathlib import PurePosixPath

from isosmoke.manifest.models import Gate, Scenario


@dataclass(frozen=True, slots=True)
class Edition:
    """A manifest at one time, and the scripts that were there then: text by scenario name."""

    scenarios: tuple[Scenario, ...] = ()
    gate: Gate = field(default_factory=Gate)
    scripts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that is less than it was; it stays the same loss while the numbers in it change.

    `scenario` is the name from before the loss, or empty for the manifest itself. A loss that is
    not `refused` is one that only a reader can judge.
    """

    scenario: str
    what: str
    words: str = field(compare=False)
    refused: bool = field(default=True, compare=False)

    def __str__(self) -> str:
        subject = f"scenario {self.scenario!r}" if self.scenario else "[gate]"
        return f"{subject}: {self.words}"


def losses(before: Edition, after: Edition) -> Iterator[Loss]:
    """All that `after` has less of than `before`, in the order of `before`."""
    heirs = _heirs(before, after)
    for was in before.scenarios:
        if is_now := heirs.get(was.name):
            for lost in _LOST:
                yield from lost(was, is_now)
            yield from _lost_script(was, is_now, before, after)
        else:
            yield _lost_scenario(was, before, after)
    yield from _lost_gate(before.gate, after.gate)


def _heirs(before: Edition, after: Edition) -> Mapping[str, Scenario]:
    """Who carries an old name on: the scenario of that name, else the one that was renamed.

    A scenario that was there before, or takes two names over, is no heir: what was held by two
    would be held by one.
    """
    heirs = {one.name: one for one in after.scenarios}
    old = {one.name for one in before.scenarios}
    gone = old - heirs.keys()
    for one in after.scenarios:
        renamed = gone.intersection(one.aliases)
        if one.name not in old and len(renamed) == 1:
            heirs.setdefault(renamed.pop(), one)
    return heirs


def _lost_scenario(was: Scenario, before: Edition, after: Edition) -> Loss:
    old = {one.name for one in before.scenarios}
    renamed = (one for one in after.scenarios if one.name not in old and _same_script(one, was))
    for one in renamed:
        words = f"renamed to {one.name!r} without a declared alias: aliases = ['{was.name}']"
        return Loss(was.name, "scenario", words)
    return Loss(was.name, "scenario", "lost")


def _same_script(one: Scenario, other: Scenario) -> bool:
    return PurePosixPath(one.script) == PurePosixPath(other.script)


def _lost_names(was: Scenario, is_now: Scenario) -> Iterator[Loss]:
    for owner in was.owners:
        if owner not in is_now.owners:
            yield Loss(was.name, f"owner {owner}", f"lost owner {owner!r}")
    for alias in was.aliases:
        if alias not in is_now.aliases:
            yield Loss(was.name, f"alias {alias}", f"lost alias {alias!r}")


def _lost_numbers(was: Scenario, is_now: Scenario) -> Iterator[Loss]:
    """A longer deadline asks for no less; a retry, or time to settle, hides what else showed."""
    worse = {"timeout_seconds": lt, "retries": gt, "settle_seconds": gt}
    for key, is_worse in worse.items():
        old, new = getattr(was, key), getattr(is_now, key)
        if is_worse(new, old):
            verb = "raised" if new > old else "shortened"
            yield Loss(was.name, key, f"{key} {verb} from {old:g} to {new:g}")


def _lost_assertion(was: Scenario, is_now: Scenario) -> Iterator[Loss]:
    """Whether other words ask for less, only a reader can say; no words ask for nothing."""
    if not was.assertion.strip() or was.assertion.split() == is_now.assertion.split():
        return
    if is_now.assertion.strip():
        yield Loss(was.name, "assertion", "assertion reworded: read it", refused=False)
    else:
        yield Loss(was.name, "assertion", "lost its assertion")


def _lost_leaks(was: Scenario, is_now: Scenario) -> Iterator[Loss]:
    """Whether one pattern finds more than another cannot be decided: another one is a new one."""
    if was.leaks.policy == "report":
        return
    if is_now.leaks.policy == "report":
        words = "leak policy loosened from 'fail' to 'report'"
        yield Loss(was.name, "leaks.policy", words)
    allowed = _last_days(was)
    for command, until in _last_days(is_now).items():
        what = f"leaks.allow {command}"
        if command not in allowed:
            yield Loss(was.name, what, f"leak policy loosened: {command!r} may now outlive it")
        elif until > allowed[command]:
            words = f"leak policy loosened: {command!r} is allowed {_until(until)}"
            yield Loss(was.name, what, f"{words}, not {_until(allowed[command])}")


def _last_days(scenario: Scenario) -> Mapping[str, date]:
    days: dict[str, date] = {}
    for one in scenario.leaks.allow:
        days[one.command] = max(days.get(one.command, date.min), one.until or date.max)
    return days


def _until(day: date) -> str:
    return "for ever" if day == date.max else f"until {day}"


_LOST: Sequence[Callable[[Scenario, Scenario], Iterator[Loss]]] = (
    _lost_names,
    _lost_numbers,
    _lost_assertion,
    _lost_leaks,
)


def _lost_script(
    was: Scenario, is_now: Scenario, before: Edition, after: Edition
) -> Iterator[Loss]:
    """A script may move and change; it may not be gone, be another scenario's, or be empty."""
    old, new = before.scripts.get(was.name), after.scripts.get(is_now.name)
    if old is None:
        return
    others = [one for one in before.scenarios if one.name != was.name]
    if new is None:
        yield Loss(was.name, "script", f"lost script {was.script!r}")
    elif not _same_script(was, is_now) and any(_same_script(is_now, one) for one in others):
        words = f"lost script {was.script!r}: {is_now.script!r} is another scenario's"
        yield Loss(was.name, "script", words)
    elif is_empty(new) and not is_empty(old):
        yield Loss(was.name, "emptied", f"script {is_now.script!r} was emptied: it cannot fail")


# Words of a command that runs no other: quoted or not, no `$(`, no backquote, no pipe.
_WORDS = r"""(?:"(?:[^"`$]|\$(?!\())*"|'[^']*'|>&2|\$(?!\()|[^;&|`$"'#])*"""
_IDLE = rf"(?:(exit)(?:\s+(?:0|77))?|:|true|(?:set|echo|printf)\b{_WORDS}|(?=#))"
_IDLE_COMMAND = re.compile(rf"{_IDLE}\s*(?:;|&&|#.*|$)\s*")


def is_empty(script: str) -> bool:
    """Whether nothing but words comes before the end, or before an `exit 0` or `exit 77`.

    This finds what was made empty, not what was made weak: whether a script can fail at all is
    shown by running it with a broken binary.
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


def _lost_gate(was: Gate, is_now: Gate) -> Iterator[Loss]:
    if was.unowned == "refuse" and is_now.unowned == "allow":
        yield Loss("", "unowned", "unowned loosened from 'refuse' to 'allow'")
    if was.max_skips is not None and (is_now.max_skips is None or is_now.max_skips > was.max_skips):
        number = "any" if is_now.max_skips is None else is_now.max_skips
        yield Loss("", "max_skips", f"max_skips raised from {was.max_skips} to {number}")
