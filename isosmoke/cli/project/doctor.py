"""Check which engines work here and what scenarios need."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import click
from pydantic import ConfigDict

from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import json_option
from isosmoke.engines import ENGINES
from isosmoke.engines.base import Engine, EngineInfo
from isosmoke.engines.bubblewrap import apparmor as profiles
from isosmoke.engines.bubblewrap import bwrap_program, group_places
from isosmoke.errors import ExitCode, IsosmokeError, suggest_remedy
from isosmoke.execution.trials import engine_trials
from isosmoke.host import binary, path_warnings, state, system_programs
from isosmoke.host.caller_process import Caller
from isosmoke.host.learned import store
from isosmoke.host.workspace_directories import git_top
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import KEEPER_FILE
from isosmoke.results.records.document_base import RecordModel, Text
from isosmoke.results.records.record_base import render_json
from isosmoke.runner import bash_finder
from isosmoke.sandbox.spec import HOST_IMAGE
from isosmoke.text import escape_controls
from isosmoke.wg_bridge import command_shim

_COMPARED = ("system", "engine", "python")
"""The facts in which the workers of a place should not differ."""

_PROBE_BYTES = 64 * 1024
"""The size of a file that is written to see whether the state directory has space."""


class HostFinding(RecordModel):
    """The result of one check of the host; `hint` is the fix."""

    model_config = ConfigDict(title="Finding")

    subject: str
    good: bool
    words: Text
    hint: Text = ""


class Lacking(RecordModel):
    """A feature that an engine does not provide, and the fix."""

    words: Text
    hint: Text


class EngineFinding(RecordModel):
    """Facts about an engine and the results of trying it; null means unknown.

    `where` is its socket or program, `reason` the reason for that choice, and `cgroup` the version
    of control groups that it limits with. `memory_limit`, `processes_limit` and `host_network` are
    results of trials.
    """

    name: str
    works: bool
    words: Text
    hint: Text = ""
    version: Text | None = None
    where: Text | None = None
    reason: Text | None = None
    rootless: bool | None = None
    cgroup: int | None = None
    memory_limit: bool | None = None
    processes_limit: bool | None = None
    host_network: bool | None = None
    lacks: tuple[Lacking, ...] = ()


class DoctorDocument(RecordModel):
    """The output of `isosmoke doctor --json`."""

    schema_version: Literal[1] = 1
    engines: tuple[EngineFinding, ...]
    findings: tuple[HostFinding, ...]


class WorkerFinding(RecordModel):
    """Facts about a worker of a place; `works` is false if its engine cannot create sandboxes.

    `certificate` is the SHA-256 of its certificate.
    """

    address: str
    works: bool
    host: Text
    pid: int
    slots: int
    engine: Text
    system: Text
    isosmoke: str
    python: str
    cache: Text
    certificate: str = ""


class PlaceDocument(RecordModel):
    """The output of `isosmoke doctor --place PLACE --json`.

    `differences` names each fact in which hosts differ, with its values. `notes` name the workers
    that receive no orders.
    """

    schema_version: Literal[1] = 1
    place: Text
    workers: tuple[WorkerFinding, ...]
    differences: Mapping[str, tuple[Text, ...]]
    notes: tuple[Text, ...]


DOCUMENTS = {
    "doctor": DocumentKind("doctor --json", DoctorDocument),
    "place": DocumentKind("doctor --place PLACE --json", PlaceDocument),
}
"""The kinds of JSON documents that this command reads or writes."""


@click.command()
@click.option(
    "--apparmor",
    is_flag=True,
    help="Print an AppArmor profile that lets this machine's bwrap create sandboxes.",
)
@click.option("--place", metavar="PLACE", help="Show the workers of a cluster instead.")
@json_option
@click.pass_context
def command(ctx: click.Context, *, apparmor: bool, place: str | None, as_json: bool) -> None:
    """Try every engine and check what scenarios need; exit 0 if at least one engine works."""
    if apparmor:
        _print_profile(bwrap_program.find_installed())
        return
    if place is not None:
        found = _inspect_place(place)
        click.echo(render_json(found) if as_json else _format_place(found), nl=False)
        has_worker = any(worker.works for worker in found.workers)
        ctx.exit(ExitCode.OK if has_worker else ExitCode.INFRASTRUCTURE)
    store.forget()
    with ThreadPoolExecutor(len(ENGINES)) as pool:
        engines = tuple(pool.map(check_engine, ENGINES, ENGINES.values()))
    document = DoctorDocument(engines=engines, findings=tuple(_check_host()))
    if as_json:
        click.echo(render_json(document), nl=False)
    else:
        _print(document)
    has_engine = any(engine.works for engine in engines)
    ctx.exit(ExitCode.OK if has_engine else ExitCode.INFRASTRUCTURE)


def _inspect_place(name: str) -> PlaceDocument:
    """Return the workers of a place.

    Raises:
        IsosmokeError: if it cannot be reached, or no worker fits.
    """
    from isosmoke.cluster import opened_place

    with opened_place(name, Interrupt(), show=lambda _: None) as place:
        facts = {} if place is None else place.describe()
        notes = () if place is None else tuple(place.notes)
    workers = tuple(WorkerFinding(address=address, **facts[address]) for address in sorted(facts))
    values = {key: sorted({str(getattr(item, key)) for item in workers}) for key in _COMPARED}
    differences = {key: tuple(found) for key, found in values.items() if len(found) > 1}
    return PlaceDocument(place=name, workers=workers, differences=differences, notes=notes)


def _format_place(document: PlaceDocument) -> str:
    rows = (
        f"{'ok ' if worker.works else 'NO '} {worker.address}  {worker.host} pid {worker.pid}, "
        f"{worker.slots} slots, {worker.engine}, isosmoke {worker.isosmoke}, Python "
        f"{worker.python}, {worker.system}, certificate {worker.certificate}"
        for worker in document.workers
    )
    differences = (
        f"the workers differ in {key}: {' | '.join(values)}"
        for key, values in document.differences.items()
    )
    lines = (*rows, *differences, *document.notes)
    return "".join(f"{escape_controls(line)}\n" for line in lines)


def _print_profile(program: Path) -> None:
    """Print the profile on stdout, and on stderr the commands that install and load it."""
    profiles.require_no_profile(program, profiles.DIRECTORY)
    file = profiles.DIRECTORY / profiles.NAME
    click.echo(profiles.build_profile(program), nl=False)
    click.echo(
        f"isosmoke: this profile is only for {program}; install it and load it with\n"
        f"  isosmoke doctor --apparmor | sudo tee {file}\n"
        f"  sudo apparmor_parser -r {file}",
        err=True,
    )


def check_engine(name: str, create: Callable[[], Engine]) -> EngineFinding:
    """Try the engine that `create` returns and report the result."""
    try:
        engine = create()
        engine.preflight()
        facts = engine.facts()
    except IsosmokeError as error:
        return EngineFinding(name=name, works=False, words=error.message, hint=error.hint)
    return _try_engine(name, engine, facts)


def _try_engine(name: str, engine: Engine, facts: EngineInfo) -> EngineFinding:
    try:
        trials = engine_trials.probe_engine(engine, Caller.current())
    except IsosmokeError as error:
        message = f"{engine.description}: {error.message}"
        return EngineFinding(
            name=name, works=False, words=message, hint=error.hint, **_select_facts(facts)
        )
    return EngineFinding(
        name=name,
        works=True,
        words=engine.description,
        **_select_facts(facts),
        **asdict(trials),
        lacks=tuple(
            Lacking(**asdict(feature))
            for feature in engine_trials.find_missing_features(facts, trials)
        ),
    )


def _select_facts(facts: EngineInfo) -> dict[str, Any]:
    """Return the fields of a finding; trials say more about limits than an engine does."""
    return {name: value for name, value in asdict(facts).items() if name != "unlimited"}


def _check_host() -> Iterator[HostFinding]:
    yield _check_binary()
    has_keeper = KEEPER_FILE.is_file()
    hint = "" if has_keeper else "reinstall isosmoke"
    yield HostFinding(subject="keeper", good=has_keeper, words=str(KEEPER_FILE), hint=hint)
    yield _check_groups()
    yield _check_interpreter()
    yield from _check_path()
    yield _check_shim()
    yield check_state()


def _check_groups() -> HostFinding:
    parents = group_places.find_parents()
    if parents:
        places = ", ".join(dict.fromkeys(map(str, parents.values())))
        return HostFinding(
            subject="control groups", good=True, words=f"{', '.join(parents)}, in {places}"
        )
    words = "none; RLIMIT_NPROC limits processes of ordinary users"
    return HostFinding(subject="control groups", good=True, words=words)


def check_state() -> HostFinding:
    """Return whether the state directory can be written; a disk may be full, or read-only."""
    directory = str(state.get_state_directory())
    try:
        with state.scratch() as scratch:
            (scratch / "probe").write_bytes(bytes(_PROBE_BYTES))
    except IsosmokeError as error:
        return HostFinding(subject="state", good=False, words=error.message, hint=error.hint)
    except OSError as error:
        words = f"{directory} cannot be written: {error.strerror}"
        hint = suggest_remedy(error, f"{directory}/scratch")
        return HostFinding(subject="state", good=False, words=words, hint=hint)
    return HostFinding(subject="state", good=True, words=directory)


def _check_shim() -> HostFinding:
    found = command_shim.inspect(Caller.current().environment)
    if not found.shims:
        words = "not installed: a bare `wg done` asks only the gate of wg, if it has one"
        return HostFinding(subject="shim", good=True, words=words)
    words = found.problem or f"{found.shims[0]} gates `wg done` in front of {found.wg}"
    return HostFinding(subject="shim", good=not found.problem, words=words, hint=found.hint)


def _check_interpreter() -> HostFinding:
    try:
        bash = bash_finder.find(HOST_IMAGE, Path("/"))
    except IsosmokeError as error:
        return HostFinding(subject="interpreter", good=False, words=error.message, hint=error.hint)
    return HostFinding(subject="interpreter", good=True, words=f"{bash.path} {bash.sha256[:12]}")


def _check_path() -> Iterator[HostFinding]:
    caller = Caller.current()
    top = git_top(caller.working) or caller.working
    path = caller.environment.get("PATH", "")
    entries = system_programs.read_entries(path, caller.working, [top])
    warnings = path_warnings.find_warnings(entries)
    hint = "put the system's directories first on PATH: scripts run the first match"
    for warning in warnings:
        yield HostFinding(subject="PATH", good=False, words=warning, hint=hint)
    if not warnings:
        yield HostFinding(subject="PATH", good=True, words="system programs come first")


def _check_binary() -> HostFinding:
    try:
        path = binary.find(None, Caller.current().environment)
    except IsosmokeError as error:
        return HostFinding(subject="binary", good=False, words=error.message, hint=error.hint)
    if path is None:
        words, hint = f"{binary.COMMAND_NAME} not found", binary.HOW_TO_NAME
        return HostFinding(subject="binary", good=False, words=words, hint=hint)
    return HostFinding(subject="binary", good=True, words=str(path))


def _print(document: DoctorDocument) -> None:
    for engine in document.engines:
        _print_result(engine.name, engine.words, engine.hint, good=engine.works)
        if engine.works:
            click.echo(f"{'':20}{_describe(engine)}")
        for feature in engine.lacks:
            click.echo(f"{'':20}lacks: {feature.words}")
            click.echo(f"{'':20}try: {feature.hint}")
    for finding in document.findings:
        _print_result(finding.subject, finding.words, finding.hint, good=finding.good)


def _print_result(subject: str, text: str, hint: str, *, good: bool) -> None:
    click.echo(f"{'ok ' if good else 'NO '} {subject:<15} {text}")
    if hint:
        click.echo(f"{'':20}try: {hint}")


def _describe(engine: EngineFinding) -> str:
    limits = {"memory": engine.memory_limit, "processes": engine.processes_limit}
    enforced = " and ".join(name for name, holds in limits.items() if holds)
    return ", ".join(
        (
            f"version {engine.version}",
            "rootless" if engine.rootless else "as root",
            f"control groups {engine.cgroup}" if engine.cgroup else "no control groups",
            f"enforces limits of {enforced}" if enforced else "enforces no limits",
            "host network" if engine.host_network else "separate network",
        )
    )
