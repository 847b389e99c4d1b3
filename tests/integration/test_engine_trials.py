"""The probes of `isosmoke doctor`: features that work and features that do not."""

import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from signal import SIGKILL, SIGTERM, SIGUSR1, SIGUSR2

import pytest

from isosmoke.engines.base import Engine, EngineInfo, Sandbox
from isosmoke.engines.bubblewrap import group_places
from isosmoke.errors import EngineError
from isosmoke.execution.trials import engine_trials
from isosmoke.execution.trials.engine_trials import MissingFeature, ProbeResult
from isosmoke.host.caller_process import Caller
from isosmoke.sandbox.spec import ResourceLimits, SandboxSpec
from isosmoke.testing import Act, FakeEngine
from support import available

ALL_FEATURES = ProbeResult(memory_limit=True, processes_limit=True, host_network=True)


class AlteringEngine:
    """A working engine whose sandbox specifications are altered."""

    def __init__(self, engine: Engine, alter: Callable[[SandboxSpec], SandboxSpec]) -> None:
        self._engine, self._alter = engine, alter
        self.name = self.description = "altering"
        self.is_local = engine.is_local

    def preflight(self) -> None:
        self._engine.preflight()

    def facts(self) -> EngineInfo:
        return self._engine.facts()

    def image_digest(self, image: str) -> str:
        return self._engine.image_digest(image)

    def sandbox(self, spec: SandboxSpec) -> AbstractContextManager[Sandbox]:
        return self._engine.sandbox(self._alter(spec))

    def sweep(self) -> tuple[str, ...]:
        return ()


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_working_features_are_detected(name: str) -> None:
    """Every feature works on an engine with usable control groups."""
    if set(group_places.find_parents()) != {"memory", "pids"}:
        pytest.skip("no control group can be created here")
    assert (
        engine_trials.probe_engine(available.require_engine(name), Caller.current()) == ALL_FEATURES
    )


def test_limits_without_effect_are_detected() -> None:
    """An engine that sets no limits is detected, for each limit."""
    engine = AlteringEngine(
        available.require_engine("docker"), lambda spec: replace(spec, limits=ResourceLimits())
    )
    if Caller.current().uid != 0:
        pytest.skip("the keeper limits an ordinary user's processes by itself")

    probe = engine_trials.probe_engine(engine, Caller.current())

    assert (probe.memory_limit, probe.processes_limit) == (False, False)


def test_isolated_network_is_detected() -> None:
    """An engine whose host network is not that of this machine is detected."""
    engine = AlteringEngine(
        available.require_engine("bubblewrap"), lambda spec: replace(spec, network="isolated")
    )

    assert not engine_trials.probe_engine(engine, Caller.current()).host_network


@pytest.mark.parametrize(
    ("act", "message"),
    [(Act(refuses="no room"), "no room"), (Act(leaves="a box"), "a box"), (Act(broken="x"), "x")],
)
def test_failing_sandbox_is_an_error(act: Act, message: str) -> None:
    """A sandbox that fails or cannot be removed is an error, and never a result of a probe."""
    with pytest.raises(EngineError, match=message):
        engine_trials.probe_engine(FakeEngine({"doctor": act}), Caller.current())


def play_trials(act: Act) -> ProbeResult:
    """Return the result of probes that all end like `act`, on a host network."""
    return engine_trials.probe_engine(FakeEngine({"doctor": act}), Caller.current())


def test_memory_limit_holds_only_if_it_killed_a_process() -> None:
    """A failure for another reason, such as an OOM killer elsewhere, proves nothing."""
    killed = Act(status=137 << 8, reached_limits=frozenset({"memory"}))

    assert play_trials(killed).memory_limit is True
    assert play_trials(Act(status=0)).memory_limit is False
    assert play_trials(Act(status=137 << 8)).memory_limit is None
    assert play_trials(Act(status=SIGKILL)).memory_limit is None


def test_processes_limit_holds_only_if_a_process_was_refused() -> None:
    """A script that ended in another way proves nothing, whether it is slow or broken."""
    assert play_trials(Act(status=SIGUSR2)).processes_limit is True
    assert play_trials(Act(status=SIGUSR1)).processes_limit is False
    assert play_trials(Act(status=0)).processes_limit is None
    assert play_trials(Act(status=SIGTERM)).processes_limit is None


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize(("limit", "expected"), [(20, -SIGUSR2), (None, -SIGUSR1)])
def test_shell_tells_whether_a_process_was_refused(
    shell: str, limit: int | None, expected: int
) -> None:
    """The script of the probe ends at once, also in a shell that retries for many seconds."""
    if Caller.current().uid != 0:
        pytest.skip("the processes of an ordinary user outside the test count too")
    unused = 54321 + os.getpid()
    limits = [] if limit is None else [f"--nproc={limit}"]
    command = [
        *("setpriv", f"--reuid={unused}", "--clear-groups", f"--regid={unused}"),
        *("prlimit", *limits, "--", shell, "-c", engine_trials.EXCEED_PROCESSES),
    ]

    with subprocess.Popen(command, process_group=0, stderr=subprocess.DEVNULL) as process:
        status = process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, SIGKILL)

    assert status == expected


INFO = EngineInfo(version="1", where="/x", reason="r", rootless=False, cgroup=2)


@pytest.mark.parametrize(
    ("facts", "probe", "hints"),
    [
        (INFO, ALL_FEATURES, []),
        (INFO, replace(ALL_FEATURES, host_network=False), ["--engine bubblewrap"]),
        (INFO, replace(ALL_FEATURES, memory_limit=False), ["enable the controllers"]),
        (INFO, replace(ALL_FEATURES, memory_limit=None), ["isosmoke doctor"]),
        (INFO, replace(ALL_FEATURES, processes_limit=None), ["isosmoke doctor"]),
        (
            replace(INFO, cgroup=None),
            replace(ALL_FEATURES, memory_limit=False),
            ["--scope -p Delegate=yes isosmoke ...`, or choose --engine docker"],
        ),
        (
            replace(INFO, rootless=True, cgroup=1),
            replace(ALL_FEATURES, memory_limit=False, processes_limit=False),
            ["unified_cgroup_hierarchy=1"] * 2,
        ),
    ],
)
def test_missing_feature_has_a_hint(
    facts: EngineInfo, probe: ProbeResult, hints: list[str]
) -> None:
    """Each missing feature has a hint that enables it on that engine."""
    features: list[MissingFeature] = list(engine_trials.find_missing_features(facts, probe))

    assert len(features) == len(hints)
    assert all(hint in feature.hint for hint, feature in zip(hints, features, strict=True))


def test_info_is_that_of_the_engine() -> None:
    """Bubblewrap reports the version of the program that it runs."""
    facts = available.require_engine("bubblewrap").facts()

    assert facts.where in available.require_engine("bubblewrap").description
    assert facts.version[0].isdecimal()
