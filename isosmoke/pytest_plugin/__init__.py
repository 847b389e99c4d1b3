"""Scenarios as pytest items, and the fixture `sandbox`; see docs/pytest.md.

Everybody who has isosmoke installed imports this at the start of pytest, so whatever is heavy is
imported when a manifest is collected or a sandbox is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from isosmoke.errors import IsosmokeError
    from isosmoke.manifest.models import Manifest, Scenario
    from isosmoke.pytest_plugin.session import Ran, Stage, Told
    from isosmoke.results.outcome import Outcome

_MARKERS = (
    "owner(task): the task that a scenario guards; several may.",
    "tag(name): a tag of a scenario; it is a marker by itself as well, `-` and such made `_`.",
    "isosmoke(image, timeout, limits, ...): how the fixture `sandbox` runs commands.",
)
_NAME_LENGTH = 100
_OUTCOME, _REASON, _RECORD = "isosmoke_outcome", "isosmoke_reason", "isosmoke_record"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The binary and the engine, as `isosmoke run` takes them; and manifests to be collected."""
    group = parser.getgroup("isosmoke", "scenarios of a manifest.toml")
    group.addoption(
        "--isosmoke-binary", metavar="PATH", help="The live binary; else $ISOSMOKE_WG, else wg."
    )
    group.addoption(
        "--isosmoke-engine",
        metavar="ENGINE",
        default="auto",
        help="auto (the default): bubblewrap for the host's image, docker for any other.",
    )
    parser.addini(
        "isosmoke_manifests",
        "manifests that are collected with the folders they lie in",
        type="paths",
        default=[],
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known, so that --strict-markers takes them."""
    for line in _MARKERS:
        config.addinivalue_line("markers", line)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ManifestFile | None:
    """A manifest that was asked for, on the command line or in the ini file; no other."""
    asked = parent.session.isinitpath(file_path) and file_path.suffix == ".toml"
    if asked or file_path in parent.config.getini("isosmoke_manifests"):
        return ManifestFile.from_parent(parent, path=file_path)
    return None


class ManifestFile(pytest.File):
    """A manifest."""

    def collect(self) -> Iterator[ScenarioItem]:
        from isosmoke.errors import IsosmokeError
        from isosmoke.manifest import loader

        try:
            loaded = loader.load(self.path)
        except IsosmokeError as error:
            raise self.CollectError(_said(error)) from error
        lines = _lines(loaded.path.read_text(errors="replace"))
        for one in loaded.scenarios:
            place = (loaded, lines.get(one.name, 0))
            yield ScenarioItem.from_parent(self, name=one.name, scenario=one, place=place)


def _lines(text: str) -> dict[str, int]:
    """Which line names each scenario, counted from 0; one that is written unusually is left out."""
    named = re.compile(r"""^\s*name\s*=\s*["']([\w.-]+)["']""", re.MULTILINE)
    return {found[1]: text.count("\n", 0, found.start(1)) for found in named.finditer(text)}


class ScenarioItem(pytest.Item):
    """One scenario, and its place: the manifest, and the line there, counted from 0."""

    def __init__(self, *, scenario: Scenario, place: tuple[Manifest, int], **others: Any) -> None:
        super().__init__(**others)
        self.scenario = scenario
        self.manifest, self.line = place
        self.extra_keyword_matches.update(scenario.owners)
        for task in scenario.owners:
            self.add_marker(pytest.mark.owner(task, task=task))
        for tag in scenario.tags:
            self.add_marker(pytest.mark.tag(tag, name=tag))
            self._mark_plainly(re.sub(r"\W", "_", tag))

    def _mark_plainly(self, tag: str) -> None:
        """Not where a marker of this name takes arguments: it does something, as `skip` does."""
        name = tag if tag[0].isalpha() else f"tag_{tag}"
        known: list[str] = self.config.getini("markers")
        if not any(line.startswith(f"{name}(") for line in known):
            self.config.addinivalue_line("markers", f"{name}: a tag of a scenario")
            self.add_marker(name)

    def setup(self) -> None:
        mine = [one for one in _scenario_items(self.session.items) if one.manifest is self.manifest]
        trouble = _trouble(self.config, self.manifest, [one.scenario for one in mine])
        if trouble:
            pytest.fail(trouble, pytrace=False)

    def runtest(self) -> None:
        with _locks(self.config, self.scenario):
            told = _stage(self.config).run(self.manifest, self.scenario)
        reason = told.result.telling.reason
        self.user_properties += [
            (_OUTCOME, str(told.result.outcome)),
            (_REASON, reason),
            (_RECORD, str(told.record)),
        ]
        if told.result.outcome.facts.is_skip:
            pytest.skip(reason)
        if told.result.outcome.blocks:
            pytest.fail(told.text, pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.manifest.path, self.line, self.name


def _locks(config: pytest.Config, scenario: Scenario) -> AbstractContextManager[None]:
    """Hold its locks against other workers of pytest-xdist; in one process nothing runs beside."""
    from isosmoke.pytest_plugin.locks import held

    worker: dict[str, str] = getattr(config, "workerinput", {})
    return held(scenario.locks, within=worker["testrunuid"]) if worker else nullcontext()


def _said(error: IsosmokeError) -> str:
    hint = f"\n  try: {error.hint}" if error.hint else ""
    return f"isosmoke: {error.message}{hint}"


def _scenario_items(items: Iterable[pytest.Item]) -> list[ScenarioItem]:
    return [one for one in items if isinstance(one, ScenarioItem)]


_STAGE = pytest.StashKey["Stage"]()


def _stage(config: pytest.Config) -> Stage:
    from isosmoke.pytest_plugin.session import Stage

    if _STAGE not in config.stash:
        config.stash[_STAGE] = Stage(
            binary=config.getoption("--isosmoke-binary"),
            engine=config.getoption("--isosmoke-engine"),
        )
    return config.stash[_STAGE]


def _trouble(config: pytest.Config, manifest: Manifest, scenarios: list[Scenario]) -> str:
    """Why nothing of a manifest can be run; empty where its run is under way."""
    from isosmoke.errors import IsosmokeError

    try:
        _stage(config).begin(manifest, scenarios)
    except IsosmokeError as error:
        return _said(error)
    return ""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Complete the records."""
    if _STAGE in session.config.stash:
        session.config.stash[_STAGE].end()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Scenarios that share a lock go to one worker of pytest-xdist, where it is there."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    locked = [one for one in _scenario_items(items) if one.scenario.locks]
    groups = _chained(one.scenario.locks for one in locked)
    for one in locked:
        (group,) = (group for group in groups if group.issuperset(one.scenario.locks))
        one.add_marker(pytest.mark.xdist_group(f"isosmoke-{'+'.join(sorted(group))}"))


def _chained(several: Iterable[Iterable[str]]) -> list[set[str]]:
    """All locks, together where a chain of scenarios leads from one to another."""
    groups: list[set[str]] = []
    for locks in map(set, several):
        joined = [group for group in groups if group & locks]
        groups = [group for group in groups if group not in joined]
        groups.append(locks.union(*joined))
    return groups


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip lies in the manifest, not in this file."""
    report = yield
    if isinstance(item, ScenarioItem) and report.skipped and isinstance(report.longrepr, tuple):
        report.longrepr = (str(item.manifest.path), item.line + 1, report.longrepr[2])
    return report


def _property(report: Any, name: str) -> str:
    return str(dict(getattr(report, "user_properties", ())).get(name, ""))


def _outcome(report: Any) -> Outcome | None:
    """Return the outcome of the scenario that a report is about; None if it is about none."""
    word = _property(report, _OUTCOME)
    if not word:
        return None
    from isosmoke.results.outcome import Outcome

    return next((one for one in Outcome if one == word), None)


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """An outcome has its own letter and word; trouble of the engine is an error, as in pytest."""
    outcome = _outcome(report) if report.when == "call" else None
    status = outcome and outcome.facts.pytest
    if not outcome or not status:
        return None
    return status.category, status.letter, (str(outcome), {status.colour: True})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What passed at a second try only, and where the records are."""
    reports = [one for several in terminalreporter.stats.values() for one in several]
    records = dict.fromkeys(filter(None, (_property(one, _RECORD) for one in reports)))
    if not records:
        return
    terminalreporter.section("isosmoke")
    for one in terminalreporter.getreports("passed"):
        outcome = _outcome(one)
        if outcome and outcome.facts.effect == "warned":
            terminalreporter.write_line(f"{outcome} {one.nodeid}: {_property(one, _REASON)}")
    for folder in records:
        terminalreporter.write_line(f"record: {folder}")


@pytest.fixture
def sandbox(request: pytest.FixtureRequest) -> Callable[..., Ran]:
    """Runs a command in a fresh sandbox, with the live binary: `sandbox("wg", "--version")`.

    The terms are the manifest's keys that make a sandbox, such as `image`, `env` and `limits`, with
    `timeout` for `timeout_seconds`, and `leaks`; those of the marker `isosmoke` hold for all
    commands of a test. A process that is left makes the test fail, unless `leaks` allows it.
    """
    marker = request.node.get_closest_marker("isosmoke")
    marked = marker.kwargs if marker else {}
    name = re.sub("[^A-Za-z0-9_]+", "-", request.node.nodeid).strip("-")[-_NAME_LENGTH:]
    numbers = count(1)

    def run(*argv: str, **terms: Any) -> Ran:
        from isosmoke.pytest_plugin.session import Ran

        __tracebackhide__ = True
        told = _attempted(request.config, f"{name}-{next(numbers)}", argv, {**marked, **terms})
        if isinstance(told, str) or _fails_its_test(told):
            pytest.fail(told if isinstance(told, str) else told.text)
        return Ran.of(told.result)

    return run


def _attempted(
    config: pytest.Config, name: str, argv: tuple[str, ...], terms: dict[str, Any]
) -> Told | str:
    """What came of a command, or why it could not even be tried."""
    from isosmoke.errors import IsosmokeError
    from isosmoke.pytest_plugin.session import scenario_of

    try:
        scenario = scenario_of(name, argv, terms)
        with _locks(config, scenario):
            return _stage(config).run(None, scenario, argv)
    except IsosmokeError as error:
        return _said(error)


def _fails_its_test(told: Told) -> bool:
    attempt = told.result.telling
    return told.result.infrastructure or (attempt.leak_blocks and bool(attempt.leaks))
