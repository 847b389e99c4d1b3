"""Set a repository up: a manifest, a first scenario, the agents' rule."""

from pathlib import Path

import click

from isosmoke.authoring import setup
from isosmoke.errors import UsageError
from isosmoke.host.workspace_directories import git_top


@click.command()
def command() -> None:
    """Make or adopt a manifest, and put the agents' rule into CLAUDE.md and AGENTS.md.

    What is there is extended, never replaced; run again, it changes nothing.
    """
    top = git_top(Path.cwd())
    if top is None:
        raise UsageError(f"{Path.cwd()} is in no git repository", "make one with `git init`")
    steps = setup.plan(top)
    setup.carry_out(steps)
    for step in steps:
        click.echo(f"{step.path.relative_to(top)}: {step.words}")
