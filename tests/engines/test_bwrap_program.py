"""Selection of bwrap, and the hints if none works."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from isosmoke import __version__
from isosmoke.engines.bubblewrap import bwrap_program
from isosmoke.engines.bubblewrap.bwrap_program import Program
from isosmoke.engines.bubblewrap.engine import BubblewrapEngine
from isosmoke.errors import EngineUnavailableError
from isosmoke.keeper import LAUNCHER_FILE
from isosmoke.results.outcome import Broke, Exited
from isosmoke.testing import Bench
from isosmoke.testing.bench import run
from support import available


@pytest.fixture
def fresh_search() -> Iterator[None]:
    """Clear the cached result of the search for bwrap before and after the test."""
    bwrap_program.find_program.cache_clear()
    yield
    bwrap_program.find_program.cache_clear()


def write_program(path: Path, script: str) -> Path:
    """Write a shell script that can be executed, and return its path."""
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)
    return path


@pytest.mark.usefixtures("fresh_search")
def test_self_test_passes_with_quotes_in_the_state_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state directory with quotes in its name does not break the self-test."""
    try:
        expected = bwrap_program.find_program()
    except EngineUnavailableError as error:
        pytest.skip(f"{error} - {error.hint}")
    bwrap_program.find_program.cache_clear()
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / 'it\'s $HOME "here"'))

    assert bwrap_program.find_program() == expected


@pytest.mark.usefixtures("fresh_search")
def test_broken_bwrap_is_skipped_or_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bwrap that fails its self-test is not used; if no other works, its error is reported."""
    broken = write_program(tmp_path / "bwrap", "echo it is broken >&2\nexit 1\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        assert bwrap_program.find_program().path != str(broken)
    except EngineUnavailableError as error:
        error_and_hint = (error.message, error.hint)
        assert f"{broken}: it is broken" in error_and_hint[0]
        assert error_and_hint[1]


@pytest.mark.usefixtures("fresh_search")
def test_bwrap_without_overlays_is_no_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the version that is needed, and no option that this bwrap does not know."""
    old = write_program(tmp_path / "bwrap", "echo bubblewrap 0.8.0\n")
    monkeypatch.setenv(bwrap_program.PATH_VARIABLE, str(old))

    with pytest.raises(EngineUnavailableError) as caught:
        bwrap_program.find_program()

    assert caught.value.message == f"bubblewrap 0.11 or later is missing: {old} is 0.8.0"
    assert caught.value.hint == "install bubblewrap 0.11 or later, or use --engine docker"


@pytest.mark.usefixtures("fresh_search")
def test_refusal_has_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bwrap that is refused for an unknown reason is reported once, with its last message."""
    messages = "echo more >&2\necho bwrap: no idea why >&2\nexit 1\n"
    refused = write_program(tmp_path / "bwrap", messages)
    monkeypatch.setenv(bwrap_program.PATH_VARIABLE, str(refused))

    with pytest.raises(EngineUnavailableError) as caught:
        bwrap_program.find_program()

    assert caught.value.message.count("no idea why") == 1
    assert "\n" not in caught.value.message
    assert "more" not in caught.value.message


@pytest.mark.usefixtures("fresh_search")
def test_bwrap_without_cgroup_namespaces_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the cgroup namespace is omitted if it is refused, as inside a sandbox of isosmoke."""
    available.require_engine("bubblewrap")
    path = bwrap_program.find_installed()
    bwrap_program.find_program.cache_clear()
    refusing = write_program(
        tmp_path / "bwrap",
        f"""case " $* " in *" --unshare-cgroup-try "*) echo refused >&2; exit 1 ;; esac
        exec {path} "$@"
        """,
    )
    monkeypatch.setenv(bwrap_program.PATH_VARIABLE, str(refusing))

    assert bwrap_program.find_program().path == str(refusing)
    assert not bwrap_program.find_program().own_cgroups


