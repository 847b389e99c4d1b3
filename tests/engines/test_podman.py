"""Podman with services of the tests' own: what only Podman could get wrong."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from isosmoke.engines.podman import PodmanEngine
from isosmoke.errors import ImageError
from isosmoke.results.outcome import Broke, Exited
from isosmoke.testing.bench import Bench, run
from support import available
from support.paths import TESTS
from support.podman_service import Service, service, subordinate
from support.project import GOOD, Project
from support.root_filesystems import small

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
        limits = PodmanEngine().companions.ulimits

    assert {one["Name"] for one in limits} == {"nofile", "nproc"}


IMAGE = "localhost/isosmoke-tests/bound:1"


def import_image(made: Service, system: Path) -> str:
    """Give a Podman service the image `IMAGE` with this content, and return its digest."""
    archive = subprocess.run(["tar", "-C", system, "-c", "."], capture_output=True, check=True)
    done = subprocess.run(
        made.podman("import", "--quiet", "-", IMAGE),
        env=made.environment,
        cwd=made.folder,
        input=archive.stdout,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().strip().removeprefix("sha256:")


def test_gate_on_podman_is_bound_to_podmans_image(tmp_path: Path) -> None:
    """It opens without any Docker; a receipt holds until Podman's own image is another one."""
    system = small(tmp_path / "system", "sh")
    project = Project.within(tmp_path, GOOD + f'image = "{IMAGE}"\n')
    project.path("scenarios/good.sh").write_text("exit 0\n")
    with service(available.me(), "runc") as made:
        without_docker = {
            "CONTAINER_HOST": f"unix://{made.socket}",
            "DOCKER_HOST": f"unix://{tmp_path}/no-docker.sock",
        }
        digest = import_image(made, system)

        gate = project.run("gate", "task-a", "--engine", "podman", **without_docker)

        assert gate.returncode == 0, gate.stdout + gate.stderr
        (file,) = project.receipts()
        assert digest in file.read_text()
        verify = ("receipt", "verify", str(file))
        assert project.run(*verify, **without_docker).returncode == 0

        (system / "var/kept/more").touch()
        assert import_image(made, system) != digest

        broken = project.run(*verify, **without_docker)
        assert (broken.returncode, f"image {IMAGE} changed" in broken.stdout) == (1, True)
        assert made.containers() == []


def test_image_that_podman_lacks_is_named_with_what_gets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error is about Podman's images, whatever Docker has."""
    with service(available.me(), "runc") as made:
        monkeypatch.setenv(*made.client.variables[0])
        with pytest.raises(ImageError, match="podman has no image 'debian:no-such'") as caught:
            PodmanEngine().image_digest("debian:no-such")
    assert caught.value.hint.startswith("podman pull debian:no-such")
