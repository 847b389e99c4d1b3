"""The checks that precede a run, made once for each engine and image."""

import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import field, replace
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.engines import ENGINES, select_engine_name
from isosmoke.engines.base import AnticipatingEngine, Engine, EngineInfo
from isosmoke.errors import BinaryError, LeftBehindError
from isosmoke.execution.request import Request
from isosmoke.execution.trials.binary_trial import BinaryCheck
from isosmoke.host import binary, workspace_directories
from isosmoke.host.binary import Binary
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Scenario
from isosmoke.runner.job_builder import RunContext
from isosmoke.sandbox.spec import SandboxSpec


class EnginePool:
    """The engines of a run, each created and checked once."""

    def __init__(self, option: str) -> None:
        self._option = option
        self._engines: dict[str, Engine] = {}
        self._infos: dict[str, EngineInfo] = {}
        self._sweep_failures: list[str] = []
        self._names: dict[str, None] = {}

    def get_engine_name(self, scenario: Scenario) -> str:
        """Return the name of the engine that runs `scenario`."""
        return select_engine_name(self._option, scenario.image, scenario.folder)

    def engine_for(self, scenario: Scenario) -> Engine:
        """Return the engine of a scenario that was prepared."""
        return self._engines[self.get_engine_name(scenario)]

    def prepare(self, scenarios: Sequence[Scenario]) -> None:
        """Create and check the engines of these scenarios, and remove the remains of dead runs.

        Raises:
            EngineUnavailableError: if an engine cannot create sandboxes.
        """
        self.select(scenarios)
        for name in dict.fromkeys(map(self.get_engine_name, scenarios)):
            if name not in self._engines:
                engine = ENGINES[name]()
                engine.preflight()
                self._sweep(engine)
                self._engines[name] = engine
        for name in {
            self.get_engine_name(scenario) for scenario in scenarios if _list_limits(scenario)
        }:
            self._infos[name] = self._infos.get(name) or self._engines[name].facts()

    def select(self, scenarios: Sequence[Scenario]) -> None:
        """Note the names of the engines of these scenarios, without creating the engines."""
        self._names.update(dict.fromkeys(map(self.get_engine_name, scenarios)))

    def _sweep(self, engine: Engine) -> None:
        """Remove the remains of dead runs; record a failure, which changes no verdict."""
        try:
            engine.sweep()
        except LeftBehindError as error:
            message = f"remains of a dead run could not be removed: {error.message}"
            self._sweep_failures.append(message)

    @contextmanager
    def expecting(self, engine: Engine, specs: Sequence[SandboxSpec], ahead: int) -> Iterator[None]:
        """Let an engine create up to `ahead` of these sandboxes before they are needed.

        One that remains unused and cannot be removed changes no verdict, but is noted.
        """
        if not isinstance(engine, AnticipatingEngine):
            yield
            return
        with ExitStack() as unused:
            unused.enter_context(engine.expecting(specs, ahead))
            yield
            try:
                unused.close()
            except LeftBehindError as error:
                message = f"an unused sandbox could not be removed: {error.message}"
                self._sweep_failures.append(message)

    @property
    def sweep_failures(self) -> Sequence[str]:
        """Messages about remains of dead runs that could not be removed."""
        return self._sweep_failures

    def list_unsupported_limits(self, scenarios: Iterable[Scenario]) -> Iterator[str]:
        """Yield a message for each limit that a scenario requests and its engine cannot set."""
        for scenario in scenarios:
            for limit in _list_limits(scenario):
                name = self.get_engine_name(scenario)
                if name in self._infos and limit not in self._infos[name].limits:
                    effect = f"limits.{limit} has no effect on {name} here"
                    yield f"{effect}: run isosmoke doctor for details"

    @property
    def names(self) -> str:
        """The names of the engines in use, joined by `+`."""
        return "+".join(self._names)


