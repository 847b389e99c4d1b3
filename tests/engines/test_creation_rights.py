"""The result of a self-test is used again only if nothing changed that it depends on."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from isosmoke.engines.bubblewrap import bwrap_program, creation_rights
from isosmoke.errors import EngineUnavailableError
from isosmoke.host.learned import store

FILES = {
    "proc/sys/kernel/random/boot_id": "1f\n",
    "proc/sys/kernel/unprivileged_userns_clone": "1\n",
    "proc/sys/kernel/apparmor_restrict_unprivileged_userns": "0\n",
    "proc/sys/user/max_user_namespaces": "63000\n",
    "proc/sys/user/max_mnt_namespaces": "63000\n",
    "proc/self/attr/current": "unconfined\n",
    "proc/self/uid_map": "0 0 4294967295\n",
    "proc/self/status": "Name: x\nCapEff: 0\nCapBnd: 1\nNoNewPrivs: 0\nSeccomp: 0\n",
    "proc/self/mountinfo": "1 1 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:2 / /proc rw - proc proc rw\n",
    "proc/filesystems": "nodev\toverlay\n",
    "sys/kernel/security/lsm": "capability,apparmor\n",
    "sys/kernel/security/apparmor/revision": "7\n",
    "sys/fs/selinux/enforce": "0\n",
}
LINKS = ("cgroup", "mnt", "pid", "user")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Create the directories `proc` and `sys` of a machine, and a bwrap."""
    top = tmp_path / "root"
    for name, text in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    (top / "proc/self/ns").mkdir()
    for name in LINKS:
        (top / "proc/self/ns" / name).symlink_to(f"{name}:[1]")
    (tmp_path / "bwrap").write_text("#!/bin/sh\n")
    return top


def collect(root: Path) -> object:
    """Return what the self-test of the bwrap next to `root` depends on."""
    program = str(root.with_name("bwrap"))
    return creation_rights.collect([program], root.with_name("state"), root)


@pytest.mark.parametrize("name", FILES)
def test_each_setting_of_the_machine_counts(root: Path, name: str) -> None:
    """Another value of a setting, and a setting that this kernel does not have, are a change."""
    before = collect(root)
    assert collect(root) == before

    (root / name).write_text(FILES[name].translate(str.maketrans("017an", "986bm")))
    changed = collect(root)
    (root / name).unlink()
    assert before != changed
    assert before != collect(root)


@pytest.mark.parametrize("name", LINKS)
def test_each_namespace_counts(root: Path, name: str) -> None:
    """Another namespace of this process is a change."""
    before = collect(root)
    link = root / "proc/self/ns" / name
    link.unlink()
    link.symlink_to(f"{name}:[2]")

    assert collect(root) != before


def rewrite(program: Path) -> None:
    """Write another program of the same size."""
    program.write_text("#!/bin/xx\n"[: program.stat().st_size])


def set_id(program: Path) -> None:
    """Give a program the rights of its owner."""
    program.chmod(0o4755)


@pytest.mark.parametrize("change", [rewrite, set_id, Path.unlink])
def test_the_program_itself_counts(root: Path, change: Callable[[Path], None]) -> None:
    """A bwrap that was rewritten, got another mode or was removed is a change."""
    before = collect(root)
    change(root.with_name("bwrap"))

    assert collect(root) != before


@pytest.mark.parametrize(
    "change",
    [
        (os, "uname", ("Linux", "host", "9.9", "#1", "x86_64")),
        (os, "getresuid", (7, 7, 7)),
        (os, "getresgid", (7, 7, 7)),
        (os, "getgroups", [7]),
        (resource, "getrlimit", (7, 7)),
    ],
)
def test_the_process_counts(
    root: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[object, str, object]
) -> None:
    """Another kernel, user, group or limit is a change."""
    before = collect(root)
    module, name, value = change
    monkeypatch.setattr(module, name, lambda *_: value)

    assert collect(root) != before


def test_mounts_elsewhere_do_not_count(root: Path) -> None:
    """A mount that neither holds the state directory nor is below /proc changes nothing."""
    before = collect(root)
    mounts = root / "proc/self/mountinfo"
    mounts.write_text(f"{mounts.read_text()}3 1 0:9 / /mnt/cd rw - iso9660 /dev/sr0 ro\n")

    assert collect(root) == before


def test_bwrap_is_tested_again_only_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The self-test runs once, again if the program changed, and again after `forget`."""
    try:
        path = bwrap_program.find_program.__wrapped__().path
    except EngineUnavailableError as error:
        pytest.skip(f"{error} - {error.hint}")
    log, program = tmp_path / "log", tmp_path / "bwrap"
    program.write_text(f'#!/bin/sh\necho run >>{log}\nexec {path} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv(bwrap_program.PATH_VARIABLE, str(program))
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "state"))

    def find() -> int:
        assert bwrap_program.find_program.__wrapped__().path == str(program)
        return len(log.read_text().splitlines())

    first = find()
    assert first > 0
    assert find() == first
    program.chmod(0o700)
    second = find()
    assert second > first
    assert find() == second
    store.forget()
    assert find() > second


def test_failed_self_test_is_not_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bwrap that failed is tested each time, since the cause may not be visible."""
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv(bwrap_program.PATH_VARIABLE, str(program))
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "state"))

    with pytest.raises(EngineUnavailableError):
        bwrap_program.find_program.__wrapped__()
    assert not list((tmp_path / "state").glob("learned-*"))
