"""Whether a task may be called done: which scenarios guard it, and what they say.

Nothing here runs, reads or writes anything; `isosmoke.gate.gate_run` does. Whatever happens comes
out as a `Verdict`, and a verdict is never silent: shut says why, open says what was not shown to
work.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from isosmoke.errors import ExitCode, IsosmokeError, ManifestError, UsageError
from isosmoke.manifest.models import Gate, Manifest, Scenario
from isosmoke.results import repeat_command
from isosmoke.results.outcome import Outcome, describe_counts, sort_counts
from isosmoke.results.repeat_command import Repeat
from isosmoke.results.run_results import RunResult, ScenarioResult
from isosmoke.text import command_line, meant, shortened

MOST_LINES = 12
"""What is said last, on stderr; wg and agents look no further back."""

_ROOM = MOST_LINES - 1  # whoever prints a verdict adds where its receipt lies
_NAMES_SHOWN = 20
_WARNINGS_SHOWN = 4
_SKIPPED = "WARNING: what was skipped is not shown to work"
_ONLY_NAMED = (
    *(one for one in Outcome if one.blocks and not one.facts.was_tried),
    *(one for one in Outcome if one.facts.effect == "warned" and not one.facts.is_skip),
)
"""The outcomes of which the names say enough: there is no failure and no reason to tell."""

_CLOSING = frozenset({ExitCode.USAGE, ExitCode.INFRASTRUCTURE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate says: `lines` are the last thing to print, at most `MOST_LINES` - 1 of them.

    `whole` means that `lines` leave nothing out; the exit code is 0, 1, 2 or 125.
    """

    open: bool
    exit_code: ExitCode
    lines: tuple[str, ...]
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Bypass:
    """Who asks to skip the gate: an agent by its id, or with None a human."""

    agent: str | None
    overridden: bool = False

    @property
    def granted(self) -> bool:
        return self.agent is None or self.overridden


def chosen(manifest: Manifest, task: str, *, full: bool = False) -> tuple[Scenario, ...]:
    """The scenarios that guard `task`; with `full` all. None at all is for `unowned` to judge.

    Raises:
        ManifestError: if the manifest is empty: nobody meant a gate without scenarios.
        UsageError: if the task is blank, as with a variable that is not set.
    """
    if not task.strip():
        raise UsageError("the task is blank", hint="isosmoke gate TASK")
    if not manifest.scenarios:
        hint = "add a [[scenario]], or name the manifest that has them"
        raise ManifestError(f"{manifest.path}: there are no scenarios", hint)
    return tuple(one for one in manifest.scenarios if full or task.strip() in one.owners)


def bypass(environ: Mapping[str, str]) -> Bypass:
    """Who asks, by wg's own rule: `WG_AGENT_ID` set to nothing is an agent as well."""
    overridden = environ.get("WG_SMOKE_AGENT_OVERRIDE") == "1"
    return Bypass(agent=environ.get("WG_AGENT_ID"), overridden=overridden)


def bypassed(task: str, asked: Bypass) -> Verdict:
    """Open and loud for a human, or for an agent whom a human let through; else shut."""
    if asked.granted:
        who = "a human" if asked.agent is None else f"agent {shortened(asked.agent)!r}, overridden"
        warning = (
            "WARNING: no scenario was run: a regression will not be caught, and this is on record"
        )
        return _opened(task, f"--skip-smoke by {who}", warning)
    return _shut(
        task,
        "agents cannot use --skip-smoke",
        "fix what is broken, or ask a human; one who means it exports WG_SMOKE_AGENT_OVERRIDE=1",
    )


def unowned(manifest: Manifest, task: str) -> Verdict:
    """What `[gate] unowned` says of a task that no scenario guards."""
    owners = [owner for one in manifest.scenarios for owner in one.owners]
    known = f"the {len(manifest.scenarios)} scenarios in {manifest.path}"
    why = f"it owns none of {known}{meant(task, owners)}"
    if manifest.gate.unowned == "refuse":
        hint = f'add {shortened(task)!r} to the owners of a scenario ([gate] unowned = "refuse")'
        return _shut(task, why, hint)
    return _opened(task, why, "WARNING: nothing was run, so nothing is shown to work")


def refused(task: str, error: IsosmokeError) -> Verdict:
    """Shut, because not even the attempt was possible."""
    told = [line for line in error.message.splitlines() if line.strip()]
    hint = [f"try: {shortened(line)}" for line in error.hint.splitlines()[:1]]
    kept = told[: _ROOM - 2 - len(hint)]
    more = [f"and {len(told) - len(kept)} more"] if len(told) > len(kept) else []
    code = error.exit_code if error.exit_code in _CLOSING else ExitCode.BLOCKED
    said = (*(shortened(line) for line in kept), *more, *hint)
    return _shut(task, "nothing was run", *said, code=code)


def changed(task: str, names: Sequence[str]) -> Verdict:
    """Shut, because what was tested is not what is there now."""
    why = "what was tested changed meanwhile"
    return _shut(task, why, *_by_name("changed", names), "try: the gate again, once all is still")


