"""Containers for other people's tests: the live binary in them, and nothing left in them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from isosmoke.errors import EngineError
from isosmoke.testing.containers import LeakError, WgContainer
from support import available, docker_images


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image with one static program, or a loud skip."""
    available.engine("docker")
    with docker_images.image(tmp_path_factory.mktemp("containers")) as name:
        yield name


@pytest.fixture
def wg(tmp_path: Path) -> str:
    """A live binary that needs nothing of an image."""
    return str(docker_images.compiled(tmp_path / "wg-live"))


def test_commands_run_beside_the_live_binary(image: str, wg: str) -> None:
    """The binary is there under its own name and as wg; commands tell how they ended, and more."""
    with WgContainer(image, wg=wg).with_env("GREETING", "hi") as box:
        own = box.run(["wg-live", "fail"])
        known = box.run(["wg", "check"])

    assert (own.exit_code, own.stderr) == (3, "no license\n")
    assert own.stdout == f"companion fail as user {os.getuid()}\n"
    assert (known.exit_code, known.stderr) == (1, "")


def test_what_is_left_is_an_error_at_the_end(image: str, wg: str) -> None:
    """A process that a command leaves behind is named when the container stops, and is gone."""
    with pytest.raises(LeakError) as caught, WgContainer(image, wg=wg, settle_seconds=0.2) as box:
        assert box.run(["wg", "leave"]).exit_code == 0

    (process,) = caught.value.processes
    assert process.argv == ("/run/isosmoke/bin/wg", "deaf")
    assert str(caught.value).startswith("1 left in the container:\n  pid ")


def test_leaks_can_be_asked_for_meanwhile(image: str, wg: str) -> None:
    """A test may look before the end, and go on."""
    box = WgContainer(image, wg=wg, settle_seconds=0.2).start()
    box.assert_no_leaks()
    box.run(["wg", "leave"])

    with pytest.raises(LeakError):
        box.assert_no_leaks()
    assert box.run(["wg", "fail"]).exit_code == 3
    with pytest.raises(LeakError):
        box.stop()
    with pytest.raises(EngineError, match="not running"):
        box.run(["wg"])


def test_a_tests_own_failure_is_not_hidden(image: str, wg: str) -> None:
    """What a test failed with comes out, whatever it left behind."""

    def failing() -> None:
        with WgContainer(image, wg=wg) as box:
            box.run(["wg", "leave"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()


def test_a_command_that_takes_too_long_is_told(image: str, wg: str) -> None:
    """A command is ended after its time, and so is one that was never there; the next one runs."""
    with WgContainer(image, wg=wg) as box:
        with pytest.raises(TimeoutError, match=r"wg took more than 0\.2 s"):
            box.run(["wg", "deaf"], seconds=0.2)
        with pytest.raises(EngineError, match="nosuch: No such file"):
            box.run(["nosuch"])
        assert box.run(["wg", "fail"]).exit_code == 3


def test_its_logs_are_what_the_last_command_printed(image: str, wg: str) -> None:
    """Not the keeper's own words, of which the daemon keeps none."""
    with WgContainer(image, wg=wg) as box:
        assert box.get_logs() == (b"", b"")
        box.run(["wg", "--version"])
        box.run(["wg", "fail"])
        logs = box.get_logs()
        driver = box.get_wrapped_container().attrs["HostConfig"]["LogConfig"]["Type"]

    assert logs == (f"companion fail as user {os.getuid()}\n".encode(), b"no license\n")
    assert driver == "none"


def test_its_ports_are_the_hosts(image: str, wg: str) -> None:
    """What a command listens on is reached as on this machine: the network is the same."""
    with WgContainer(image, wg=wg, settle_seconds=0) as box:
        assert (box.get_container_host_ip(), box.get_exposed_port(7000)) == ("127.0.0.1", 7000)


def test_an_image_that_is_not_here_is_not_pulled(wg: str) -> None:
    """What is missing is said, with what would bring it."""
    available.engine("docker")
    with pytest.raises(EngineError, match="no image 'isosmoke-tests/no:1' here"):
        WgContainer("isosmoke-tests/no:1", wg=wg).start()
