"""Run scenarios, or any command as a scenario."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import click

from isosmoke.cli.json_documents import DocumentKind
from isosmoke.cli.options import (
    ScenarioSelection,
    json_option,
    select_scenarios,
    selection_options,
)
from isosmoke.cli.reporting import (
    ReportChoice,
    Reporting,
    parse_reports,
    report_option,
    warn_if_unrecorded,
)
from isosmoke.cli.rerun_options import PastSelection, narrow, past_options
from isosmoke.cli.running import (
    COMMAND_OPTIONS,
    CommandOptions,
    EngineOptions,
    WithCommand,
    build_repeat_command,
    command_options,
    create_progress,
    engine_options,
    find_option,
    limit_failures,
    repetition_options,
)
from isosmoke.errors import UsageError
from isosmoke.execution import session
from isosmoke.execution.scheduler import Confirm, Policy
from isosmoke.execution.session import Request
from isosmoke.history import layout
from isosmoke.host.caller_process import Caller, without_own_environment
from isosmoke.interrupt import Interrupt, exit_on_signal, interruptible
from isosmoke.manifest.filters import Expression
from isosmoke.manifest.models import Scenario
from isosmoke.manifest.tables import InvalidTableError
from isosmoke.reports import agent
from isosmoke.results import repeat_command
from isosmoke.results.events import Event
from isosmoke.results.repeat_command import Repeat
from isosmoke.text import escape_controls

DOCUMENTS = {
    "record": DocumentKind(
        "run --json, show --json, --report json", "isosmoke.results.run_record:RunRecord"
    ),
}
"""The kinds of JSON documents that this command reads or writes."""

Evidence = Literal["failed", "always", "never"]
Leaks = Literal["fail", "report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The request: scenarios of a manifest, the command `argv`, or the scenario of a bundle."""

    selection: ScenarioSelection
    past: PastSelection
    argv: tuple[str, ...]
    command: CommandOptions
    bundle: Path | None
    tested: EngineOptions
    policy: Policy

    @property
    def selects_scenarios(self) -> bool:
        """True if an option selects among the scenarios of a manifest."""
        return self.selection != ScenarioSelection() or self.past.is_given


@click.command(cls=WithCommand, options_metavar="[OPTIONS]")
@selection_options
@past_options
@engine_options
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    help="Run this many scenarios at once.  [default: as many as the machine bears]",
)
@click.option(
    "--confirm",
    type=click.Choice(get_args(Confirm)),
    default="auto",
    show_default=True,
    help="Run all failures again alone, those that other scenarios may have caused, or none.",
)
@click.option(
    "--leaks", type=click.Choice(get_args(Leaks)), help="Override the manifest's leak policy."
)
@click.option(
    "--evidence",
    type=click.Choice(get_args(Evidence)),
    default="failed",
    show_default=True,
    help="Select the attempts whose files and screens are recorded.",
)
@click.option(
    "--fail-fast/--keep-going",
    help="Stop starting scenarios after the first failure.  [default: --keep-going]",
)
@repetition_options
@command_options
@report_option
@click.option(
    "--bundle",
    "bundled",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Run the scenario of a bundle written by isosmoke bundle.",
)
@click.option(
    "--timings", is_flag=True, help="Print where the time of each scenario went, after the run."
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    names: tuple[str, ...],
    manifest_path: Path | None,
    owners: tuple[str, ...],
    expression: Expression | None,
    last_failed: bool,
    rerun: str | None,
    binary: str | None,
    engine: str,
    jobs: int | None,
    confirm: Confirm,
    leaks: Leaks | None,
    evidence: Evidence,
    fail_fast: bool,
    max_fail: int | None,
    retries: int | None,
    repeat: int,
    timeout: int | None,
    env: tuple[str, ...],
    pass_env: tuple[str, ...],
    pass_files: tuple[Path, ...],
    image: str | None,
    network: str | None,
    memory: str | None,
    processes: int | None,
    no_cache: bool,
    keep_cache: bool,
    reports: tuple[str, ...],
    bundled: Path | None,
    timings: bool,
    as_json: bool,
) -> None:
    """Run scenarios by name or glob (default: all), or the command given after `--`.

    Each scenario runs in a fresh sandbox. A scenario fails if a process outlives it.
    """
    options = _Options(
        selection=ScenarioSelection(
            names=names, owners=owners, expression=expression, manifest=manifest_path
        ),
        past=PastSelection(last_failed=last_failed, rerun=rerun),
        argv=ctx.obj,
        command=CommandOptions(
            timeout=timeout,
            env=env,
            pass_env=pass_env,
            pass_files=pass_files,
            image=image,
            network=network,
            memory=memory,
            processes=processes,
            no_cache=no_cache,
            keep_cache=keep_cache,
        ),
        bundle=bundled,
        tested=EngineOptions(binary=binary, engine=engine),
        policy=Policy(
            jobs=jobs,
            max_fail=limit_failures(max_fail, fail_fast=fail_fast),
            retries=retries,
            repeat=repeat,
            confirm=confirm,
            leaks=leaks,
            evidence=evidence,
        ),
    )
    caller = Caller.current()
    choice = parse_reports((*reports, *(["json=-"] if as_json else [])))
    reporting = Reporting(choice, caller.environment)
    screen = _create_screen(choice, caller, partial(_build_repeat, options), live=not options.argv)
    with (
        interruptible() as interrupt,
        _open_request(options, reporting, caller, interrupt) as (request, user),
    ):
        notify = reporting.create_notifier(screen)
        result = session.execute(request, user, notify=notify, interrupt=interrupt)
    warn_if_unrecorded(result)
    reporting.finish(result, timings=timings)
    ctx.exit(reporting.exit_code(session.determine_exit_code(result)))


