"""Detection of losses between two editions of a manifest, which may only grow."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import field
from itertools import chain

from isosmoke.authoring.growth.editions import Edition, Script
from isosmoke.authoring.mentioned_files import SUFFIXES
from isosmoke.authoring.new_scenario import render_skeleton
from isosmoke.dataclass import dataclass
from isosmoke.manifest.key_meaning import find_changes
from isosmoke.manifest.models import Scenario

GATE = "[gate]"
"""The subject of findings about the tables `[gate]` and `[check]`."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A change of a manifest that can hide a failure.

    `subject` is the name of the scenario before it, `[gate]`, or the path of a manifest.
    `identity` names the loss within the subject; losses are equal if these two are, whatever their
    `text`. A loss that is not `refused` is a note for a human reviewer.
    """

    subject: str
    identity: str
    text: str = field(compare=False)
    kind: str = field(compare=False)
    refused: bool = field(default=True, compare=False)
    is_scenario: bool = field(default=True, compare=False)

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"

    @property
    def place(self) -> str:
        """The subject as messages name it."""
        return f"scenario {self.subject!r}" if self.is_scenario else self.subject


def find_losses(before: Edition, after: Edition) -> Iterator[Loss]:
    """Yield the losses from `before` to `after`, in the order of `before`."""
    successors = _find_successors(before, after)
    for was in before.scenarios:
        if is_now := successors.get(was.name):
            yield from _find_key_losses(was, is_now)
            yield from _find_script_losses(was, is_now, before, after)
        else:
            yield _describe_lost_scenario(was, before, after)
    rules = (find_changes(before.gate, after.gate), find_changes(before.check, after.check))
    for change in chain(*rules):
        kind = "gate-weakened"
        yield Loss(GATE, change.identity, change.text, kind, change.refused, is_scenario=False)


def _find_key_losses(was: Scenario, is_now: Scenario) -> Iterator[Loss]:
    for change in find_changes(was, is_now):
        yield Loss(was.name, change.identity, change.text, change.kind, change.refused)


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
    script = before.scripts.get(was.name)
    for scenario in after.scenarios:
        now = after.scripts.get(scenario.name)
        if scenario.name not in old and script and now and script.path == now.path:
            text = f"renamed to {scenario.name!r} without an alias: add aliases = ['{was.name}']"
            return Loss(was.name, "scenario", text, "scenario-renamed")
    return Loss(was.name, "scenario", "lost", "scenario-lost")


def _find_script_losses(
    was: Scenario, is_now: Scenario, before: Edition, after: Edition
) -> Iterator[Loss]:
    """Yield the losses of a script and of the files that it runs as its own code."""
    old, new = before.scripts.get(was.name), after.scripts.get(is_now.name)
    if old is None:
        return
    others = {before.scripts[name].path for name in before.scripts if name != was.name}
    if new is None:
        yield Loss(was.name, "script", f"lost script {was.script!r}", "script-lost")
    elif new.path != old.path and new.path in others:
        text = f"lost script {was.script!r}: {is_now.script!r} belongs to another scenario"
        yield Loss(was.name, "script", text, "script-replaced")
    elif is_empty(new.text) and not is_empty(old.text):
        text = f"script {is_now.script!r} was emptied: it cannot fail"
        yield Loss(was.name, "emptied", text, "script-emptied")
    elif new.path != old.path and is_rewritten(old.text, new.text):
        text = f"points at another script, {is_now.script!r} in place of {was.script!r}"
        yield Loss(was.name, "script", text, "script-replaced")
    else:
        yield from _find_rewritings(was, old, new)


def _find_rewritings(was: Scenario, old: Script, new: Script) -> Iterator[Loss]:
    """Yield notes on a rewritten script and on rewritten files that it sources."""
    if old.text == render_skeleton(was):
        return  # it was not written yet
    if is_rewritten(old.text, new.text):
        text = f"script {new.path} was rewritten: review it"
        yield Loss(was.name, "rewritten", text, "script-rewritten", refused=False)
    for path in sorted({*old.inputs, *new.inputs}):
        if verb := _describe_input(path, old.inputs.get(path), new.inputs.get(path)):
            text = f"{path}, which its script reads, was {verb}: review it"
            identity = f"input {path}"
            yield Loss(was.name, identity, text, "input-rewritten", refused=False)


def _describe_input(path: str, was: str | None, is_now: str | None) -> str:
    if was is None:
        return "added"
    if is_now is None:
        return "removed"
    return "rewritten" if is_input_rewritten(path, was, is_now) else ""


_CODE_SUFFIXES = (*SUFFIXES, ".py")


def is_input_rewritten(path: str, was: str, is_now: str) -> bool:
    """Return whether more than comments changed in a file that a script reads.

    In data, such as an expected output, a line that begins with `#` is no comment.
    """
    is_code = path.endswith(_CODE_SUFFIXES) or (was.startswith("#!") and is_now.startswith("#!"))
    return is_rewritten(was, is_now) if is_code else was != is_now


def is_rewritten(was: str, is_now: str) -> bool:
    """Return whether more than comments changed, unless comments may be other text."""
    if was == is_now:
        return False
    if not (_has_plain_comments(was) and _has_plain_comments(is_now)):
        return True
    return _strip_comments(was) != _strip_comments(is_now)


_OWN_DIRECTORY = re.compile(
    r"""dirname\s+(?:--\s+)?["']?\$\{?(?:0|BASH_SOURCE)\b|\$\{(?:0|BASH_SOURCE(?:\[0\])?)%/\*\}"""
)
_OWN_PATH = re.compile(r"\$\{?(?:0|BASH_SOURCE)\b")


def _has_plain_comments(text: str) -> bool:
    """Return whether each line that begins with `#` is a comment.

    It is data in a here-document and in a string of several lines, and a script may read its own
    comments.
    """
    lines = _strip_comments(text)
    reads_itself = _OWN_PATH.search(_OWN_DIRECTORY.sub("", text))
    is_odd = any(line.count(quote) % 2 for line in lines for quote in "'\"`")
    is_continued = any(line.endswith("\\") for line in lines)
    return not ("<<" in text or reads_itself or is_odd or is_continued)


def _strip_comments(text: str) -> Collection[str]:
    """Return the lines that are neither blank nor comments, and the line of the interpreter."""
    lines = [line.rstrip(" \t") for line in text.split("\n")]
    interpreter = [line for line in lines[:1] if line.startswith("#!")]
    code = (line for line in lines if line and not line.lstrip(" \t").startswith("#"))
    return [*interpreter, *code]


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
