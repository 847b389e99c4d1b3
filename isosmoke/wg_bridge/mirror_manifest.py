"""A manifest for wg that mirrors another: same names and owners, one shim as every script."""

import shlex
import sys
from collections.abc import Iterable
from math import ceil
from pathlib import Path

from isosmoke.errors import ManifestError, UsageError
from isosmoke.host import files, state
from isosmoke.manifest import loader
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.text import toml
from isosmoke.wg_bridge import scenario_shim

_OURS = "# Written by isosmoke"

_BEFORE_THE_FIRST = 300
"""Seconds for what a run does before any scenario: sweep, hash the binary, try it in each image."""

_BESIDE_THE_SCRIPT = 300
"""Seconds of an attempt that are not the script's: the engine bounds each step by itself."""


def text(source: Manifest, script: str) -> str:
    """The mirror of a manifest, in TOML; each deadline bounds a whole run of it."""
    bound = str(longest(source.scenarios))
    head = f"{_OURS} for wg.\n[bridge]\nsource = {toml(str(source.path.absolute()))}\n"
    return head + "".join(_entry(one, script, bound) for one in source.scenarios)


def longest(scenarios: Iterable[Scenario]) -> int:
    """No run takes more seconds: one after another, each to its last retry, and once more alone."""
    return _BEFORE_THE_FIRST + sum(_longest(one) for one in scenarios)


def _longest(scenario: Scenario) -> int:
    to_the_end = scenario.timeout_seconds + scenario.grace_seconds + scenario.settle_seconds
    return (_BESIDE_THE_SCRIPT + ceil(to_the_end)) * (scenario.retries + 2)


def _entry(scenario: Scenario, script: str, bound: str) -> str:
    keys = {
        "name": toml(scenario.name),
        "script": toml(script),
        "owners": toml(scenario.owners),
        "timeout_seconds": bound,
    }
    return "\n[[scenario]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def script(mirror: Path, scratch: Path) -> str:
    """The text of the shim that stands beside a mirror."""
    words = (sys.executable, "-I", "-S", scenario_shim.__file__, str(scratch), str(mirror))
    return f"{_OURS}: asks for the verdict of one scenario.\nexec {shlex.join(words)}\n"


def write(source: Manifest, mirror: Path, scratch: Path) -> None:
    """Write a mirror and its shim into one folder; `mirror` is absolute.

    Raises:
        UsageError: if either is a link, or would replace what isosmoke has not written.
    """
    beside = mirror.with_suffix(".sh")
    for file in (mirror, beside):
        _refuse_foreign(file)
    mirror.parent.mkdir(parents=True, exist_ok=True)
    files.write(beside, script(mirror, scratch))
    files.write(mirror, text(source, beside.name))


def _refuse_foreign(file: Path) -> None:
    files.refuse_links(file, *(one for one in file.parents if one.name == state.IN_PROJECT))
    if file.exists() and not file.read_text(errors="replace").startswith(_OURS):
        raise UsageError(f"{file} is there and not a mirror", hint="name another --output")


def read(mirror: Path) -> Manifest:
    """The manifest that a mirror shows.

    Raises:
        ManifestError: if the manifest has changed since, in what wg reads of it.
    """
    source = loader.load(mirror)
    if mirror.read_text() != text(source, mirror.with_suffix(".sh").name):
        words = ("isosmoke", "bridge", "--manifest", str(source.path), "--output", str(mirror))
        raise ManifestError(f"{mirror} no longer mirrors {source.path}", hint=shlex.join(words))
    return source
