"""Gate every plain `wg done` with isolated runs."""

from pathlib import Path

import click

from isosmoke.cli.options import manifest_option
from isosmoke.execution import surroundings_warnings
from isosmoke.host import state
from isosmoke.host.caller_process import Caller
from isosmoke.manifest import loader
from isosmoke.manifest.discovery import locate_source
from isosmoke.text import escape_controls, quote_command
from isosmoke.wg_bridge import mirror_manifest

_DEFAULT_OUTPUT = Path(".isosmoke", "bridge.toml")


@click.command()
@manifest_option("Mirror this manifest.  [default: the one that wg finds, else ./manifest.toml]")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=_DEFAULT_OUTPUT,
    show_default=True,
    metavar="FILE",
    help="Write the mirror to FILE and its shim next to it.",
)
def command(manifest_path: Path | None, output: Path) -> None:
    """Write a mirror of a manifest through which `wg done` runs scenarios isolated and in parallel.

    \b
    The output is the line that makes wg use the mirror:
        eval "$(isosmoke bridge)"
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    caller = Caller.current()
    path = manifest_path or locate_source(caller.working, caller.environment)
    manifest = loader.load(path)
    for warning in surroundings_warnings.check_gate_programs(caller.environment, caller.working):
        click.echo(escape_controls(f"WARNING: {warning}"), err=True)
    mirror = output.absolute()
    mirror_manifest.write_mirror(manifest, mirror, state.ensure_directory("scratch"))
    click.echo(f"export WG_SMOKE_MANIFEST={quote_command([str(mirror)])}")