def _list_limits(scenario: Scenario) -> tuple[str, ...]:
    """Return the names of the limits that an engine has to set; the keeper sets all others."""
    limits = {"memory": scenario.limits.memory, "processes": scenario.limits.processes}
    return tuple(name for name, limit in limits.items() if limit is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """The engines and the context of a run, with the checks that precede its scenarios.

    If it `is_placed`, the workers of a place check the engines and the binary. `checked` has the
    images and engines in which the binary was started, and the version that it gave, or an empty
    text. With `recalls`, a binary that is known to
    start is not started again.
    """

    engines: EnginePool
    context: RunContext
    interrupt: Interrupt
    is_placed: bool = False
    checked: dict[tuple[str, str], str] = field(default_factory=dict)
    recalls: bool = False

    def check(self, scenarios: Sequence[Scenario]) -> None:
        """Raise an error unless these scenarios can be run.

        The binary is started once in each image, because a binary that does not fit an image is not
        a failure of the scenario.

        Raises:
            IsosmokeError: if an engine is unavailable, the binary cannot run in an image, or there
                are far too many secrets.
        """
        for scenario in scenarios:
            self.context.redactor(scenario)
        if self.is_placed:
            self.engines.select(scenarios)
            return
        self.engines.prepare(scenarios)
        if self.context.binary is None:
            return
        for scenario in scenarios:
            key = (scenario.image, self.engines.get_engine_name(scenario))
            if key not in self.checked:
                self.checked[key] = self._check_binary(self.context.binary, scenario)

    @property
    def binary_version(self) -> str:
        """The version that the binary gave when it was checked; empty if it is unknown."""
        return next(filter(None, self.checked.values()), "")

    def create_binary_check(self, scenario: Scenario) -> BinaryCheck:
        """Return a check of the binary in the image of a scenario."""
        engine = self.engines.engine_for(scenario)
        return BinaryCheck(
            scenario=scenario, context=self.context, engine=engine, interrupt=self.interrupt
        )

    def _check_binary(self, tested: Binary, scenario: Scenario) -> str:
        """Return the version of a binary that starts in the image of a scenario, or empty text."""
        check = self.create_binary_check(scenario)
        if not self.recalls or (start := check.identify_start()) is None:
            return _require_start(tested, check)
        from isosmoke.rootfs_images import known_starts

        version = known_starts.recall(start)
        if version is None:
            version = _require_start(tested, check)
            known_starts.keep(start, version)
        return version


def _require_start(tested: Binary, check: BinaryCheck) -> str:
    answer = check.ask()
    if answer.problem:
        raise BinaryError(
            f"{tested.source} cannot run in image '{check.scenario.image}': {answer.problem}",
            hint="build it for that system, or choose an image with its libraries",
        )
    return answer.version


def build_context(
    caller: Caller,
    manifest: Path | None,
    binary_option: str | None,
    command: tuple[str, ...] = (),
    *,
    copies: Path | None = None,
    recall: bool = False,
) -> RunContext:
    """Return the context of a run: its workspace and the binary under test, if there is one.

    `command` replaces the scripts; some of its arguments may be paths. `copies` is a tree with
    copies of files at their own paths. With `recall`, a binary whose hash is known is not read, and
    known tools are not searched for.

    Raises:
        BinaryError: if the binary is missing or cannot run on this machine.
    """
    directory = manifest and manifest.resolve().parent
    path = binary.find(binary_option, caller.environment)
    workspace = workspace_directories.add_mount_points(
        workspace_directories.find_workspace(caller.working, directory, home=caller.home)
    )
    named = _list_named_paths(caller, manifest, command)
    return RunContext(
        caller=caller,
        workspace=workspace_directories.add_links(workspace, named, caller.home),
        binary=None if path is None else _check_and_store_binary(path, recall=recall),
        copies=copies,
        command=command,
        recalls=recall,
    )


def _list_named_paths(
    caller: Caller, manifest: Path | None, arguments: Iterable[str]
) -> Iterator[Path]:
    """Yield the absolute paths under which the caller knows the workspace."""
    if manifest:
        yield caller.working / manifest
    for text in (caller.environment.get("PWD", ""), *arguments):
        if text.startswith("/"):
            yield Path(text)


def _check_and_store_binary(path: Path, *, recall: bool) -> Binary:
    binary.check_format(path, platform.machine())
    return binary.take(path, recall=recall)


def run_preflight(request: Request, caller: Caller, interrupt: Interrupt) -> Preflight:
    """Check everything that a request needs, and return the engines and the context.

    Raises:
        IsosmokeError: if the request cannot be run.
    """
    preflight = _prepare(request, caller, interrupt)
    preflight.check(request.scenarios)
    if request.place is not None:
        from isosmoke.execution.places import known_secrets, placed_attempts

        known = known_secrets.find(request.manifest, request.scenarios, caller)
        placed_attempts.check_scenarios(request.scenarios, preflight.context, request.place, known)
    return preflight


def prepare_binary_check(request: Request, caller: Caller, interrupt: Interrupt) -> BinaryCheck:
    """Return a check of the binary in the image of the request's only scenario."""
    return _prepare(request, caller, interrupt).create_binary_check(request.scenarios[0])


def _prepare(request: Request, caller: Caller, interrupt: Interrupt) -> Preflight:
    engines = EnginePool(request.engine)
    if request.place is None:
        engines.prepare(request.scenarios)
    context = build_context(
        caller,
        request.manifest,
        request.binary,
        request.argv,
        copies=request.copies,
        recall=request.recalls,
    )
    context = replace(context, keeps_caches=request.keeps_caches, stand_ins=request.stand_ins)
    return Preflight(
        engines=engines,
        context=context,
        interrupt=interrupt,
        is_placed=request.place is not None,
        recalls=request.recalls,
    )
