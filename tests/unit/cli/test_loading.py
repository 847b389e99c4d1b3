"""The import of a command leaves the garbage collector as it was."""

import gc

import click
import pytest

from isosmoke.cli import cli, find_commands


@pytest.fixture
def context() -> click.Context:
    """Return the context in which commands are looked up."""
    return click.Context(cli)


def test_garbage_is_collected_after_the_import(context: click.Context) -> None:
    """The collector works again once a command was imported."""
    command = cli.get_command(context, "schema")

    assert isinstance(command, click.Command)
    assert gc.isenabled()


def test_garbage_is_collected_after_a_failed_import(
    context: click.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector works again if the module of a command cannot be imported."""
    monkeypatch.setitem(find_commands(), "broken", "project.no_such_module")

    with pytest.raises(ModuleNotFoundError):
        cli.get_command(context, "broken")
    assert gc.isenabled()
