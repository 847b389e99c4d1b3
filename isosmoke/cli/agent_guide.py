"""`isosmoke agent-guide`: the agents' rule, for prompt templates."""

import click

from isosmoke import guide


@click.command()
def command() -> None:
    """Print what an agent must do before it may finish a task."""
    click.echo(guide.text(), nl=False)
