"""The loop of `isosmoke watch`: run what a change affects, and wait for the next change."""

from collections.abc import Callable
from dataclasses import field
from typing import Protocol

from isosmoke.cli.interaction.watched_files import (
    ChangeDetector,
    WatchedFiles,
    find_new_entries,
    order,
)
from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError
from isosmoke.manifest.models import Scenario

POLL_SECONDS = 0.3
"""The time between two looks at the files, in seconds."""


class Pause(Protocol):
    """A wait that an interrupt ends."""

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds`; return whether the loop ends."""
        ...


@dataclass(slots=True, kw_only=True)
class WatchLoop:
    """A watch over the files that `load` returns.

    `run` runs scenarios and returns the names of those that block. `say` prints a line, and `warn`
    an error that the user can fix, such as a mistake in the manifest. A change during a run is
    found after it, since the state before the run is known.
    """

    load: Callable[[], WatchedFiles]
    run: Callable[[tuple[Scenario, ...]], frozenset[str]]
    say: Callable[[str], None]
    warn: Callable[[IsosmokeError], None]
    pause: Pause
    detector: ChangeDetector = field(default_factory=ChangeDetector)
    _files: WatchedFiles = field(init=False)
    _failing: frozenset[str] = field(default=frozenset(), init=False)
    _pending: frozenset[str] = field(default=frozenset(), init=False)

    def watch(self) -> None:
        """Run all scenarios, then those that changes affect, until the pause says that it ends.

        Raises:
            IsosmokeError: if the scenarios cannot be loaded at the start.
        """
        self._files = self.load()
        self.detector.accept(self._files.paths)
        self._pending = frozenset(self._files.inputs)
        while True:
            if self._pending:
                self._run()
            if self.pause.wait(POLL_SECONDS):
                return
            changed = self.detector.find_changes()
            if changed:
                names = ", ".join(sorted(path.name for path in changed))
                self.say(f"changed: {names}")
                self._pending |= self._files.find_affected(changed)
                self._reload()

    def _reload(self) -> None:
        """Load the files again, as a script may source other files, and the manifest may differ."""
        try:
            files = self.load()
        except IsosmokeError as error:
            self.warn(error)
            return
        self._pending |= find_new_entries(self._files.scenarios, files.scenarios)
        self._pending &= frozenset(files.inputs)
        self._failing &= frozenset(files.inputs)
        self._files = files
        self.detector.accept(files.paths)

    def _run(self) -> None:
        scenarios = order(self._pending, self._files.scenarios)
        self._pending = frozenset()
        try:
            failed = self.run(scenarios)
        except IsosmokeError as error:
            self.warn(error)
            failed = frozenset(scenario.name for scenario in scenarios)
        self._failing = self._failing - {scenario.name for scenario in scenarios} | failed
        if not self.pause.wait(0):
            self.say(self._describe())

    def _describe(self) -> str:
        number = len(self._files.inputs)
        watched = f"watching {number} scenario{'s' * (number != 1)}"
        failing = f"; failing: {', '.join(sorted(self._failing))}" if self._failing else ""
        return f"{watched}{failing}  (Ctrl-C ends)"
