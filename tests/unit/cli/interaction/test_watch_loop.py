"""The loop of `isosmoke watch`, with files, runs and waits that are fakes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from isosmoke.cli.interaction.watch_loop import WatchLoop
from isosmoke.cli.interaction.watched_files import ABSENT, ChangeDetector, Mark, WatchedFiles
from isosmoke.errors import IsosmokeError, ManifestError
from isosmoke.manifest.models import Scenario

MANIFEST, BINARY = Path("/p/manifest.toml"), Path("/p/wg")


def create_scenario(name: str, **keys: object) -> Scenario:
    """Return a scenario with a script of its name."""
    return Scenario.validate({"name": name, "script": f"{name}.sh", **keys})


@dataclass
class World:
    """Files, and what happens in each wait; the loop ends after the last of `steps`."""

    scenarios: list[Scenario]
    steps: list[Callable[[], object]] = field(default_factory=list)
    marks: dict[Path, int] = field(default_factory=dict)
    runs: list[list[str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    during_run: list[Callable[[], object]] = field(default_factory=list)
    broken: bool = False
    numbers: Iterator[int] = field(default_factory=lambda: count(2))

    def read(self, path: Path) -> Mark:
        number = self.marks.get(path, 1)
        return (number, 0, 0) if number else ABSENT

    def change(self, name: str, *, removed: bool = False) -> None:
        path = Path("/p", name)
        self.marks[path] = 0 if removed else next(self.numbers)

    def load(self) -> WatchedFiles:
        if self.broken:
            raise ManifestError("broken", "correct it")
        return WatchedFiles(
            manifest=MANIFEST,
            binary=BINARY,
            scenarios=tuple(self.scenarios),
            inputs={
                item.name: frozenset({Path("/p", item.script), Path("/p/lib.sh")})
                if item.name != "alone"
                else frozenset({Path("/p/alone.sh")})
                for item in self.scenarios
            },
        )

    def run(self, scenarios: tuple[Scenario, ...]) -> frozenset[str]:
        self.runs.append([item.name for item in scenarios])
        if self.during_run:
            self.during_run.pop(0)()
        return frozenset(self.failing & {item.name for item in scenarios})

    def wait(self, seconds: float) -> bool:
        if seconds == 0:
            return False
        if not self.steps:
            return True
        self.steps.pop(0)()
        return False

    def watch(self) -> list[list[str]]:
        WatchLoop(
            load=self.load,
            run=self.run,
            say=self.lines.append,
            warn=self._warn,
            pause=self,
            detector=ChangeDetector(self.read),
        ).watch()
        return self.runs[1:]

    def _warn(self, error: IsosmokeError) -> None:
        self.errors.append(error.message)


def rest() -> None:
    """Let a wait pass without a change."""


@pytest.fixture
def world() -> World:
    """Return three scenarios, two of which source the same file."""
    return World([create_scenario(name) for name in ("one", "two", "alone")])


def test_all_run_at_first(world: World) -> None:
    """Without a change, nothing runs again."""
    world.steps = [rest] * 5

    assert world.watch() == []
    assert world.runs == [["one", "two", "alone"]]
    assert world.lines == ["watching 3 scenarios  (Ctrl-C ends)"]


@pytest.mark.parametrize(
    ("name", "affected"),
    [
        ("one.sh", ["one"]),
        ("lib.sh", ["one", "two"]),
        ("wg", ["one", "two", "alone"]),
        ("other.txt", None),
    ],
)
def test_change_runs_what_it_affects(world: World, name: str, affected: list[str] | None) -> None:
    """A script affects its scenario, a sourced file those that source it, the binary all."""
    world.steps = [lambda: world.change(name), rest, rest]

    assert world.watch() == ([affected] if affected else [])


def test_change_counts_once_it_has_settled(world: World) -> None:
    """A file that is written in several steps causes one run."""
    world.steps = [*[lambda: world.change("one.sh")] * 4, rest, rest, rest]

    assert world.watch() == [["one"]]


def test_removed_file_counts_when_it_is_back(world: World) -> None:
    """A build removes the binary before it writes the new one."""
    world.steps = [
        lambda: world.change("wg", removed=True),
        rest,
        rest,
        lambda: world.change("wg"),
        rest,
        rest,
    ]

    assert world.watch() == [["one", "two", "alone"]]


def test_change_during_a_run_is_not_lost(world: World) -> None:
    """It is found after the run, although it happened before the run ended."""
    world.during_run = [lambda: world.change("two.sh"), lambda: world.change("alone.sh")]
    world.steps = [rest] * 6

    assert world.watch() == [["two"], ["alone"]]


def test_manifest_runs_new_and_changed_entries(world: World) -> None:
    """An entry that is the same does not run again; one that is gone is forgotten."""

    def edit() -> None:
        world.scenarios[:] = [
            create_scenario("one", timeout_seconds=7),
            create_scenario("alone"),
            create_scenario("new"),
        ]
        world.change("manifest.toml")

    world.steps = [edit, rest, rest, lambda: world.change("new.sh"), rest, rest]

    assert world.watch() == [["one", "new"], ["new"]]


def test_mistake_in_the_manifest_is_reported(world: World) -> None:
    """The watch goes on, and runs what has changed once the mistake is corrected."""

    def break_it() -> None:
        world.broken = True
        world.change("manifest.toml")

    def correct() -> None:
        world.broken = False
        world.scenarios.append(create_scenario("new"))
        world.change("manifest.toml")

    world.steps = [break_it, rest, rest, correct, rest, rest]

    assert world.watch() == [["new"]]
    assert world.errors == ["broken"]


def test_failing_scenarios_are_named_until_they_pass(world: World) -> None:
    """The last line says what is still broken, also if it did not run."""
    world.failing = {"one", "alone"}

    def repair() -> None:
        world.failing.discard("one")
        world.change("one.sh")

    world.steps = [repair, rest, rest]
    world.watch()

    assert world.lines == [
        "watching 3 scenarios; failing: alone, one  (Ctrl-C ends)",
        "changed: one.sh",
        "watching 3 scenarios; failing: alone  (Ctrl-C ends)",
    ]


def test_mistake_at_the_start_ends_the_watch(world: World) -> None:
    """There is nothing to watch."""
    world.broken = True

    with pytest.raises(ManifestError):
        world.watch()
