"""Scenarios as pytest items, and the fixture `sandbox`; see docs/pytest.md.

pytest imports this module at its start wherever isosmoke is installed. Heavy modules are therefore
imported only when a manifest is collected or a sandbox is requested.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from isosmoke.errors import IsosmokeError
    from isosmoke.manifest.models import Manifest, Scenario
    from isosmoke.pytest_plugin.session import CommandResult, ScenarioReport, SessionRuns
    from isosmoke.results.outcome import Outcome

_MARKERS = (
    "owner(task): a task that the scenario covers; may be repeated.",
    "tag(name): a tag of the scenario; also a plain marker, with `_` for `-` and the like.",
    "isosmoke(image, timeout, limits, ...): options for the commands of the `sandbox` fixture.",
)
_NAME_LENGTH = 100
_OUTCOME, _REASON, _RECORD = "isosmoke_outcome", "isosmoke_reason", "isosmoke_record"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options for the binary and the engine, as for `isosmoke run`, and for manifests."""
    group = parser.getgroup("isosmoke", "scenarios of a manifest.toml")
    group.addoption(
        "--isosmoke-binary",
        metavar="PATH",
        help="Use this live binary (default: $ISOSMOKE_WG, then wg on PATH).",
    )
    group.addoption(
        "--isosmoke-engine",
        metavar="ENGINE",
        default="auto",
        help="Run scenarios on this engine (default: auto, which is bubblewrap for the "
        "host's image and docker for any other).",
    )
    group.addoption(
        "--isosmoke-leaks",
        nargs="?",
        const="fail",
        type=_parse_leak_mode,
        help="End the processes that a test leaves, and fail it (with =report: only record them in "
        "the file that ISOSMOKE_EXEC_LOG names).",
    )
    parser.addini(
        "isosmoke_manifests",
        "manifests to collect along with the directories that contain them",
        type="paths",
        default=[],
    )


def _parse_leak_mode(text: str) -> str:
    """Return the value of `--isosmoke-leaks`; without `=`, it would be the next argument."""
    if text not in ("fail", "report"):
        raise ArgumentTypeError(
            f"{text!r} is neither fail nor report; before a path, write --isosmoke-leaks=fail"
        )
    return text


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, as --strict-markers requires."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    mode = config.getoption("--isosmoke-leaks")
    if mode:
        from isosmoke.pytest_plugin.leak_watch import LeakWatch

        config.pluginmanager.register(LeakWatch(fails=mode == "fail"), "isosmoke-leaks")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ManifestFile | None:
    """Collect a manifest only if the command line or the ini file names it."""
    is_requested = parent.session.isinitpath(file_path) and file_path.suffix == ".toml"
    if is_requested or file_path in parent.config.getini("isosmoke_manifests"):
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
            raise self.CollectError(_format_error(error)) from error
        lines = _find_lines(loaded.path.read_text(errors="replace"))
        for scenario in loaded.scenarios:
            location = (loaded, lines.get(scenario.name, 0))
            yield ScenarioItem.from_parent(
                self, name=scenario.name, scenario=scenario, location=location
            )


def _find_lines(text: str) -> dict[str, int]:
    """Return the line of each scenario's name, counted from 0; unusual notation may be missed."""
    pattern = re.compile(r"""^\s*name\s*=\s*["']([\w.-]+)["']""", re.MULTILINE)
    return {match[1]: text.count("\n", 0, match.start(1)) for match in pattern.finditer(text)}


