"""What doctor tries: that it finds what holds, and what does not."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest

from isosmoke.engines.base import Engine, Facts, Sandbox
from isosmoke.engines.bubblewrap import cgroup
from isosmoke.errors import EngineError
from isosmoke.execution import engine_trials
from isosmoke.execution.engine_trials import MissingFeature, ProbeResult
from isosmoke.host.caller_process import Caller
from isosmoke.sandbox.spec import Limits, SandboxSpec
from isosmoke.testing import Act, FakeEngine
from support import available

ALL = ProbeResult(memory_limit=True, processes_limit=True, host_network=True)


class Misled:
    """A good engine that is told to make something else."""

    def __init__(self, good: Engine, mislead: Callable[[SandboxSpec], SandboxSpec]) -> None:
        self._good, self._mislead = good, mislead
        self.name = self.description = "misled"

    def preflight(self) -> None:
        self._good.preflight()

    def facts(self) -> Facts:
        return self._good.facts()

    def image_digest(self, image: str) -> str:
        return self._good.image_digest(image)

    def sandbox(self, spec: SandboxSpec) -> AbstractContextManager[Sandbox]:
        return self._good.sandbox(self._mislead(spec))

    def sweep(self) -> tuple[str, ...]:
        return ()


@pytest.mark.parametrize("name", available.NAMES)
def test_what_holds_is_found(name: str) -> None:
    """On an engine with control groups that can be used, all that is tried holds."""
    if set(cgroup.parents()) != {"memory", "pids"}:
        pytest.skip("no control group can be made here")
    assert engine_trials.probe_engine(available.engine(name), Caller.here()) == ALL


def test_limits_without_effect_are_found() -> None:
    """An engine that sets no limit is found out, for each of them."""
    engine = Misled(available.engine("docker"), lambda spec: replace(spec, limits=Limits()))
    if Caller.here().uid != 0:
        pytest.skip("the keeper limits an ordinary user's processes by itself")

    seen = engine_trials.probe_engine(engine, Caller.here())

    assert (seen.memory_limit, seen.processes_limit) == (False, False)


def test_another_network_is_found() -> None:
    """An engine whose host network is not this machine's is found out."""
    engine = Misled(available.engine("bubblewrap"), lambda spec: replace(spec, network="isolated"))

    assert not engine_trials.probe_engine(engine, Caller.here()).host_network


@pytest.mark.parametrize(
    ("act", "words"),
    [(Act(refuses="no room"), "no room"), (Act(leaves="a box"), "a box"), (Act(broken="x"), "x")],
)
def test_engine_that_makes_no_sandbox_has_no_findings(act: Act, words: str) -> None:
    """What breaks, or stays behind, is an error in its own words and never a finding."""
    with pytest.raises(EngineError, match=words):
        engine_trials.probe_engine(FakeEngine({"doctor": act}), Caller.here())


FACTS = Facts(version="1", where="/x", reason="r", rootless=False, cgroup=2)


@pytest.mark.parametrize(
    ("facts", "seen", "hints"),
    [
        (FACTS, ALL, []),
        (FACTS, replace(ALL, host_network=False), ["--engine bubblewrap"]),
        (FACTS, replace(ALL, memory_limit=False), ["enable the controllers"]),
        (replace(FACTS, cgroup=None), replace(ALL, memory_limit=False), ["--engine docker"]),
        (
            replace(FACTS, rootless=True, cgroup=1),
            replace(ALL, memory_limit=False, processes_limit=False),
            ["unified_cgroup_hierarchy=1"] * 2,
        ),
    ],
)
def test_what_is_missing_has_a_remedy(facts: Facts, seen: ProbeResult, hints: list[str]) -> None:
    """Each thing that does not hold is named, with what mends it on that engine."""
    found: list[MissingFeature] = list(engine_trials.missing_features(facts, seen))

    assert len(found) == len(hints)
    assert all(hint in one.hint for hint, one in zip(hints, found, strict=True))


def test_facts_are_the_engines_own() -> None:
    """Bubblewrap tells the version of the very program that it runs."""
    facts = available.engine("bubblewrap").facts()

    assert facts.where in available.engine("bubblewrap").description
    assert facts.version[0].isdecimal()
