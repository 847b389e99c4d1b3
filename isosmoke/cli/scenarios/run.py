"""Run scenarios, or any command as one."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from isosmoke.cli import past
from isosmoke.cli.console import Printer
from isosmoke.cli.documents import Written
from isosmoke.cli.options import manifest_options, selected, warn
from isosmoke.cli.past import narrowed, past_options
from isosmoke.cli.reporting import Chosen, Reporting, chosen, report_option
from isosmoke.cli.running import WithCommand, binary_option, engine_option, repeating
from isosmoke.errors import UsageError
from isosmoke.execution import session
from isosmoke.execution.scheduler import Policy, jobs_of_a_run
from isosmoke.execution.session import Request
from isosmoke.history import layout
from isosmoke.host.caller import Caller
from isosmoke.interrupt import interruptible
from isosmoke.reports import agent
from isosmoke.reports.progress import Progress
from isosmoke.repro import bundle, target
from isosmoke.repro.terminal import write
from isosmoke.results.events import Event
from isosmoke.results.record import RunRecord
from isosmoke.text import printable

_CHOOSING = ("names", "owners", "manifest_path", "meaning", *past.OPTIONS)
"""The options that choose among the scenarios of a manifest."""

DOCUMENTS = {
    "record": Written("run --json, show --json, --report json", RunRecord),
}
"""The kinds of JSON documents that this command is about."""


@click.command(cls=WithCommand, options_metavar="[OPTIONS]")
@manifest_options
@past_options
@binary_option
@engine_option
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), help="How many at once; by default one a core."
)
@click.option(
    "--leaks", type=click.Choice(["fail", "report"]), help="Over what the manifest says of leaks."
)
@click.option(
    "--evidence",
    type=click.Choice(["failed", "always", "never"]),
    default="failed",
    help="Of which attempts to keep what they wrote and showed.",
)
@click.option("--fail-fast/--keep-going", help="Start nothing more once a scenario failed.")
@click.option("--timeout", type=click.IntRange(min=1), help="Seconds for a command after --.")
@report_option
@click.option(
    "--bundle",
    "bundled",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The scenario of a file that isosmoke bundle wrote.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Run scenarios by name or glob (none: all), or with `-- COMMAND...` any command as one.

    Each runs in a fresh sandbox. A process that outlives its scenario makes it fail.
    """
    caller = Caller.here()
    wanted = chosen((*options["reports"], *(["json=-"] if options["as_json"] else [])))
    reporting = Reporting(wanted, caller.environment)
    screen = _screen(wanted, caller, partial(_repeat, ctx.obj, options), live=not ctx.obj)
    with (
        interruptible() as interrupt,
        _asked(ctx.obj, options, reporting, caller) as (request, user),
    ):
        result = session.execute(
            request, user, notify=reporting.beside(screen), interrupt=interrupt
        )
    warn(result)
    reporting.finish(result)
    ctx.exit(reporting.exit_code(session.exit_code(result)))


def _screen(
    wanted: Chosen, caller: Caller, repeat: agent.Repeat, *, live: bool
) -> Callable[[Event], None]:
    if (wanted.screen or agent.preferred(caller.environment)) == "agent":
        return agent.Terse(partial(click.echo, err=wanted.stdout_taken, nl=False), repeat)
    console = Printer(stderr=wanted.stdout_taken)
    return Progress(console, live=live and console.is_live, repeat=repeat)


@contextmanager
def _asked(
    argv: tuple[str, ...], options: dict[str, Any], reporting: Reporting, caller: Caller
) -> Iterator[tuple[Request, Caller]]:
    """What to run, and where its caller stands; a bundle is unpacked for as long as it is run."""
    if options["bundled"] is None:
        yield _request(argv, options, reporting), caller
        return
    if argv or any(options[name] for name in (*_CHOOSING, "timeout")):
        raise UsageError("--bundle has its own scenario, as it was: choose no other")
    request = Request(
        scenarios=(),
        binary=options["binary"],
        engine=options["engine"],
        policy=_policy(options),
        record_in=layout.top(caller.working),
    )
    with bundle.opened(options["bundled"], caller, request) as opened:
        for note in opened.notes:
            click.echo(printable(f"NOTE {note}"), err=True)
        yield opened.request, opened.caller


def _request(argv: tuple[str, ...], options: dict[str, Any], reporting: Reporting) -> Request:
    policy = _policy(options)
    if argv:
        output = sys.stderr if reporting.chosen.stdout_taken else sys.stdout
        echo = reporting.borne(partial(write, output.fileno()))
        return _command_request(argv, options, policy, echo)
    if options["timeout"]:
        raise UsageError("--timeout is for a command", hint="set timeout_seconds in the manifest")
    manifest, scenarios = selected(
        options["names"], options["owners"], options["manifest_path"], options["meaning"]
    )
    scenarios, rerun_of = narrowed(manifest, scenarios, options)
    return Request(
        scenarios=scenarios,
        rerun_of=rerun_of,
        manifest=manifest.path,
        retention=manifest.record,
        binary=options["binary"],
        engine=options["engine"],
        policy=policy,
    )


def _policy(options: dict[str, Any]) -> Policy:
    leaks: Literal["fail", "report"] | None = options["leaks"]
    evidence: Literal["failed", "always", "never"] = options["evidence"]
    jobs = options["jobs"] or jobs_of_a_run()
    return Policy(jobs=jobs, fail_fast=options["fail_fast"], leaks=leaks, evidence=evidence)


def _command_request(
    argv: tuple[str, ...], options: dict[str, Any], policy: Policy, echo: Any
) -> Request:
    if any(options[name] for name in _CHOOSING):
        raise UsageError("a command after -- runs without a manifest: give one or the other")
    return Request(
        scenarios=(target.loose(argv, timeout=options["timeout"] or target.LOOSE_SECONDS),),
        binary=options["binary"],
        engine=options["engine"],
        policy=policy,
        argv=argv,
        echo=echo,
    )


def _repeat(argv: tuple[str, ...], options: dict[str, Any], name: str) -> tuple[str, ...]:
    if options["bundled"]:
        return ("isosmoke", "run", "--bundle", str(options["bundled"]))
    return repeating(options, "--", *argv) if argv else repeating(options, name)
