"""Boot virtual machines with other kernels and settings, and run isosmoke in them.

    PYTHONPATH=tests python -m machines.machines [NAME...]

Needs root, and Debian's packages debootstrap, qemu-system-x86, kmod, busybox-static, e2fsprogs and
gcc.
The working directory is `ISOSMOKE_MACHINES`, by default `/var/tmp/isosmoke-machines`. Each machine
runs the scripts of `checks/` that it names, and replaces its row in `docs/machines.md`. The exit
code is 0 only if every check passed.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from machines import disks, emulators
from machines.disks import DIRECTORY, HERE, TOP

PAGE = TOP / "docs/machines.md"

BOOT_SECONDS = float(os.environ.get("ISOSMOKE_MACHINE_SECONDS", "5400"))
"""The time limit of one machine, from start to power-off; an emulated processor is slow."""

PROGRAMS = {
    "debootstrap": "debootstrap",
    "qemu-system-x86_64": "qemu-system-x86",
    "depmod": "kmod",
    "busybox": "busybox-static",
    "mke2fs": "e2fsprogs",
    "cc": "gcc",
    "mkswap": "util-linux",
}
"""The programs that build and run a machine, with their packages."""

NICENESS = 5
"""The niceness of a machine, however nice this program is (nice(1) adds to it)."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A kernel with arguments, and the checks that run in it; `memory` is in MiB."""

    kernel: str
    checks: tuple[str, ...]
    suite: str = "bookworm"
    arguments: str = ""
    swap: bool = False
    memory: int = 2048


_APPARMOR = "apparmor=1 security=apparmor"

ALL = ("root", "session", "scope", "service", "measures")
"""The checks of a machine on which everything works."""

TESTS = ("tests", "corpus")
"""Tests of the project that run on such a machine, and take longer."""

MACHINES = {
    "debian12": Machine("6.1", ALL),
    "debian12-tests": Machine("6.1", TESTS),
    "debian12-swap": Machine("6.1", ("swap",), swap=True, memory=1024),
    "debian12-refusals": Machine("6.1", ("refusals",), arguments=_APPARMOR),
    "debian12-strict": Machine("6.1", ("strict",)),
    "debian12-containers": Machine("6.1", ("containers",), arguments=_APPARMOR),
    "debian12-docker-systemd": Machine("6.1", ("docker_systemd",)),
    "debian12-docker-cgroupfs": Machine("6.1", ("docker_cgroupfs",)),
    "debian13": Machine("6.12", ALL, suite="trixie"),
    "debian13-tests": Machine("6.12", TESTS, suite="trixie"),
    "linux-6.12": Machine("6.12", ALL),
    "linux-6.12-tests": Machine("6.12", TESTS),
    "linux-5.10": Machine("5.10", ("old_kernel",)),
}
"""The machines by name; the page lists others, which do not exist yet."""


def main(names: Sequence[str]) -> int:
    """Run the machines with these names, or all, and return the exit code."""
    if unknown := set(names) - set(MACHINES):
        print(f"machines: unknown: {', '.join(unknown)}; known: {', '.join(MACHINES)}")
        return 2
    requested = os.environ.get("ISOSMOKE_MACHINES_ACCELERATOR", "")
    try:
        accelerator = emulators.choose(
            requested, Path("/dev/kvm"), Path("/proc/cpuinfo").read_text()
        )
    except ValueError as error:
        print(f"machines: ISOSMOKE_MACHINES_ACCELERATOR is {error}")
        return 2
    if missing := find_missing():
        print(f"machines: needs root, and the programs of: apt-get install {' '.join(missing)}")
        return 2
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    chosen = names or tuple(MACHINES)
    commit = describe_commit()  # of the files that the disks will have
    disks.build_disks(dict.fromkeys(MACHINES[name].suite for name in chosen))
    results = [run_machine(name, accelerator, commit) for name in chosen]
    return 0 if all(results) else 1