class ScenarioItem(pytest.Item):
    """One scenario and its location: the manifest, and the line in it, counted from 0."""

    def __init__(
        self, *, scenario: Scenario, location: tuple[Manifest, int], **others: Any
    ) -> None:
        super().__init__(**others)
        self.scenario = scenario
        self.manifest, self.line = location
        self.extra_keyword_matches.update(scenario.owners)
        for task in scenario.owners:
            self.add_marker(pytest.mark.owner(task, task=task))
        for tag in scenario.tags:
            self.add_marker(pytest.mark.tag(tag, name=tag))
            self._add_plain_marker(re.sub(r"\W", "_", tag))

    def _add_plain_marker(self, tag: str) -> None:
        """Add the tag as a marker, unless a marker of that name takes arguments, as `skip` does."""
        name = tag if tag[0].isalpha() else f"tag_{tag}"
        markers: list[str] = self.config.getini("markers")
        if not any(line.startswith(f"{name}(") for line in markers):
            self.config.addinivalue_line("markers", f"{name}: a tag of a scenario")
            self.add_marker(name)

    def setup(self) -> None:
        scenarios = [
            item.scenario
            for item in _scenario_items(self.session.items)
            if item.manifest is self.manifest
        ]
        error = _begin_run(self.config, self.manifest, scenarios)
        if error:
            pytest.fail(error, pytrace=False)

    def runtest(self) -> None:
        with _hold_locks(self.config, self.scenario):
            report = _get_runs(self.config).run(self.manifest, self.scenario)
        reason = report.result.reported_attempt.reason
        self.user_properties += [
            (_OUTCOME, str(report.result.outcome)),
            (_REASON, reason),
            (_RECORD, str(report.record)),
        ]
        if report.result.outcome.facts.is_skip:
            pytest.skip(reason)
        if report.result.outcome.blocks:
            pytest.fail(report.text, pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.manifest.path, self.line, self.name


def _hold_locks(config: pytest.Config, scenario: Scenario) -> AbstractContextManager[None]:
    """Hold its locks against other pytest-xdist workers, if there are any."""
    from isosmoke.pytest_plugin.locks import locked

    worker: dict[str, str] = getattr(config, "workerinput", {})
    return locked(scenario.locks, scope=worker["testrunuid"]) if worker else nullcontext()


def _format_error(error: IsosmokeError) -> str:
    """Return the error and its hint as text."""
    hint = f"\n  try: {error.hint}" if error.hint else ""
    return f"isosmoke: {error.message}{hint}"


def _scenario_items(items: Iterable[pytest.Item]) -> list[ScenarioItem]:
    return [item for item in items if isinstance(item, ScenarioItem)]


_RUNS = pytest.StashKey["SessionRuns"]()


def _get_runs(config: pytest.Config) -> SessionRuns:
    from isosmoke.pytest_plugin.session import SessionRuns

    if _RUNS not in config.stash:
        config.stash[_RUNS] = SessionRuns(
            binary=config.getoption("--isosmoke-binary"),
            engine=config.getoption("--isosmoke-engine"),
        )
    return config.stash[_RUNS]


def _begin_run(config: pytest.Config, manifest: Manifest, scenarios: list[Scenario]) -> str:
    """Begin the run of a manifest unless it is under way; return an error, or an empty text."""
    from isosmoke.errors import IsosmokeError

    try:
        _get_runs(config).begin(manifest, scenarios)
    except IsosmokeError as error:
        return _format_error(error)
    return ""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Complete the records."""
    if _RUNS in session.config.stash:
        session.config.stash[_RUNS].end()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Assign scenarios that share a lock to one worker of pytest-xdist, if it is installed."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    with_locks = [item for item in _scenario_items(items) if item.scenario.locks]
    groups = _merge_lock_sets(item.scenario.locks for item in with_locks)
    for item in with_locks:
        (group,) = (group for group in groups if group.issuperset(item.scenario.locks))
        item.add_marker(pytest.mark.xdist_group(f"isosmoke-{'+'.join(sorted(group))}"))


def _merge_lock_sets(lock_sets: Iterable[Iterable[str]]) -> list[set[str]]:
    """Return disjoint sets of locks, joined where scenarios connect them."""
    groups: list[set[str]] = []
    for locks in map(set, lock_sets):
        joined = [group for group in groups if group & locks]
        groups = [group for group in groups if group not in joined]
        groups.append(locks.union(*joined))
    return groups


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Locate a skip in the manifest instead of in this file."""
    report = yield
    if isinstance(item, ScenarioItem) and report.skipped and isinstance(report.longrepr, tuple):
        report.longrepr = (str(item.manifest.path), item.line + 1, report.longrepr[2])
    return report


def _get_property(report: Any, name: str) -> str:
    return str(dict(getattr(report, "user_properties", ())).get(name, ""))


def _get_outcome(report: Any) -> Outcome | None:
    """Return the outcome of the scenario that a report is about, or None for other reports."""
    value = _get_property(report, _OUTCOME)
    if not value:
        return None
    from isosmoke.results.outcome import Outcome

    return next((outcome for outcome in Outcome if outcome == value), None)


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Report an outcome with its own letter and word; an engine failure counts as an error."""
    outcome = _get_outcome(report) if report.when == "call" else None
    status = outcome and outcome.facts.pytest
    if not outcome or not status:
        return None
    return status.category, status.letter, (str(outcome), {status.colour: True})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report scenarios that passed only on a retry, and the directories of the records."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    records = dict.fromkeys(filter(None, (_get_property(report, _RECORD) for report in reports)))
    if not records:
        return
    terminalreporter.section("isosmoke")
    for report in terminalreporter.getreports("passed"):
        outcome = _get_outcome(report)
        if outcome and outcome.facts.effect == "warned":
            terminalreporter.write_line(
                f"{outcome} {report.nodeid}: {_get_property(report, _REASON)}"
            )
    from isosmoke.text import escape_controls

    for directory in records:
        terminalreporter.write_line(escape_controls(f"record: {directory}"))


@pytest.fixture
def sandbox(request: pytest.FixtureRequest) -> Callable[..., CommandResult]:
    """Run commands in fresh sandboxes, with the live binary: `sandbox("wg", "--version")`.

    Options are the keys of the manifest that describe a sandbox, such as `image`, `env` and
    `limits`, with `timeout` for `timeout_seconds`, and `leaks`. Options of the marker `isosmoke`
    apply to all commands of a test. A leftover process makes the test fail, unless `leaks` allows
    it.
    """
    marker = request.node.get_closest_marker("isosmoke")
    defaults = marker.kwargs if marker else {}
    name = re.sub("[^A-Za-z0-9_]+", "-", request.node.nodeid).strip("-")[-_NAME_LENGTH:]
    numbers = count(1)

    def run(*argv: str, **options: Any) -> CommandResult:
        from isosmoke.pytest_plugin.session import CommandResult

        __tracebackhide__ = True
        report = _attempt(request.config, f"{name}-{next(numbers)}", argv, {**defaults, **options})
        if isinstance(report, str) or _fails_test(report):
            pytest.fail(report if isinstance(report, str) else report.text)
        return CommandResult.from_result(report.result)

    return run


def _attempt(
    config: pytest.Config, name: str, argv: tuple[str, ...], options: dict[str, Any]
) -> ScenarioReport | str:
    """Run a command and return its report, or an error if it could not be run."""
    from isosmoke.errors import IsosmokeError
    from isosmoke.pytest_plugin.session import build_scenario

    try:
        scenario = build_scenario(name, argv, options)
        with _hold_locks(config, scenario):
            return _get_runs(config).run(None, scenario, argv)
    except IsosmokeError as error:
        return _format_error(error)


def _fails_test(report: ScenarioReport) -> bool:
    attempt = report.result.reported_attempt
    return report.result.is_infrastructure or (attempt.leak_blocks and bool(attempt.leaks))
