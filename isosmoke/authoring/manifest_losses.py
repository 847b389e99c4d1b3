"""What a manifest has lost since it was last looked at: it may grow, and nothing else."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from isosmoke.manifest.key_meaning import changes
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
            yield from _changed(was.name, was, is_now)
            yield from _lost_script(was, is_now, before, after)
        else:
            yield _lost_scenario(was, before, after)
    yield from _changed("", before.gate, after.gate)


def _changed(name: str, was: Scenario | Gate, is_now: Scenario | Gate) -> Iterator[Loss]:
    """Yield what each key lost, as its meaning says."""
    for one in changes(was, is_now):
        yield Loss(name, one.what, one.words, one.refused)


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
