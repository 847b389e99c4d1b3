"""Selection of bwrap, and the hints if none works."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from isosmoke import __version__
from isosmoke.engines.bubblewrap import bwrap_program
from isosmoke.engines.bubblewrap.bwrap_program import Program
from isosmoke.errors import EngineUnavailableError
from isosmoke.keeper import LAUNCHER_FILE
from support import available


@pytest.fixture
def fresh_search() -> Iterator[None]:
    """Clear the cached result of the search for bwrap before and after the test."""
    bwrap_program.find_program.cache_clear()
    yield
    bwrap_program.find_program.cache_clear()


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
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho it is broken >&2\nexit 1\n")
    broken.chmod(0o755)
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
    old = tmp_path / "bwrap"
    old.write_text("#!/bin/sh\necho bubblewrap 0.8.0\n")
    old.chmod(0o755)
    monkeypatch.setenv(bwrap_program.PATH_VARIABLE, str(old))

    with pytest.raises(EngineUnavailableError) as caught:
        bwrap_program.find_program()

    assert caught.value.message == f"bubblewrap 0.11 or later is missing: {old} is 0.8.0"
    assert caught.value.hint == "install bubblewrap 0.11 or later, or use --engine docker"


@pytest.mark.usefixtures("fresh_search")
def test_refusal_has_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bwrap that is refused for an unknown reason is reported once, with its last message."""
    refused = tmp_path / "bwrap"
    refused.write_text("#!/bin/sh\necho more >&2\necho bwrap: no idea why >&2\nexit 1\n")
    refused.chmod(0o755)
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
    refusing = tmp_path / "bwrap"
    refusing.write_text(
        f"""#!/bin/sh
        case " $* " in *" --unshare-cgroup-try "*) echo refused >&2; exit 1 ;; esac
        exec {path} "$@"
        """
    )
    refusing.chmod(0o755)
    monkeypatch.setenv(bwrap_program.PATH_VARIABLE, str(refusing))

    assert bwrap_program.find_program().path == str(refusing)
    assert not bwrap_program.find_program().own_cgroups


def test_root_without_privileges_has_sandboxes(tmp_path: Path) -> None:
    """In a container, root lacks the capability to create namespaces other than a user's."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv (util-linux)")
    prefix = ("setpriv", "--bounding-set=-sys_admin", "--", sys.executable, "-m", "isosmoke")
    script = ("cat", "/proc/self/uid_map")
    done = subprocess.run(
        [*prefix, "run", "--engine", "bubblewrap", "--", *script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert ["0", "0", "1"] in [line.split() for line in done.stdout.splitlines()]


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
    refusing = tmp_path / "launcher"
    refusing.write_text("#!/bin/sh\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(bwrap_program, "LAUNCHER_FILE", refusing)
    assert Path(bwrap_program.find_program().path).resolve() == bwrap
