"""Set up a repository with a manifest, a first scenario and rules for coding agents."""

from pathlib import Path

import click

from isosmoke.authoring import setup
from isosmoke.errors import UsageError
from isosmoke.host.workspace_directories import git_top


@click.command()
def command() -> None:
    """Create or adopt a manifest, and add the rules for agents to CLAUDE.md and AGENTS.md.

    Existing files are extended, never replaced. A second run changes nothing.
    """
    top = git_top(Path.cwd())
    if top is None:
        raise UsageError(f"{Path.cwd()} is not in a git repository", "create one with `git init`")
    steps = setup.plan(top)
    setup.carry_out(steps)
    for step in steps:
        click.echo(f"{step.path.relative_to(top)}: {step.description}")
