"""The commands that read the user's configuration."""

import click

from isosmoke.cli import CONFIGURED, cli, find_commands
from isosmoke.cli.configuration.keys import KEYS

_GROUPS_WITHOUT = ("gating.", "project.")


def test_no_command_of_the_gate_is_configured() -> None:
    """The commands exist, and none of them gates, proves or sets up a project."""
    commands = find_commands()

    assert set(commands) >= CONFIGURED
    assert not [name for name in CONFIGURED if commands[name].startswith(_GROUPS_WITHOUT)]
    assert "prove" not in CONFIGURED


def test_each_key_of_a_run_is_an_option_of_run() -> None:
    """A key without a parameter would have no effect."""
    command = cli.get_command(click.Context(cli), "run")
    assert command is not None
    parameters = {parameter.name for parameter in command.params}

    assert {key.name for key in KEYS} - {"color"} <= parameters