@pytest.mark.parametrize("missing", ["sys_admin", "net_admin"])
def test_root_without_privileges_has_sandboxes(tmp_path: Path, missing: str) -> None:
    """In a container, root may create user namespaces only, or no interface of a network."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv (util-linux)")
    prefix = ("setpriv", f"--bounding-set=-{missing}", "--", sys.executable, "-m", "isosmoke")
    options = ("--engine", "bubblewrap", "--network", "isolated")
    done = subprocess.run(
        [*prefix, "run", *options, "--", "cat", "/proc/self/uid_map"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert ["0", "0", "1"] in [line.split() for line in done.stdout.splitlines()]


@pytest.mark.usefixtures("fresh_search")
def test_refused_network_stops_only_who_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that cannot isolate the network is used, and a sandbox with its own is refused."""
    available.require_engine("bubblewrap")
    path = bwrap_program.find_installed()
    bwrap_program.find_program.cache_clear()
    refusing = write_program(
        tmp_path / "bwrap",
        f"""case " $* " in *" --unshare-net "*) echo bwrap: loopback: no >&2; exit 1 ;; esac
        exec {path} "$@"
        """,
    )
    monkeypatch.setenv(bwrap_program.PATH_VARIABLE, str(refusing))
    engine, job = BubblewrapEngine(), Bench(tmp_path).shell(":")

    assert bwrap_program.find_program().network_refusal == "loopback: no"
    assert engine.description.endswith("no isolated network (loopback: no)")
    assert run(engine, job).ending == Exited(0)
    isolated = run(engine, replace(job, spec=replace(job.spec, network="isolated")))
    assert isinstance(isolated.ending, Broke)
    assert isolated.ending.message.startswith("no sandbox can have its own network here (loopback")


@pytest.mark.skipif(os.getuid() != 0, reason="the launcher is for root")
@pytest.mark.usefixtures("fresh_search")
def test_root_uses_the_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's sandboxes come from the launcher, unless another program is named or works only."""
    available.require_engine("bubblewrap")
    bwrap = bwrap_program.find_installed()
    assert bwrap != LAUNCHER_FILE
    assert bwrap_program.find_program() == Program(
        str(LAUNCHER_FILE), layers_on_disk=True, own_cgroups=True, own_users=False
    )
    assert bwrap_program.get_version(str(LAUNCHER_FILE)) == __version__

    bwrap_program.find_program.cache_clear()
    monkeypatch.setenv(bwrap_program.PATH_VARIABLE, str(bwrap))
    assert bwrap_program.find_program().path == str(bwrap)

    bwrap_program.find_program.cache_clear()
    monkeypatch.delenv(bwrap_program.PATH_VARIABLE)
    refusing = write_program(tmp_path / "launcher", "echo launcher: /: no call >&2; exit 1\n")
    monkeypatch.setattr(bwrap_program, "LAUNCHER_FILE", refusing)
    assert Path(bwrap_program.find_program().path).resolve() == bwrap


@pytest.mark.skipif(os.getuid() != 0, reason="the launcher is for root")
@pytest.mark.usefixtures("fresh_search")
@pytest.mark.parametrize(
    ("bwraps", "cause"),
    [
        ((), "bubblewrap 0.11 or later is missing: no bwrap is installed"),
        (("bwrap",), "bwrap cannot create a sandbox on this machine: it is broken"),
    ],
)
def test_error_has_the_causes_of_launcher_and_bwrap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bwraps: tuple[str, ...], cause: str
) -> None:
    """If none of the two can be used, the reason of each is reported."""
    launcher = write_program(tmp_path / "launcher", "echo launcher: /: no call >&2; exit 1\n")
    monkeypatch.setattr(bwrap_program, "LAUNCHER_FILE", launcher)
    found = [
        str(write_program(tmp_path / name, "echo it is broken >&2; exit 1\n")) for name in bwraps
    ]
    monkeypatch.setattr(bwrap_program, "_find_candidates", lambda: iter(found))

    with pytest.raises(EngineUnavailableError) as caught:
        bwrap_program.find_program()

    assert cause in caught.value.message
    assert f"{launcher} cannot create a sandbox on this machine: /: no call" in caught.value.message
    assert caught.value.hint == "install bubblewrap 0.11 or later, or use --engine docker"
