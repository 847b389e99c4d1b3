"""Mirror manifests for wg: the names and owners of another manifest, with a shim as each script."""

import shlex
import sys
from collections.abc import Iterable
from math import ceil
from pathlib import Path

from isosmoke.errors import ManifestError, UsageError
from isosmoke.host import files, state
from isosmoke.manifest import loader
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.text import escape_bytes, format_toml
from isosmoke.wg_bridge import scenario_shim

_OURS = "# Written by isosmoke"

_RUN_OVERHEAD = 300
"""The seconds allowed before the first scenario, to sweep, and hash and try the binary."""

_ATTEMPT_OVERHEAD = 300
"""The seconds allowed in an attempt besides its script; the engine bounds each phase itself."""


def render_mirror(source: Manifest, shim: str) -> str:
    """Return the mirror of a manifest as TOML; each deadline bounds a whole run."""
    bound = str(compute_max_run_seconds(source.scenarios))
    path = format_toml(escape_bytes(str(source.path.absolute())))
    head = f"{_OURS} for wg.\n[bridge]\nsource = {path}\n"
    return head + "".join(_render_entry(scenario, shim, bound) for scenario in source.scenarios)


def compute_max_run_seconds(scenarios: Iterable[Scenario]) -> int:
    """Return the maximum duration of a run in seconds.

    It assumes that the scenarios run one after another, that each uses all its retries, and that
    each is then repeated in isolation.
    """
    return _RUN_OVERHEAD + sum(map(_compute_max_seconds, scenarios))


def _compute_max_seconds(scenario: Scenario) -> int:
    seconds = scenario.timeout_seconds + scenario.grace_seconds + scenario.settle_seconds
    return (_ATTEMPT_OVERHEAD + ceil(seconds)) * (scenario.retries + 2)


def _render_entry(scenario: Scenario, shim: str, bound: str) -> str:
    keys = {
        "name": format_toml(scenario.name),
        "script": format_toml(shim),
        "owners": format_toml(scenario.owners),
        "timeout_seconds": bound,
    }
    return "\n[[scenario]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def render_shim(mirror: Path, scratch: Path) -> str:
    """Return the text of the shim next to a mirror."""
    command = (sys.executable, "-I", "-S", scenario_shim.__file__, str(scratch), str(mirror))
    return f"{_OURS}: asks for the verdict of one scenario.\nexec {shlex.join(command)}\n"


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
    files.write(mirror, render_mirror(source, shim.name))


def _refuse_foreign(file: Path) -> None:
    files.refuse_links(
        file, *(parent for parent in file.parents if parent.name == state.RECORDS_DIRECTORY)
    )
    if file.exists() and not file.read_text(errors="replace").startswith(_OURS):
        raise UsageError(f"{file} exists and is not a mirror", hint="pass another file to --output")


def read_source(mirror: Path) -> Manifest:
    """Return the source manifest of a mirror.

    Raises:
        ManifestError: if a part of the manifest that wg reads has changed since.
    """
    source = loader.load(mirror)
    if mirror.read_text() != render_mirror(source, mirror.with_suffix(".sh").name):
        command = ("isosmoke", "bridge", "--manifest", str(source.path), "--output", str(mirror))
        raise ManifestError(f"{mirror} no longer mirrors {source.path}", hint=shlex.join(command))
    return source
