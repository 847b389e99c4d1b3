"""Gate decisions: the scenarios that cover a task, and the verdict on their results.

This module runs, reads and writes nothing; `isosmoke.gate.gate_run` does. Every case ends as a
`GateVerdict`, and no verdict is silent: a shut gate gives its reason, and an open gate lists
what was not verified.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from isosmoke.dataclass import dataclass
from isosmoke.errors import ExitCode, IsosmokeError, ManifestError, UsageError
from isosmoke.gate.proofs.lack import Lack
from isosmoke.manifest.models import Gate, Manifest, Scenario
from isosmoke.results import repeat_command
from isosmoke.results.outcome import Outcome, describe_counts, sort_counts
from isosmoke.results.records.finding import FindingsDocument
from isosmoke.results.repeat_command import Repeat
from isosmoke.results.run_results import RunResult, ScenarioResult
from isosmoke.text import quote_command, shorten, suggest_match

MAX_LINES = 12
"""The maximum length of a verdict on stderr; wg and agents read no more than the last lines."""

_MAX_VERDICT_LINES = MAX_LINES - 1  # the printer of a verdict adds a line for its receipt
_NAMES_SHOWN = 20
_MAX_FINDING = 240
_WARNINGS_SHOWN = 4
_TOOTHLESS_SHOWN = 3
_SKIPPED = "WARNING: skipped scenarios were not verified"
_NAME_ONLY = (
    *(outcome for outcome in Outcome if outcome.blocks and not outcome.facts.was_tried),
    *(
        outcome
        for outcome in Outcome
        if outcome.facts.effect == "warned" and not outcome.facts.is_skip
    ),
)
"""The outcomes that are listed by scenario name only, because there is no failure to explain."""

_PRESERVED_CODES = frozenset({ExitCode.USAGE, ExitCode.INFRASTRUCTURE})


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """The gate's verdict; `lines` are printed last and number at most `MAX_LINES` - 1.

    `is_complete` is true if `lines` omit nothing. The exit code is 0, 1, 2 or 125.
    """

    open: bool
    exit_code: ExitCode
    lines: tuple[str, ...]
    is_complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BypassRequest:
    """A request to skip the gate, made by an agent with this ID, or by a human if None."""

    agent: str | None
    overridden: bool = False

    @property
    def is_granted(self) -> bool:
        """True for a human, or for an agent with the override."""
        return self.agent is None or self.overridden


def select_scenarios(manifest: Manifest, task: str, *, full: bool = False) -> tuple[Scenario, ...]:
    """Return the scenarios that cover `task`, or all of them if `full`.

    If the result is empty, pass the task to `judge_unowned`.

    Raises:
        ManifestError: if the manifest is empty, because a gate needs scenarios.
        UsageError: if the task is blank, as an unset variable would make it.
    """
    if not task.strip():
        raise UsageError("the task is blank", hint="isosmoke gate TASK")
    if not manifest.scenarios:
        hint = "add a [[scenario]], or name another manifest"
        raise ManifestError(f"{manifest.path}: there are no scenarios", hint)
    return tuple(
        scenario for scenario in manifest.scenarios if full or task.strip() in scenario.owners
    )


def parse_bypass_request(environ: Mapping[str, str]) -> BypassRequest:
    """Return the bypass request by wg's own rule: an empty `WG_AGENT_ID` is an agent as well."""
    overridden = environ.get("WG_SMOKE_AGENT_OVERRIDE") == "1"
    return BypassRequest(agent=environ.get("WG_AGENT_ID"), overridden=overridden)


def judge_bypass(task: str, request: BypassRequest) -> GateVerdict:
    """Return the verdict on a bypass request: open with a warning if granted, shut otherwise."""
    if request.is_granted:
        who = (
            "a human" if request.agent is None else f"agent {shorten(request.agent)!r}, overridden"
        )
        warning = (
            "WARNING: no scenario was run; regressions go undetected, and this bypass is recorded"
        )
        return _open_gate(task, f"--skip-smoke by {who}", warning)
    return _shut_gate(
        task,
        "agents cannot use --skip-smoke",
        "fix the failing scenarios, or ask a human to export WG_SMOKE_AGENT_OVERRIDE=1",
    )


def judge_unowned(manifest: Manifest, task: str) -> GateVerdict:
    """Return the verdict that `[gate] unowned` sets for a task without scenarios."""
    owners = [owner for scenario in manifest.scenarios for owner in scenario.owners]
    known = f"the {len(manifest.scenarios)} scenarios in {manifest.path}"
    why = f"it owns none of {known}{suggest_match(task, owners)}"
    if manifest.gate.unowned == "refuse":
        hint = f'add {shorten(task)!r} to the owners of a scenario ([gate] unowned = "refuse")'
        return _shut_gate(task, why, hint)
    return _open_gate(task, why, "WARNING: nothing was run, so nothing was verified")