def _create_screen(
    choice: ReportChoice, caller: Caller, repeat: Repeat, *, live: bool
) -> Callable[[Event], None]:
    if (choice.screen or agent.select_report(caller.environment)) == "agent":
        return agent.AgentReporter(partial(click.echo, err=choice.stdout_taken, nl=False), repeat)
    return create_progress(repeat, stderr=choice.stdout_taken, live=live)


@contextmanager
def _open_request(
    options: _Options, reporting: Reporting, caller: Caller, interrupt: Interrupt
) -> Iterator[tuple[Request, Caller]]:
    """Yield the request and its caller; a bundle stays unpacked inside the context."""
    if options.bundle is None and options.argv:
        user = without_own_environment(caller)
        with _open_command_request(options, reporting, user, interrupt) as request:
            yield request, user
        return
    if options.bundle is None:
        yield _build_request(options), caller
        return
    if options.argv or options.selects_scenarios or options.command.first_given:
        raise UsageError(
            "--bundle cannot be combined with a selection, --timeout or a command",
            hint="pass only --bundle FILE",
        )
    from isosmoke.repro import bundle_reader

    request = replace(_build_base_request(options), record_in=layout.find_top(caller.working))
    guard = exit_on_signal(interrupt)
    with bundle_reader.opened(options.bundle, caller, request, guard) as opened:
        for note in opened.notes:
            click.echo(escape_controls(f"NOTE {note}"), err=True)
        yield opened.request, opened.caller


def _build_base_request(options: _Options) -> Request:
    """Return the request without scenarios."""
    return Request(
        scenarios=(),
        binary=options.tested.binary,
        engine=options.tested.engine,
        policy=options.policy,
    )


def _build_request(options: _Options) -> Request:
    if given := options.command.first_given:
        key = COMMAND_OPTIONS[given][1]
        raise UsageError(f"{given} requires a command after --", hint=f"set {key} in the manifest")
    manifest, scenarios = select_scenarios(options.selection)
    scenarios, rerun_of = narrow(manifest, scenarios, options.past)
    return replace(
        _build_base_request(options),
        scenarios=scenarios,
        rerun_of=rerun_of,
        manifest=manifest.path,
        retention=manifest.record,
    )


@contextmanager
def _open_command_request(
    options: _Options, reporting: Reporting, caller: Caller, interrupt: Interrupt
) -> Iterator[Request]:
    """Yield the request for a command, which takes over the standard streams in the context."""
    if options.selects_scenarios:
        raise UsageError(
            "a selection of scenarios and a command after -- cannot be combined",
            hint="pass only one of them",
        )
    if options.policy.repeat > 1 or options.policy.retries:
        raise UsageError(
            "a command after -- runs once, because it takes over the input",
            hint="omit --repeat and --retries, or make a scenario of it: isosmoke new",
        )
    from isosmoke.repro import command_streams
    from isosmoke.repro.shell_input import Patience

    scenario = _create_command_scenario(options, caller)
    patience = Patience(interrupt, scenario.timeout_seconds)
    stdout_taken = reporting.choice.stdout_taken
    with command_streams.local_streams(patience, stdout_taken=stdout_taken) as streams:
        yield replace(
            _build_base_request(options),
            scenarios=(scenario,),
            argv=options.argv,
            on_output=reporting.tolerate_errors(streams.show),
            streams=streams,
            keeps_caches=options.command.keep_cache,
        )


def _create_command_scenario(options: _Options, caller: Caller) -> Scenario:
    for name in options.command.pass_env:
        if name not in caller.environment:
            raise UsageError(f"--pass-env {name}: the variable is not set", hint=f"export {name}")
    from isosmoke.repro import target

    try:
        return target.create_scenario(options.argv, keys=options.command.keys)
    except InvalidTableError as error:
        first = error.details[0]
        option, hint = find_option(first["loc"]), str(first.get("ctx", {}).get("hint", ""))
        raise UsageError(f"{option} {first['msg']}", hint=hint) from error


def _build_repeat(options: _Options, name: str) -> tuple[str, ...]:
    if options.bundle:
        return repeat_command.build_run_command("--bundle", str(options.bundle))
    arguments: tuple[str, ...] = (name,)
    if options.argv:
        from isosmoke.repro import target

        scenario = target.create_scenario(options.argv, keys=options.command.keys)
        own = repeat_command.list_command_options(scenario.to_json())
        arguments = (*own, "--", *options.argv)
    return build_repeat_command(options.selection.manifest, options.tested, *arguments)
