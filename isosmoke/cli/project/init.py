"""Set up a repository with a manifest, a first scenario and rules for coding agents."""

import os
from pathlib import Path

import click

from isosmoke.authoring import setup
from isosmoke.errors import UsageError
from isosmoke.hooks import installation, trust
from isosmoke.host.workspace_directories import git_top


@click.command()
@click.option(
    "--hooks", is_flag=True, help="Also add the hooks of Claude Code and git that ask the gate."
)
def command(*, hooks: bool) -> None:
    """Create or adopt a manifest, and add the rules for agents to CLAUDE.md and AGENTS.md.

    The rules are also a skill, `.agents/skills/isosmoke/SKILL.md` (and the same in `.claude`, if
    the project uses Claude Code). Existing files are extended, never replaced. A second run changes
    nothing.
    """
    top = git_top(Path.cwd())
    if top is None:
        raise UsageError(f"{Path.cwd()} is not in a git repository", "create one with `git init`")
    steps = setup.plan(top) + (installation.plan(top, os.environ) if hooks else ())
    setup.carry_out(steps)
    for step in steps:
        click.echo(f"{os.path.relpath(step.path, top)}: {step.description}")
    if hooks and not trust.is_trusted_directory(top, os.environ):
        click.echo("the hooks block until you trust this repository: isosmoke trust")