def judge_lacks(task: str, lacks: Sequence[Lack]) -> GateVerdict:
    """Return a shut verdict because scenarios lack a proof, or a receipt that they bite."""
    unproven = [lack for lack in lacks if lack.rule == "require_proof"]
    toothless = [lack for lack in lacks if lack.rule == "require_teeth"]
    reasons = [
        *(["new scenarios without a proof ([gate] require_proof)"] if unproven else []),
        *(["scenarios without teeth ([gate] require_teeth)"] if toothless else []),
    ]
    details = [
        *_list_names("unproven", [lack.scenario for lack in unproven]),
        *(f"try: {shorten(lack.command)}" for lack in unproven[:1]),
    ]
    for lack in toothless[:_TOOTHLESS_SHOWN]:
        text = f"toothless {lack.scenario}: {lack.text}"
        details += [shorten(text, _MAX_FINDING), f"  try: {shorten(lack.command, _MAX_FINDING)}"]
    details += _list_names("also", [lack.scenario for lack in toothless[_TOOTHLESS_SHOWN:]])
    return _shut_gate(task, f"{', '.join(reasons)}; nothing was run", *details)


def judge_error(task: str, error: IsosmokeError) -> GateVerdict:
    """Return a shut verdict for an error that kept the scenarios from being run."""
    lines = [line for line in error.message.splitlines() if line.strip()]
    hint = [f"try: {shorten(line)}" for line in error.hint.splitlines()[:1]]
    shown = lines[: _MAX_VERDICT_LINES - 2 - len(hint)]
    more = [f"and {len(lines) - len(shown)} more"] if len(lines) > len(shown) else []
    code = error.exit_code if error.exit_code in _PRESERVED_CODES else ExitCode.BLOCKED
    details = (*(shorten(line) for line in shown), *more, *hint)
    return _shut_gate(task, "nothing was run", *details, code=code)


def judge_changes(task: str, names: Sequence[str]) -> GateVerdict:
    """Return a shut verdict because tested inputs changed during the run."""
    why = "tested files changed during the run"
    hint = "try: run the gate again when the files no longer change"
    return _shut_gate(task, why, *_list_names("changed", names), hint)


def add_findings(verdict: GateVerdict, findings: FindingsDocument) -> GateVerdict:
    """Return the verdict with the first finding of each kind in its first line.

    A finding changes no verdict, and must not displace a line about a failure.
    """
    headline, *details = verdict.lines
    for label, group in (("LOSS", findings.losses), ("note", findings.notes)):
        if group:
            more = f" (+{len(group) - 1} more)" if len(group) > 1 else ""
            headline += f"; {label}: {shorten(str(group[0]), _MAX_FINDING)}{more}"
    return replace(verdict, lines=(headline, *details))


def judge_run(
    result: RunResult, gate: Gate, *, task: str, repeat: Repeat = repeat_command.build_run_command
) -> GateVerdict:
    """Return the verdict for `task` on a run of its scenarios."""
    why = _find_objection(result, gate)
    warnings = _format_warnings(result.warnings)
    details, is_complete = _format_details(result, repeat, _MAX_VERDICT_LINES - len(warnings))
    details += warnings
    if why:
        return _shut_gate(task, why, *details, code=_select_code(result), is_complete=is_complete)
    warning = f"; {_SKIPPED}" if result.skipped else ""
    return _open_gate(
        task, f"{_count_outcomes(result)}{warning}", *details, is_complete=is_complete
    )


def judge_part(
    result: RunResult,
    part: str,
    *,
    task: str,
    changes: Sequence[str] = (),
    repeat: Repeat = repeat_command.build_run_command,
) -> tuple[GateVerdict, str]:
    """Return the verdict on a part of a divided gate, which is always shut, and the objection.

    The objection is empty if nothing in the part keeps the gate shut. The exit code is then 0.
    """
    objection = next(_find_part_objections(result), "")
    if changes and not objection:
        objection = "tested files changed during the run"
    fixed = [*_list_names("changed", changes), *_format_warnings(result.warnings)]
    details, is_complete = _format_details(result, repeat, _MAX_VERDICT_LINES - len(fixed))
    state = objection or f"{_count_outcomes(result)}; shut until all shards are merged and audited"
    code = _select_code(result) if objection else ExitCode.OK
    why = f"{part}: {state}"
    verdict = _shut_gate(task, why, *details, *fixed, code=code, is_complete=is_complete)
    return verdict, objection


def _format_warnings(warnings: Sequence[str]) -> list[str]:
    """Return a run's warnings in a few lines, to leave lines for the failures."""
    lines = [f"WARNING: {shorten(warning)}" for warning in warnings[:_WARNINGS_SHOWN]]
    more = len(warnings) - len(lines)
    return [*lines, f"WARNING: {more} more in the record of the run"] if more else lines


def _shut_gate(
    task: str,
    why: str,
    *details: str,
    code: ExitCode = ExitCode.BLOCKED,
    is_complete: bool = True,
) -> GateVerdict:
    headline = f"gate: SHUT for {shorten(task)!r}: {why}"
    return GateVerdict(
        open=False, exit_code=code, lines=(headline, *details), is_complete=is_complete
    )


