"""Containers for the tests of other projects: the live binary in them, and no leaks."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from isosmoke.errors import EngineError
from isosmoke.testing.containers import LeakError, WgContainer
from support import available, docker_images


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield an image with one static program, or skip without Docker."""
    available.require_engine("docker")
    with docker_images.imported_image(tmp_path_factory.mktemp("containers")) as name:
        yield name


@pytest.fixture
def wg(tmp_path: Path) -> str:
    """Return a live binary that needs no files of an image."""
    return str(docker_images.compile_companion(tmp_path / "wg-live"))


def test_commands_find_live_binary(image: str, wg: str) -> None:
    """The binary exists under its own name and as wg, and commands return their result."""
    with WgContainer(image, wg=wg).with_env("GREETING", "hi") as container:
        own = container.run(["wg-live", "fail"])
        known = container.run(["wg", "check"])

    assert (own.exit_code, own.stderr) == (3, "no license\n")
    assert own.stdout == f"companion fail as user {os.getuid()}\n"
    assert (known.exit_code, known.stderr) == (1, "")


def test_leak_is_error_at_stop(image: str, wg: str) -> None:
    """A leftover process is named when the container stops, and is gone."""
    with (
        pytest.raises(LeakError) as caught,
        WgContainer(image, wg=wg, settle_seconds=0.2) as container,
    ):
        assert container.run(["wg", "leave"]).exit_code == 0

    (process,) = caught.value.processes
    assert process.argv == ("/run/isosmoke/bin/wg", "deaf")
    assert str(caught.value).startswith("1 leaked in the container:\n  pid ")


def test_leaks_can_be_checked_before_stop(image: str, wg: str) -> None:
    """A test may check for leaks before the end, and continue."""
    container = WgContainer(image, wg=wg, settle_seconds=0.2).start()
    container.assert_no_leaks()
    container.run(["wg", "leave"])

    with pytest.raises(LeakError):
        container.assert_no_leaks()
    assert container.run(["wg", "fail"]).exit_code == 3
    with pytest.raises(LeakError):
        container.stop()
    with pytest.raises(EngineError, match="not running"):
        container.run(["wg"])


def test_failure_of_test_takes_precedence(image: str, wg: str) -> None:
    """An exception in the test is raised, whatever processes are left."""

    def fail() -> None:
        with WgContainer(image, wg=wg) as container:
            container.run(["wg", "leave"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_command_that_takes_too_long_raises(image: str, wg: str) -> None:
    """After a timeout or a failed start the next command runs."""
    with WgContainer(image, wg=wg) as container:
        with pytest.raises(TimeoutError, match=r"wg took more than 0\.2 s"):
            container.run(["wg", "deaf"], seconds=0.2)
        with pytest.raises(EngineError, match="nosuch: No such file"):
            container.run(["nosuch"])
        assert container.run(["wg", "fail"]).exit_code == 3


def test_logs_are_output_of_last_command(image: str, wg: str) -> None:
    """The logs do not include messages of the keeper, and the daemon keeps none."""
    with WgContainer(image, wg=wg) as container:
        assert container.get_logs() == (b"", b"")
        container.run(["wg", "--version"])
        container.run(["wg", "fail"])
        logs = container.get_logs()
        driver = container.get_wrapped_container().attrs["HostConfig"]["LogConfig"]["Type"]

    assert logs == (f"companion fail as user {os.getuid()}\n".encode(), b"no license\n")
    assert driver == "none"


def test_ports_are_those_of_host(image: str, wg: str) -> None:
    """A listener of a command is reached at the host's own address and port."""
    with WgContainer(image, wg=wg, settle_seconds=0) as container:
        assert (container.get_container_host_ip(), container.get_exposed_port(7000)) == (
            "127.0.0.1",
            7000,
        )


def test_missing_image_is_not_pulled(wg: str) -> None:
    """A missing image is named, with a hint to get it."""
    available.require_engine("docker")
    with pytest.raises(EngineError, match="image 'isosmoke-tests/no:1' is not present"):
        WgContainer("isosmoke-tests/no:1", wg=wg).start()