def find_missing() -> list[str]:
    """Return the packages that provide the missing programs; all of them if this is not root."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    is_root = os.getuid() == 0
    return [
        package
        for program, package in PROGRAMS.items()
        if not (is_root and shutil.which(program, path=path))
    ]


def run_machine(name: str, accelerator: str, commit: str) -> bool:
    """Boot a machine, run its checks, write its row for `commit`; return whether all passed."""
    machine = MACHINES[name]
    flavor = emulators.get_flavor(accelerator)
    kernel = DIRECTORY / "kernels" / f"{flavor}-{machine.kernel}"
    disks.build(flavor, machine.kernel)
    shared = DIRECTORY / "shared" / name
    _fill_shared(shared, machine, kernel)
    listed = disks.list_disks(machine.suite, swap=machine.swap)
    boot = emulators.Boot(kernel, shared, listed, machine.memory, machine.arguments)
    seconds = _boot(name, emulators.build_command(accelerator, boot))
    for copy in shared.parent.glob(f"{name}.[0-9]"):
        copy.unlink()
    results = list(read_results(machine, shared))
    _write_row(name, commit, f"{accelerator}, {seconds:.0f} s", results)
    print(f"machines: {name}: {'; '.join(results)} ({accelerator}, {seconds:.0f} s)", flush=True)
    return all(result.endswith(": passed") for result in results)


def _fill_shared(shared: Path, machine: Machine, kernel: Path) -> None:
    """Put the checks of a machine, in their order, and the modules of its kernel into `shared`."""
    shutil.rmtree(shared, ignore_errors=True)
    shared.mkdir(parents=True)
    for file in (HERE / "checks").glob("*"):
        number = machine.checks.index(file.stem) if file.stem in machine.checks else None
        target = file.name if number is None else f"{number}-{file.stem}.sh"
        if number is not None or file.suffix != ".sh":
            shutil.copy2(file, shared / target)
    if (kernel / "modules").exists():
        shutil.copytree(kernel / "modules", shared / "modules")


def _boot(name: str, command: Sequence[str]) -> float:
    """Run a machine until it powers itself off, or until the time limit; return the seconds."""
    start = monotonic()
    with (DIRECTORY / f"console-{name}.log").open("wb") as console:
        try:
            subprocess.run(
                ["nice", "-n", str(max(0, NICENESS - os.nice(0))), *command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                timeout=BOOT_SECONDS,
                check=False,  # the results say which checks it did not reach
            )
        except subprocess.TimeoutExpired:
            print(f"machines: {name}: stopped after {BOOT_SECONDS:g} s; see {console.name}")
    return monotonic() - start


def read_results(machine: Machine, shared: Path) -> Iterator[str]:
    """Yield the name of each check of a machine, and its result."""
    for number, check in enumerate(machine.checks):
        log = shared / f"{number}-{check}.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        failed = [line.removeprefix("FAILED ") for line in lines if line.startswith("FAILED ")]
        if not (shared / f"{number}-{check}.status").exists():
            yield f"{check}: not finished"
        elif "DONE" in lines and not failed:
            yield f"{check}: passed"
        else:
            yield f"{check}: failed ({', '.join(failed) or 'it stopped early'})"


def _write_row(name: str, commit: str, how: str, results: Sequence[str]) -> None:
    """Replace the row of a machine in the page."""
    row = f"| `{name}` | {datetime.now(UTC):%Y-%m-%d} | {commit} | {how} |"
    text = PAGE.read_text()
    pattern = re.compile(rf"^\| `{re.escape(name)}` \|.*$", re.MULTILINE)
    PAGE.write_text(pattern.sub(lambda _: f"{row} {'; '.join(results)} |", text))


def describe_commit() -> str:
    """Return the commit of the files here; the rows that a run has written are no changes to it."""
    commit = _run_git("rev-parse", "--short", "HEAD")
    changes = _run_git("status", "--porcelain", "--", ".", f":!{PAGE.relative_to(TOP)}")
    return f"{commit}, changed" if changes else commit


def _run_git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
