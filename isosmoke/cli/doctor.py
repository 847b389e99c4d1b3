"""`isosmoke doctor`: what works here, what does not, and what would mend it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import click

from isosmoke import binary
from isosmoke.caller import Caller
from isosmoke.engines import ENGINES, cgroup
from isosmoke.errors import ExitCode, IsosmokeError
from isosmoke.keeper import KEEPER_FILE
from isosmoke.state import state_folder


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `hint` is what would mend it."""

    subject: str
    good: bool
    words: str
    hint: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_context
def command(ctx: click.Context, *, as_json: bool) -> None:
    """Look at every engine and at what scenarios need; exit 0 when some engine works."""
    engines = [_engine(name) for name in ENGINES]
    findings = [*engines, *_surroundings()]
    if as_json:
        rows = [asdict(one) for one in findings]
        click.echo(json.dumps({"schema_version": 1, "findings": rows}, indent=2))
    else:
        _print(findings)
    works = any(one.good for one in engines)
    ctx.exit(ExitCode.OK if works else ExitCode.INFRASTRUCTURE)


def _engine(name: str) -> Finding:
    try:
        engine = ENGINES[name]()
        engine.preflight()
    except IsosmokeError as error:
        return Finding(name, good=False, words=error.message, hint=error.hint)
    return Finding(name, good=True, words=engine.description)


def _surroundings() -> Iterator[Finding]:
    yield _binary()
    built = KEEPER_FILE.is_file()
    hint = "" if built else "install isosmoke again"
    yield Finding("keeper", built, str(KEEPER_FILE), hint)
    limits = ", ".join(cgroup.parents()) or "none; RLIMIT_NPROC limits processes of ordinary users"
    yield Finding("control groups", good=True, words=limits)
    yield Finding("state", good=True, words=str(state_folder()))


def _binary() -> Finding:
    try:
        found = binary.find(None, Caller.here().environment)
    except IsosmokeError as error:
        return Finding("binary", good=False, words=error.message, hint=error.hint)
    if found is None:
        hint = "put it on PATH, set ISOSMOKE_WG, or pass --binary"
        return Finding("binary", good=False, words="no wg found", hint=hint)
    return Finding("binary", good=True, words=str(found))


def _print(findings: list[Finding]) -> None:
    for one in findings:
        click.echo(f"{'ok ' if one.good else 'NO '} {one.subject:<15} {one.words}")
        if one.hint:
            click.echo(f"{'':20}try: {one.hint}")
