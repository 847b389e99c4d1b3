"""`isosmoke doctor`: what works here, what does not, and what would mend it."""

from collections.abc import Iterator
from typing import Literal

import click

from isosmoke import binary, record
from isosmoke.caller import Caller
from isosmoke.engines import ENGINES, cgroup
from isosmoke.errors import ExitCode, IsosmokeError
from isosmoke.keeper import KEEPER_FILE
from isosmoke.record import Table, Text
from isosmoke.state import state_folder


class Finding(Table):
    """One thing that was looked at; `hint` is what would mend it."""

    subject: str
    good: bool
    words: Text
    hint: Text = ""


class Document(Table):
    """What `isosmoke doctor --json` prints."""

    schema_version: Literal[1] = 1
    findings: tuple[Finding, ...]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_context
def command(ctx: click.Context, *, as_json: bool) -> None:
    """Look at every engine and at what scenarios need; exit 0 when some engine works."""
    engines = [_engine(name) for name in ENGINES]
    findings = [*engines, *_surroundings()]
    if as_json:
        click.echo(record.render(Document(findings=tuple(findings))), nl=False)
    else:
        _print(findings)
    works = any(one.good for one in engines)
    ctx.exit(ExitCode.OK if works else ExitCode.INFRASTRUCTURE)


def _engine(name: str) -> Finding:
    try:
        engine = ENGINES[name]()
        engine.preflight()
    except IsosmokeError as error:
        return Finding(subject=name, good=False, words=error.message, hint=error.hint)
    return Finding(subject=name, good=True, words=engine.description)


def _surroundings() -> Iterator[Finding]:
    yield _binary()
    built = KEEPER_FILE.is_file()
    hint = "" if built else "install isosmoke again"
    yield Finding(subject="keeper", good=built, words=str(KEEPER_FILE), hint=hint)
    limits = ", ".join(cgroup.parents()) or "none; RLIMIT_NPROC limits processes of ordinary users"
    yield Finding(subject="control groups", good=True, words=limits)
    yield Finding(subject="state", good=True, words=str(state_folder()))


def _binary() -> Finding:
    try:
        found = binary.find(None, Caller.here().environment)
    except IsosmokeError as error:
        return Finding(subject="binary", good=False, words=error.message, hint=error.hint)
    if found is None:
        hint = "put it on PATH, set ISOSMOKE_WG, or pass --binary"
        return Finding(subject="binary", good=False, words="no wg found", hint=hint)
    return Finding(subject="binary", good=True, words=str(found))


def _print(findings: list[Finding]) -> None:
    for one in findings:
        click.echo(f"{'ok ' if one.good else 'NO '} {one.subject:<15} {one.words}")
        if one.hint:
            click.echo(f"{'':20}try: {one.hint}")
