"""The virtual machines of `sh dev machines`: their rows in the page, and their checks."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from machines import disks, emulators, machines


@pytest.mark.parametrize("name", machines.MACHINES)
def test_machine_has_a_row_and_checks(name: str) -> None:
    """A run replaces the row, and each check is a script that the page describes."""
    page = machines.PAGE.read_text()

    assert f"\n| `{name}` |" in page
    for check in machines.MACHINES[name].checks:
        assert (disks.HERE / "checks" / f"{check}.sh").is_file()
        assert f"\n- `{check}`:" in page


def test_unknown_machine_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is built, and the known names are printed."""
    assert machines.main(["nonexistent"]) == 2
    printed = capsys.readouterr().out
    assert all(name in printed for name in machines.MACHINES)


def test_missing_programs_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without one, nothing is built."""
    monkeypatch.setattr(machines, "PROGRAMS", {"no-such-program": "its-package"})
    monkeypatch.setattr(machines, "DIRECTORY", tmp_path / "disks")

    assert machines.main([]) == 2
    assert "apt-get install its-package" in capsys.readouterr().out
    assert not (tmp_path / "disks").exists()


MACHINE = machines.Machine("6.1", ("root", "scope", "tests"))


def test_result_of_a_check_names_what_failed(tmp_path: Path) -> None:
    """A check that did not run to its end has not passed."""
    (tmp_path / "0-root.log").write_text("BEGIN doctor\npassed doctor\nDONE\n")
    (tmp_path / "0-root.status").write_text("0\n")
    (tmp_path / "1-scope.log").write_text("FAILED scope\nwhy\nDONE\n")
    (tmp_path / "1-scope.status").write_text("0\n")
    (tmp_path / "2-tests.log").write_text("BEGIN contract\n")

    assert list(machines.read_results(MACHINE, tmp_path)) == [
        "root: passed",
        "scope: failed (scope)",
        "tests: not finished",
    ]


def test_check_that_stops_early_has_failed(tmp_path: Path) -> None:
    """Without its last line, a script has not checked everything."""
    for number, check in enumerate(MACHINE.checks):
        (tmp_path / f"{number}-{check}.log").write_text("passed doctor\n")
        (tmp_path / f"{number}-{check}.status").write_text("124\n")

    assert set(machines.read_results(MACHINE, tmp_path)) == {
        f"{check}: failed (it stopped early)" for check in MACHINE.checks
    }


@pytest.mark.parametrize(
    ("requested", "flags", "expected"),
    [
        ("", "fpu svm", emulators.KVM),
        ("", "fpu hypervisor", emulators.UML),
        ("tcg", "fpu svm", emulators.TCG),
    ],
)
def test_kvm_needs_a_processor_that_runs_kernels(
    requested: str, flags: str, expected: str, tmp_path: Path
) -> None:
    """A device alone does not do: without the hardware, a usual kernel is interpreted."""
    device = tmp_path / "kvm"
    device.touch()

    assert emulators.choose(requested, device, f"flags\t\t: {flags}\n") == expected


def test_no_kvm_without_its_device(tmp_path: Path) -> None:
    """As in a container without the device."""
    assert emulators.choose("", tmp_path / "kvm", "flags : vmx\n") == emulators.UML


SET_REGISTERS = """
import ctypes, os, signal
TRACEME, PEEKTEXT, KILL, GETREGSET, SETREGSET, XSTATE, KNOWN = 0, 1, 8, 0x4204, 0x4205, 0x202, 2696
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
word = ctypes.c_ulong(0x1234)
def ptrace(request, pid, address=None, data=None):
    return libc.ptrace(request, pid, ctypes.c_void_p(address), data)
pid = os.fork()
if not pid:
    ptrace(TRACEME, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
assert os.WIFSTOPPED(os.waitpid(pid, 0)[1])
memory = ctypes.create_string_buffer(KNOWN)
vector = (ctypes.c_ulong * 2)(ctypes.addressof(memory), KNOWN)
print(ptrace(GETREGSET, pid, XSTATE, vector), ptrace(SETREGSET, pid, XSTATE, vector))
print(hex(ptrace(PEEKTEXT, pid, ctypes.addressof(word))))
ptrace(KILL, pid)
os.waitpid(pid, 0)
"""


def test_preloaded_library_sets_the_registers_that_user_mode_linux_knows(tmp_path: Path) -> None:
    """The kernel of the host accepts all registers only; other requests are as usual."""
    if platform.machine() != "x86_64" or shutil.which("cc") is None:
        pytest.skip("the machines need an x86-64 processor and a C compiler")
    (tmp_path / "kernels").mkdir()
    subprocess.run(["sh", disks.HERE / "build.sh", "preloaded"], cwd=tmp_path, check=True)

    done = subprocess.run(
        [sys.executable, "-c", SET_REGISTERS],
        env={"LD_PRELOAD": str(tmp_path / "kernels/registers.so")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "0 0\n0x1234\n", done.stderr


def test_unknown_accelerator_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the known ones."""
    monkeypatch.setenv("ISOSMOKE_MACHINES_ACCELERATOR", "xen")

    assert machines.main([]) == 2
    assert "unknown: xen; known: kvm, uml, tcg" in capsys.readouterr().out


@pytest.mark.parametrize("accelerator", emulators.CHOICES.values())
def test_disks_of_a_machine_stay_unchanged(accelerator: str, tmp_path: Path) -> None:
    """Each accelerator writes to a copy, so that machines do not depend on each other."""
    boot = emulators.Boot(tmp_path, tmp_path / "shared", [tmp_path / "root.ext4"], 512, "")

    (disk,) = [word for word in emulators.build_command(accelerator, boot) if "root.ext4" in word]

    assert "snapshot=on" in disk or disk.startswith(f"ubd0={tmp_path}/shared.0,")
