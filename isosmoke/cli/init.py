"""`isosmoke init`: set a repository up, as often as one likes."""

from pathlib import Path

import click

from isosmoke import adoption
from isosmoke.errors import UsageError
from isosmoke.workspace import git_top


@click.command()
def command() -> None:
    """Make or adopt a manifest, and put the agents' rule into CLAUDE.md and AGENTS.md.

    What is there is extended, never replaced; run again, it changes nothing.
    """
    top = git_top(Path.cwd())
    if top is None:
        raise UsageError(f"{Path.cwd()} is in no git repository", "make one with `git init`")
    steps = adoption.plan(top)
    adoption.carry_out(steps)
    for step in steps:
        click.echo(f"{step.path.relative_to(top)}: {step.words}")
