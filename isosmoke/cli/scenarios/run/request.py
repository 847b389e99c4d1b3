"""The request that the options of `isosmoke run` stand for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from isosmoke.cli.options import (
    ScenarioSelection,
    ShardOptions,
    select_scenarios,
)
from isosmoke.cli.reporting import (
    Reporting,
)
from isosmoke.cli.rerun_options import PastSelection, narrow
from isosmoke.cli.running import (
    COMMAND_OPTIONS,
    CommandOptions,
    EngineOptions,
    build_repeat_command,
    create_command_scenario,
    show_notes,
)
from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.execution.request import Request
from isosmoke.execution.scheduler import Policy
from isosmoke.history import layout
from isosmoke.host.caller_process import Caller, without_own_environment
from isosmoke.interrupt import Interrupt, exit_on_signal
from isosmoke.manifest.models import Manifest
from isosmoke.results import repeat_command


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The request: scenarios of a manifest, the command `argv`, or the scenario of a bundle."""

    selection: ScenarioSelection
    past: PastSelection
    sharding: ShardOptions
    argv: tuple[str, ...]
    command: CommandOptions
    bundle: Path | None
    tested: EngineOptions
    policy: Policy

    @property
    def selects_scenarios(self) -> bool:
        """True if an option selects among the scenarios of a manifest."""
        is_sharded = self.sharding.shard is not None
        return self.selection != ScenarioSelection() or self.past.is_given or is_sharded


@contextmanager
def open_request(
    options: RunOptions, reporting: Reporting, caller: Caller, interrupt: Interrupt
) -> Iterator[tuple[Request, Caller]]:
    """Yield the request and its caller; a bundle stays unpacked inside the context."""
    if options.bundle is None and options.argv:
        user = without_own_environment(caller)
        with _open_command_request(options, reporting, user, interrupt) as request:
            yield request, user
        return
    if options.bundle is None:
        yield _build_request(options, caller), caller
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
        show_notes(opened.notes)
        yield opened.request, opened.caller


def _build_base_request(options: RunOptions) -> Request:
    """Return the request without scenarios."""
    return Request(
        scenarios=(),
        binary=options.tested.binary,
        engine=options.tested.engine,
        policy=options.policy,
        recalls=True,
    )


def _build_request(options: RunOptions, caller: Caller) -> Request:
    if given := options.command.first_given:
        key = COMMAND_OPTIONS[given][1]
        raise UsageError(f"{given} requires a command after --", hint=f"set {key} in the manifest")
    if options.sharding.shard and options.past.is_given:
        raise UsageError(
            "--shard cannot be combined with --last-failed or --rerun: each machine has other runs",
            hint="select by name, by owner or with -E",
        )
    manifest, scenarios = select_scenarios(options.selection)
    scenarios, rerun_of = narrow(manifest, scenarios, options.past)
    request = replace(
        _build_base_request(options),
        scenarios=scenarios,
        rerun_of=rerun_of,
        manifest=manifest.path,
        retention=manifest.record,
    )
    return _limit_to_shard(request, options, manifest, caller)


def _limit_to_shard(
    request: Request, options: RunOptions, manifest: Manifest, caller: Caller
) -> Request:
    sharding = options.sharding
    if sharding.shard is None:
        return request
    from isosmoke.shards import durations, plan

    seconds = None if sharding.durations is None else durations.load(sharding.durations)
    division = plan.Division(shard=sharding.shard, seconds=seconds)
    return plan.limit_request(request, division, manifest, caller)


@contextmanager
def _open_command_request(
    options: RunOptions, reporting: Reporting, caller: Caller, interrupt: Interrupt
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
    from isosmoke.repro.shell_user import Patience

    scenario = create_command_scenario(options.argv, options.command, caller)
    patience = Patience(interrupt, scenario.timeout_seconds)
    stdout_taken = reporting.choice.stdout_taken
    with command_streams.local_streams(
        patience, stdout_taken=stdout_taken, unread=reporting.unread
    ) as streams:
        yield replace(
            _build_base_request(options),
            scenarios=(scenario,),
            argv=options.argv,
            on_output=reporting.tolerate_errors(streams.show),
            streams=streams,
            keeps_caches=options.command.keep_cache,
        )


def build_repeat(options: RunOptions, name: str) -> tuple[str, ...]:
    """Return the command line that repeats a scenario of the run."""
    if options.bundle:
        return repeat_command.build_run_command("--bundle", str(options.bundle))
    arguments: tuple[str, ...] = (name,)
    if options.argv:
        from isosmoke.repro import target

        scenario = target.create_scenario(options.argv, keys=options.command.keys)
        own = repeat_command.list_command_options(scenario.to_json())
        arguments = (*own, "--", *options.argv)
    return build_repeat_command(options.selection.manifest_path, options.tested, *arguments)