def verdict(
    result: RunResult, gate: Gate, *, task: str, repeat: Repeat = repeat_command.command
) -> Verdict:
    """What a run of the chosen scenarios means for `task`."""
    why = _objection(result, gate)
    warned = _warned(result.warnings)
    details, whole = _details(result, repeat, _ROOM - len(warned))
    details += warned
    if why:
        return _shut(task, why, *details, code=_code(result), whole=whole)
    warning = f"; {_SKIPPED}" if result.skipped else ""
    return _opened(task, f"{_counts(result)}{warning}", *details, whole=whole)


def _warned(warnings: Sequence[str]) -> list[str]:
    """The warnings of a run, in a few lines that leave room for what broke."""
    shown = [f"WARNING: {shortened(one)}" for one in warnings[:_WARNINGS_SHOWN]]
    more = len(warnings) - len(shown)
    return [*shown, f"WARNING: and {more} more, in the record of the run"] if more else shown


def _shut(
    task: str,
    why: str,
    *details: str,
    code: ExitCode = ExitCode.BLOCKED,
    whole: bool = True,
) -> Verdict:
    headline = f"gate: SHUT for {shortened(task)!r}: {why}"
    return Verdict(open=False, exit_code=code, lines=(headline, *details), whole=whole)


def _opened(task: str, why: str, *details: str, whole: bool = True) -> Verdict:
    headline = f"gate: OPEN for {shortened(task)!r}: {why}"
    return Verdict(open=True, exit_code=ExitCode.OK, lines=(headline, *details), whole=whole)


def _objection(result: RunResult, gate: Gate) -> str:
    """Why the gate stays shut; empty where nothing speaks against opening it."""
    return next(_objections(result, gate), "")


def _objections(result: RunResult, gate: Gate) -> Iterator[str]:
    blocking = sum(one.outcome.blocks for one in result.scenarios)
    if result.stopped:
        yield f"interrupted by {result.stopped}; {_counts(result)}"
    if blocking:
        yield f"blocked by {blocking} of {_counts(result)}"
    if not result.scenarios:
        yield "no scenario was run"
    if result.dirty:
        yield f"left behind: {shortened(result.dirty[0])}; {_counts(result)}"
    if gate.max_skips is not None and result.skipped > gate.max_skips:
        yield f"more skips than [gate] max_skips = {gate.max_skips}; {_counts(result)}"


def _counts(result: RunResult) -> str:
    counted = describe_counts(sort_counts(result.counts))
    number = len(result.scenarios)
    noun = "scenario" if number == 1 else "scenarios"
    return f"{number} {noun}: {counted}" if counted else f"{number} {noun}"


def _code(result: RunResult) -> ExitCode:
    """125 only where the engine alone is to blame: then nothing is known of the binary."""
    blocking = [one for one in result.scenarios if one.outcome.blocks]
    engine = bool(blocking or result.dirty) and all(one.infrastructure for one in blocking)
    return ExitCode.INFRASTRUCTURE if engine and not result.stopped else ExitCode.BLOCKED


def _details(result: RunResult, repeat: Repeat, most: int) -> tuple[list[str], bool]:
    """What broke in full, as far as there is room, the rest by name; whether nothing is missing.

    With the headline there are `most` lines.
    """
    broken = [one for one in result.scenarios if _is_broken(one)]
    others = [line for outcome in _ONLY_NAMED for line in _named(result, outcome)]
    skips = [one for one in result.scenarios if one.outcome.facts.is_skip]
    room = most - 1 - len(others) - bool(skips)
    blocks = _fitting([list(_block(one, repeat)) for one in broken], room)
    told = [line for block in blocks for line in block]
    told += _by_name("also broken", [one.name for one in broken[len(blocks) :]])
    told += others
    explained = [f"SKIP {one.name}: {shortened(one.telling.reason)}" for one in skips]
    fits = len(told) + len(explained) <= most - 1
    told += explained if fits else _by_name("SKIP", [one.name for one in skips])
    return told, fits and len(blocks) == len(broken)


def _is_broken(result: ScenarioResult) -> bool:
    return result.outcome.blocks and result.outcome.facts.was_tried


def _fitting(blocks: Sequence[list[str]], room: int) -> Sequence[list[str]]:
    """All, else as many as fit with one line left for the names of the others."""
    if sum(map(len, blocks)) <= room:
        return blocks
    ends = [sum(map(len, blocks[: end + 1])) for end in range(len(blocks))]
    return blocks[: sum(end < room for end in ends)]


def _block(result: ScenarioResult, repeat: Repeat) -> Iterator[str]:
    telling = result.telling
    yield f"{result.outcome} {result.name}: {shortened(telling.reason)}"
    if result.assertion:
        yield f"  asserts  {shortened(result.assertion)}"
    log = f"  (log {telling.log})" if telling.log is not None and telling.output.size else ""
    yield f"  repeat   {command_line(repeat(result.name))}{log}"


def _named(result: RunResult, outcome: Outcome) -> list[str]:
    return _by_name(outcome, [one.name for one in result.scenarios if one.outcome is outcome])


def _by_name(word: str, names: Sequence[str]) -> list[str]:
    """One line with a count, or none; a name or two hundred, it stays one line."""
    if not names:
        return []
    more = len(names) - _NAMES_SHOWN
    rest = f" and {more} more" if more > 0 else ""
    return [f"{word} ({len(names)}): {', '.join(names[:_NAMES_SHOWN])}{rest}"]
