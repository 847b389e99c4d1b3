"""Print the rules for coding agents, for use in prompt templates."""

import click

from isosmoke.authoring import agent_rules


@click.command()
def command() -> None:
    """Print the rules that a coding agent must follow before it may finish a task."""
    click.echo(agent_rules.read_rules(), nl=False)
