"""Say what works here, and what would mend the rest."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click

from isosmoke.cli.json_documents import Written
from isosmoke.cli.options import json_option
from isosmoke.engines import ENGINES
from isosmoke.engines.base import Engine, Facts
from isosmoke.engines.bubblewrap import cgroup
from isosmoke.errors import ExitCode, IsosmokeError
from isosmoke.execution import engine_trials
from isosmoke.host import binary, path_warnings, system_programs
from isosmoke.host.caller_process import Caller
from isosmoke.host.state import state_folder
from isosmoke.host.workspace_directories import git_top
from isosmoke.keeper import KEEPER_FILE
from isosmoke.results import run_record
from isosmoke.results.run_record import RecordModel, Text
from isosmoke.runner import bash_finder
from isosmoke.sandbox.spec import HOST_IMAGE


class Finding(RecordModel):
    """One thing that was looked at; `hint` is what would mend it."""

    subject: str
    good: bool
    words: Text
    hint: Text = ""


class Lacking(RecordModel):
    """What scenarios do not get from an engine, and what would mend it."""

    words: Text
    hint: Text


class EngineFinding(RecordModel):
    """One engine: what it is, and what held when it was tried; null is not known.

    `where` is its socket or program, `reason` why that one, `cgroup` the version of control groups
    by which it limits. `memory_limit`, `processes_limit` and `host_network` were tried.
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


class Document(RecordModel):
    """What `isosmoke doctor --json` prints."""

    schema_version: Literal[1] = 1
    engines: tuple[EngineFinding, ...]
    findings: tuple[Finding, ...]


DOCUMENTS = {
    "doctor": Written("doctor --json", Document),
}
"""The kinds of JSON documents that this command is about."""


@click.command()
@json_option
@click.pass_context
def command(ctx: click.Context, *, as_json: bool) -> None:
    """Try every engine, and look at what scenarios need; exit 0 when some engine works."""
    with ThreadPoolExecutor(len(ENGINES)) as pool:
        engines = tuple(pool.map(looked_at, ENGINES, ENGINES.values()))
    document = Document(engines=engines, findings=tuple(_surroundings()))
    if as_json:
        click.echo(run_record.render(document), nl=False)
    else:
        _print(document)
    works = any(one.works for one in engines)
    ctx.exit(ExitCode.OK if works else ExitCode.INFRASTRUCTURE)


def looked_at(name: str, make: Callable[[], Engine]) -> EngineFinding:
    """What is found of the engine that `make` makes."""
    try:
        engine = make()
        engine.preflight()
        facts = engine.facts()
    except IsosmokeError as error:
        return EngineFinding(name=name, works=False, words=error.message, hint=error.hint)
    return _tried(name, engine, facts)


def _tried(name: str, engine: Engine, facts: Facts) -> EngineFinding:
    try:
        tried = engine_trials.probe_engine(engine, Caller.here())
    except IsosmokeError as error:
        words = f"{engine.description}: {error.message}"
        return EngineFinding(name=name, works=False, words=words, hint=error.hint, **asdict(facts))
    return EngineFinding(
        name=name,
        works=True,
        words=engine.description,
        **asdict(facts),
        **asdict(tried),
        lacks=tuple(Lacking(**asdict(one)) for one in engine_trials.missing_features(facts, tried)),
    )


def _surroundings() -> Iterator[Finding]:
    yield _binary()
    built = KEEPER_FILE.is_file()
    hint = "" if built else "install isosmoke again"
    yield Finding(subject="keeper", good=built, words=str(KEEPER_FILE), hint=hint)
    limits = ", ".join(cgroup.parents()) or "none; RLIMIT_NPROC limits processes of ordinary users"
    yield Finding(subject="control groups", good=True, words=limits)
    yield _interpreter()
    yield from _path()
    yield Finding(subject="state", good=True, words=str(state_folder()))


def _interpreter() -> Finding:
    try:
        found = bash_finder.find(HOST_IMAGE, Path("/"))
    except IsosmokeError as error:
        return Finding(subject="interpreter", good=False, words=error.message, hint=error.hint)
    return Finding(subject="interpreter", good=True, words=f"{found.path} {found.sha256[:12]}")


def _path() -> Iterator[Finding]:
    caller = Caller.here()
    top = git_top(caller.working) or caller.working
    path = caller.environment.get("PATH", "")
    entries = system_programs.entries(path, caller.working, [top])
    found = path_warnings.warnings(entries)
    for words in found:
        hint = "scripts run what comes first on PATH: put the system's directories before it"
        yield Finding(subject="PATH", good=False, words=words, hint=hint)
    if not found:
        yield Finding(subject="PATH", good=True, words="the system's own programs come first")


def _binary() -> Finding:
    try:
        found = binary.find(None, Caller.here().environment)
    except IsosmokeError as error:
        return Finding(subject="binary", good=False, words=error.message, hint=error.hint)
    if found is None:
        hint = "put it on PATH, set ISOSMOKE_WG, or pass --binary"
        return Finding(subject="binary", good=False, words="no wg found", hint=hint)
    return Finding(subject="binary", good=True, words=str(found))


def _print(document: Document) -> None:
    for one in document.engines:
        _tell(one.name, one.words, one.hint, good=one.works)
        if one.works:
            click.echo(f"{'':20}{_details(one)}")
        for lack in one.lacks:
            click.echo(f"{'':20}lacks: {lack.words}")
            click.echo(f"{'':20}try: {lack.hint}")
    for finding in document.findings:
        _tell(finding.subject, finding.words, finding.hint, good=finding.good)


def _tell(subject: str, words: str, hint: str, *, good: bool) -> None:
    click.echo(f"{'ok ' if good else 'NO '} {subject:<15} {words}")
    if hint:
        click.echo(f"{'':20}try: {hint}")


def _details(one: EngineFinding) -> str:
    limits = {"memory": one.memory_limit, "processes": one.processes_limit}
    held = [name for name, holds in limits.items() if holds]
    groups = f"control groups {one.cgroup}" if one.cgroup else "no control groups"
    return ", ".join(
        (
            f"version {one.version}",
            "rootless" if one.rootless else "as root",
            groups,
            f"limits of {' and '.join(held)} hold" if held else "no limits hold",
            "the host's own network" if one.host_network else "another network",
        )
    )
