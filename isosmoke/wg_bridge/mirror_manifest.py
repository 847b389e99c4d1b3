"""The files of a bridge for wg: the mirror of a manifest, and the shim that it names."""

import shlex
import sys
from pathlib import Path

from isosmoke.errors import UsageError
from isosmoke.host import files, state
from isosmoke.manifest.mirrors import mirror_text
from isosmoke.manifest.mirrors.mirror_text import MARK
from isosmoke.manifest.models import Manifest
from isosmoke.wg_bridge import scenario_shim


def render_shim(mirror: Path, scratch: Path) -> str:
    """Return the text of the shim next to a mirror."""
    command = (sys.executable, "-I", "-S", scenario_shim.__file__, str(scratch), str(mirror))
    return f"{MARK}: asks for the verdict of one scenario.\nexec {shlex.join(command)}\n"


def write_mirror(source: Manifest, mirror: Path, scratch: Path) -> None:
    """Write a mirror and its shim into one directory; `mirror` is absolute.

    Raises:
        UsageError: if either is a symbolic link, or would replace a file not written by isosmoke.
    """
    shim = mirror.with_suffix(".sh")
    for file in (mirror, shim):
        _refuse_foreign(file)
    mirror.parent.mkdir(parents=True, exist_ok=True)
    files.write(shim, render_shim(mirror, scratch))
    files.write(mirror, mirror_text.render(source, shim.name))


def _refuse_foreign(file: Path) -> None:
    files.refuse_links(
        file, *(parent for parent in file.parents if parent.name == state.RECORDS_DIRECTORY)
    )
    if file.exists() and not file.read_text(errors="replace").startswith(MARK):
        raise UsageError(f"{file} exists and is not a mirror", hint="pass another file to --output")
