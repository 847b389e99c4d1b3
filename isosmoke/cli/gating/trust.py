"""Let hooks run the scenarios of this repository."""

from pathlib import Path

import click

from isosmoke.errors import UsageError
from isosmoke.gate import decision
from isosmoke.hooks import trust
from isosmoke.host.caller_process import Caller
from isosmoke.text import escape_controls


@click.command()
@click.option("--list", "show", is_flag=True, help="List the trusted repositories.")
@click.option("--revoke", is_flag=True, help="Do not trust this repository any more.")
def command(*, show: bool, revoke: bool) -> None:
    """Trust the repository of the working directory: hooks may run its scenarios from now on.

    It is known by its path and its first commit, which its work trees share. New scenarios and
    commits change nothing. Another repository at the same path is not trusted.
    """
    if show:
        for repository in trust.list_all():
            click.echo(escape_controls(f"{repository.root[:12]} {repository.path}"))
        return
    caller = Caller.current()
    repository = trust.identify(Path.cwd(), caller.environment)
    if revoke:
        was_trusted = trust.remove(repository)
        click.echo(f"{repository.path}: {'no longer' if was_trusted else 'was not'} trusted")
        return
    if not decision.parse_bypass_request(caller.environment).is_granted:
        raise UsageError(
            "an agent (WG_AGENT_ID) cannot trust a repository",
            hint="ask the user to run `isosmoke trust` in it",
        )
    trust.add(repository)
    click.echo(escape_controls(f"{repository.path}: trusted (root commit {repository.root[:12]})"))