def _open_gate(task: str, why: str, *details: str, is_complete: bool = True) -> GateVerdict:
    headline = f"gate: OPEN for {shorten(task)!r}: {why}"
    return GateVerdict(
        open=True, exit_code=ExitCode.OK, lines=(headline, *details), is_complete=is_complete
    )


def _find_objection(result: RunResult, gate: Gate) -> str:
    """Return the first reason to keep the gate shut; empty if there is none."""
    return next(_find_objections(result, gate), "")


def _find_objections(result: RunResult, gate: Gate) -> Iterator[str]:
    yield from _find_part_objections(result)
    if not result.scenarios:
        yield "no scenario was run"
    if gate.max_skips is not None and result.skipped > gate.max_skips:
        yield f"more skips than [gate] max_skips = {gate.max_skips}; {_count_outcomes(result)}"


def _find_part_objections(result: RunResult) -> Iterator[str]:
    """Yield each reason to keep the gate shut that a part of the scenarios shows."""
    blocking = sum(scenario.outcome.blocks for scenario in result.scenarios)
    if result.stopped:
        yield f"interrupted by {result.stopped}; {_count_outcomes(result)}"
    if blocking:
        yield f"blocked by {blocking} of {_count_outcomes(result)}"
    if result.dirty:
        yield f"not cleaned up: {shorten(result.dirty[0])}; {_count_outcomes(result)}"


def _count_outcomes(result: RunResult) -> str:
    counts = describe_counts(sort_counts(result.counts))
    number = len(result.scenarios)
    noun = "scenario" if number == 1 else "scenarios"
    return f"{number} {noun}: {counts}" if counts else f"{number} {noun}"


def _select_code(result: RunResult) -> ExitCode:
    """Return 125 only if every objection is the engine's: the binary is then untested."""
    blocking = [scenario for scenario in result.scenarios if scenario.outcome.blocks]
    engine = bool(blocking or result.dirty) and all(
        scenario.is_infrastructure for scenario in blocking
    )
    return ExitCode.INFRASTRUCTURE if engine and not result.stopped else ExitCode.BLOCKED


def _format_details(result: RunResult, repeat: Repeat, limit: int) -> tuple[list[str], bool]:
    """Return the detail lines, and True if they omit nothing.

    As many failures as fit are explained; the others are listed by name. Together with the
    headline there are at most `limit` lines.
    """
    broken = [scenario for scenario in result.scenarios if _is_broken(scenario)]
    others = [line for outcome in _NAME_ONLY for line in _list_outcome(result, outcome)]
    skips = [scenario for scenario in result.scenarios if scenario.outcome.facts.is_skip]
    remaining = limit - 1 - len(others) - bool(skips)
    blocks = _select_blocks([list(_format_block(item, repeat)) for item in broken], remaining)
    lines = [line for block in blocks for line in block]
    lines += _list_names("also blocking", [scenario.name for scenario in broken[len(blocks) :]])
    lines += others
    explanations = [f"SKIP {skip.name}: {shorten(skip.reported_attempt.reason)}" for skip in skips]
    fits = len(lines) + len(explanations) <= limit - 1
    lines += explanations if fits else _list_names("SKIP", [skip.name for skip in skips])
    return lines, fits and len(blocks) == len(broken)


def _is_broken(result: ScenarioResult) -> bool:
    return result.outcome.blocks and result.outcome.facts.was_tried


def _select_blocks(blocks: Sequence[list[str]], limit: int) -> Sequence[list[str]]:
    """Return all blocks if they fit, else as many as leave a line to name the others."""
    if sum(map(len, blocks)) <= limit:
        return blocks
    ends = [sum(map(len, blocks[: end + 1])) for end in range(len(blocks))]
    return blocks[: sum(end < limit for end in ends)]


def _format_block(result: ScenarioResult, repeat: Repeat) -> Iterator[str]:
    reported_attempt = result.reported_attempt
    yield f"{result.outcome} {result.name}: {shorten(reported_attempt.reason)}"
    if result.assertion:
        yield f"  asserts  {shorten(result.assertion)}"
    log = (
        f"  (log {reported_attempt.log})"
        if reported_attempt.log is not None and reported_attempt.output.size
        else ""
    )
    yield f"  repeat   {quote_command(repeat(result.name))}{log}"


def _list_outcome(result: RunResult, outcome: Outcome) -> list[str]:
    return _list_names(
        outcome,
        [scenario.name for scenario in result.scenarios if scenario.outcome is outcome],
    )


def _list_names(label: str, names: Sequence[str]) -> list[str]:
    """Return one line with the number of names and the first of them; empty without names."""
    if not names:
        return []
    more = len(names) - _NAMES_SHOWN
    rest = f" and {more} more" if more > 0 else ""
    return [f"{label} ({len(names)}): {', '.join(names[:_NAMES_SHOWN])}{rest}"]
