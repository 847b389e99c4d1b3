"""Podman engine with services that belong to the tests: behaviour that is specific to Podman."""

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
from support.podman_service import Service, find_subordinate_user, service
from support.project import GOOD, Project
from support.root_filesystems import create_small

CONTRACT = TESTS / "engines" / "test_contract.py"
COLLECTION = TESTS / "integration" / "test_evidence_collection.py"
NAMESPACE_CHECKS = (
    "fresh",
    "copy_on_write",
    "layer_above",
    "is_found",
    "network",
    "user_is_the_caller",
    "no_privilege",
    "seen_with_all",
    "limit_of",
    "nothing_survives",
    "swept",
)
"""The contract checks that a user namespace could break; `engine_table.py` runs all checks."""


@pytest.mark.parametrize("create_user", [available.current_user, find_subordinate_user])
def test_podman_keeps_the_contract(create_user: Callable[[], available.User]) -> None:
    """Services of root and of an ordinary user pass the checks and have no leftover container."""
    with service(create_user(), "runc") as podman_service:
        checks = (
            f"keeps_the_contract and podman and not ordinary and ({' or '.join(NAMESPACE_CHECKS)})"
        )
        result = podman_service.client.pytest(str(CONTRACT), "-k", checks)

        assert result.returncode == 0, result.stdout
        assert " passed" in result.stdout
        assert " skipped" not in result.stdout
        assert podman_service.list_containers() == []


def test_changes_of_rootless_podman_are_found() -> None:
    """Changes can be read, whichever user namespace the overlays belong to."""
    with service(find_subordinate_user(), "runc") as podman_service:
        result = podman_service.client.pytest(
            str(COLLECTION), "-k", "podman and (changes_ or commit)"
        )

        assert result.returncode == 0, result.stdout
        assert " passed" in result.stdout
        assert " skipped" not in result.stdout


def test_crun_on_hybrid_cgroups_has_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If crun refuses the machine, the scenario breaks with the setting to change."""
    if os.getuid() != 0 or not shutil.which("crun"):
        pytest.skip("it needs root and crun")
    with service(available.current_user(), "crun") as podman_service:
        monkeypatch.setenv(*podman_service.client.variables[0])
        ending = run(PodmanEngine(), Bench(tmp_path).shell(":")).ending
        leftover = podman_service.list_containers()

    if ending == Exited(0):
        pytest.skip("crun works here")
    assert isinstance(ending, Broke)
    assert 'runtime = "runc"' in ending.message
    assert leftover == []


def test_podman_services_have_limits_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Podman's own defaults may exceed what its service may set, and then nothing starts."""
    with service(available.current_user(), "runc") as podman_service:
        monkeypatch.setenv(*podman_service.client.variables[0])
        limits = PodmanEngine().companions.ulimits

    assert {limit["Name"] for limit in limits} == {"nofile", "nproc"}


IMAGE = "localhost/isosmoke-tests/bound:1"


def import_image(podman_service: Service, root: Path) -> str:
    """Import the image `IMAGE` with this content into a Podman service, and return its digest."""
    archive = subprocess.run(["tar", "-C", root, "-c", "."], capture_output=True, check=True)
    result = subprocess.run(
        podman_service.podman("import", "--quiet", "-", IMAGE),
        env=podman_service.environment,
        cwd=podman_service.folder,
        input=archive.stdout,
        capture_output=True,
        check=True,
    )
    return result.stdout.decode().strip().removeprefix("sha256:")


def test_gate_on_podman_is_bound_to_its_image(tmp_path: Path) -> None:
    """The gate opens without Docker; a receipt is valid until Podman's image changes."""
    system = create_small(tmp_path / "system", "sh")
    project = Project.within(tmp_path, GOOD + f'image = "{IMAGE}"\n')
    project.path("scenarios/good.sh").write_text("exit 0\n")
    with service(available.current_user(), "runc") as podman_service:
        without_docker = {
            "CONTAINER_HOST": f"unix://{podman_service.socket}",
            "DOCKER_HOST": f"unix://{tmp_path}/no-docker.sock",
        }
        digest = import_image(podman_service, system)

        gate = project.run("gate", "task-a", "--engine", "podman", **without_docker)

        assert gate.returncode == 0, gate.stdout + gate.stderr
        (file,) = project.receipts()
        assert digest in file.read_text()
        verify = ("receipt", "verify", str(file))
        assert project.run(*verify, **without_docker).returncode == 0

        (system / "var/kept/more").touch()
        assert import_image(podman_service, system) != digest

        broken = project.run(*verify, **without_docker)
        assert (broken.returncode, f"image {IMAGE} changed" in broken.stdout) == (1, True)
        assert podman_service.list_containers() == []


def test_missing_podman_image_has_a_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error refers to Podman's images, whether or not Docker has the image."""
    with service(available.current_user(), "runc") as podman_service:
        monkeypatch.setenv(*podman_service.client.variables[0])
        with pytest.raises(ImageError, match="podman has no image 'debian:no-such'") as caught:
            PodmanEngine().image_digest("debian:no-such")
    assert caught.value.hint.startswith("podman pull debian:no-such")
