"""Print a completion script for bash, zsh or fish."""

import click
from click.shell_completion import get_completion_class

from isosmoke.cli import cli


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a script for SHELL that completes options, scenarios, owners, runs and engines.

    \b
    bash  isosmoke completion bash > ~/.local/share/bash-completion/completions/isosmoke
    zsh   isosmoke completion zsh > DIRECTORY/_isosmoke  (a directory in $fpath)
    fish  isosmoke completion fish > ~/.config/fish/completions/isosmoke.fish
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    completion = get_completion_class(shell)
    if completion is None:
        raise click.BadParameter(f"shell {shell} is not supported by click")
    click.echo(completion(cli, {}, "isosmoke", "_ISOSMOKE_COMPLETE").source())
