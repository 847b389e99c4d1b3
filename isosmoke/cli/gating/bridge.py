"""Gate every bare `wg done` by isolated runs."""

import shlex
from pathlib import Path

import click

from isosmoke.cli.options import ScenarioSelection, manifest_option, selected
from isosmoke.execution import surroundings_warnings
from isosmoke.host import state
from isosmoke.host.caller_process import Caller
from isosmoke.text import printable
from isosmoke.wg_bridge import mirror_manifest

_STANDS_IN = Path(".isosmoke", "bridge.toml")


@click.command()
@manifest_option(
    "The manifest to mirror; by default the one that wg would find, else ./manifest.toml."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=_STANDS_IN,
    show_default=True,
    metavar="FILE",
    help="The mirror; its shim stands beside it.",
)
def command(manifest_path: Path | None, output: Path) -> None:
    """Write a manifest through which a bare `wg done` is gated by isolated, parallel runs.

    \b
    It prints the line that makes wg use it:
        eval "$(isosmoke bridge)"
    """  # noqa: D301 - click's marker for a paragraph that is not to be wrapped
    loaded, _ = selected(ScenarioSelection(manifest=manifest_path))
    caller = Caller.here()
    for warning in surroundings_warnings.of_gate_programs(caller.environment, caller.working):
        click.echo(printable(f"WARNING: {warning}"), err=True)
    written = output.absolute()
    mirror_manifest.write(loaded, written, state.kept("scratch"))
    click.echo(f"export WG_SMOKE_MANIFEST={shlex.quote(str(written))}")
