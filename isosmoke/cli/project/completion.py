"""Make bash, zsh or fish complete isosmoke's words."""

import click
from click.shell_completion import get_completion_class

from isosmoke.cli import cli


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script for a shell; it completes options, scenarios, owners, runs and engines.

    \b
    bash  isosmoke completion bash > ~/.local/share/bash-completion/completions/isosmoke
    zsh   isosmoke completion zsh > a file _isosmoke in a folder of $fpath
    fish  isosmoke completion fish > ~/.config/fish/completions/isosmoke.fish
    """  # noqa: D301 - click's marker for a paragraph that is not to be wrapped
    found = get_completion_class(shell)
    if found is None:
        raise click.BadParameter(f"click knows no completion for {shell}")
    click.echo(found(cli, {}, "isosmoke", "_ISOSMOKE_COMPLETE").source())
