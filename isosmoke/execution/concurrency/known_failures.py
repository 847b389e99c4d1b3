"""Digests of what a failure depends on, to recognize a failure that is already known.

They cover the manifest entry, the script, the binary, the work trees with everything that is
tracked, changed or untracked in them, the image, the variables and the programs on PATH. They do
not cover ignored files and what a script reaches over the network, so a known failure is believed
for a limited time only.
"""

import hashlib
import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import field
from pathlib import Path
from threading import Lock
from typing import Any

from isosmoke import __version__
from isosmoke.dataclass import dataclass
from isosmoke.engines.base import Engine
from isosmoke.errors import IsosmokeError
from isosmoke.host import files, git
from isosmoke.host.workspace_directories import git_top
from isosmoke.manifest.models import Scenario
from isosmoke.rootfs_images import image_kinds
from isosmoke.runner.job_builder import RunContext
from isosmoke.sandbox.spec import HOST_IMAGE

_MOST_CHANGED = 64 << 20
"""The number of bytes of changed files that are read; with more, the inputs are unknown."""


@dataclass(slots=True, kw_only=True)
class InputDigests:
    """The digests of one run; the work trees are read when the first digest is needed."""

    context: RunContext
    engine_for: Callable[[Scenario], Engine]
    _trees: str | None = field(default=None, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def compute(self, scenario: Scenario) -> str:
        """Return the digest of a scenario's inputs; empty if they cannot all be described."""
        with self._lock:
            if self._trees is None:
                self._trees = self._digest_trees()
        if not self._trees or self._reaches_outside(scenario):
            return ""
        try:
            parts = tuple(self._list_parts(scenario))
        except (OSError, IsosmokeError):
            return ""
        text = json.dumps((self._trees, *parts), sort_keys=True)
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()

    def are_current(self) -> bool:
        """Return whether the work trees are as they were when the first digest was needed."""
        return self._trees is None or self._trees == self._digest_trees()

    def _reaches_outside(self, scenario: Scenario) -> bool:
        return bool(
            self.context.command
            or scenario.services
            or scenario.requires.endpoints
            or scenario.pass_env
            or scenario.pass_files
            or scenario.plain_files
            or scenario.cache
        )

    def _list_parts(self, scenario: Scenario) -> Iterator[Any]:
        environment = self.context.caller.environment
        tested = self.context.binary
        yield (__version__, platform.node(), platform.release())
        yield scenario.to_json()
        yield (str(scenario.script_path), files.sha256(scenario.script_path))
        yield None if tested is None else tested.sha256
        yield (self.engine_for(scenario).name, self._digest_image(scenario))
        names = sorted({"PATH", *scenario.plain_env, *scenario.requires.env})
        yield [(name, environment.get(name)) for name in names]
        yield [_read_time(Path(entry)) for entry in environment.get("PATH", "").split(":")]

    def _digest_image(self, scenario: Scenario) -> str:
        if scenario.image == HOST_IMAGE:
            return ""
        local = image_kinds.digest(scenario.image, scenario.folder)
        return local or self.engine_for(scenario).image_digest(scenario.image)

    def _digest_trees(self) -> str:
        """Return a digest of the work trees that scenarios see; empty if one is unknown."""
        environment = self.context.caller.environment
        tops = {git_top(path) for path in self.context.workspace.directories if path.name != ".git"}
        digests = []
        for top in tops:
            try:
                digest = git.digest_work_tree(top, environment, _MOST_CHANGED) if top else ""
            except (OSError, IsosmokeError):
                digest = ""
            if not digest:
                return ""
            digests.append(f"{top} {digest}")
        return "\n".join(sorted(digests))


def _read_time(directory: Path) -> int | None:
    """Return when the entries of a directory last changed; None if there is no such directory."""
    return directory.stat().st_mtime_ns if directory.is_dir() else None
