"""Print the rule for agents, for prompt templates."""

import click

from isosmoke.authoring import agent_rules


@click.command()
def command() -> None:
    """Print what an agent must do before it may finish a task."""
    click.echo(agent_rules.text(), nl=False)
