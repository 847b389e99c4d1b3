"""Podman with services of the tests' own: what only Podman could get wrong."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from isosmoke.engines.podman import PodmanEngine
from isosmoke.results.outcome import Broke, Exited
from isosmoke.testing.bench import Bench, run
from support import available
from support.paths import TESTS
from support.podman_service import service, subordinate

CONTRACT = TESTS / "engines" / "test_contract.py"
COLLECTION = TESTS / "integration" / "test_evidence_collection.py"
TELLING = (
    "fresh",
    "copy_on_write",
    "is_found",
    "network",
    "user_is_the_caller",
    "no_privilege",
    "seen_with_all",
    "limit_of",
    "nothing_survives",
    "swept",
)
"""Of the contract, what a user namespace could break; `engine_table.py` tries all of it."""


@pytest.mark.parametrize("find", [available.me, subordinate])
def test_podman_keeps_the_contract(find: Callable[[], available.User]) -> None:
    """Root's service, and an ordinary user's, make the same sandboxes and are left with none."""
    with service(find(), "runc") as made:
        checks = f"keeps_the_contract and podman and not ordinary and ({' or '.join(TELLING)})"
        done = made.client.pytest(str(CONTRACT), "-k", checks)

        assert done.returncode == 0, done.stdout
        assert " passed" in done.stdout
        assert " skipped" not in done.stdout
        assert made.containers() == []


def test_rootless_podman_keeps_its_changes_where_they_are_found() -> None:
    """What changed in a sandbox can be read, whichever user namespace its overlays belong to."""
    with service(subordinate(), "runc") as made:
        done = made.client.pytest(str(COLLECTION), "-k", "podman and (changes_ or commit)")

        assert done.returncode == 0, done.stdout
        assert " passed" in done.stdout
        assert " skipped" not in done.stdout


def test_crun_on_hybrid_cgroups_is_told_with_what_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where crun refuses the machine, the scenario breaks with the setting that helps."""
    if os.getuid() != 0 or not shutil.which("crun"):
        pytest.skip("it needs root and crun")
    with service(available.me(), "crun") as made:
        monkeypatch.setenv(*made.client.variables[0])
        ending = run(PodmanEngine(), Bench(tmp_path).shell(":")).ending
        left = made.containers()

    if ending == Exited(0):
        pytest.skip("crun works here")
    assert isinstance(ending, Broke)
    assert 'runtime = "runc"' in ending.message
    assert left == []


def test_services_on_podman_have_the_callers_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own defaults may be beyond what its service may set, and then nothing starts."""
    with service(available.me(), "runc") as made:
        monkeypatch.setenv(*made.client.variables[0])
        limits = PodmanEngine().ulimits

    assert {one["Name"] for one in limits} == {"nofile", "nproc"}
