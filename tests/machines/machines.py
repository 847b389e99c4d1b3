"""Boot virtual machines with other kernels and settings, and run isosmoke in them.

    python tests/machines/machines.py [NAME...]

Needs root, and Debian's packages debootstrap, qemu-system-x86, kmod, busybox-static and e2fsprogs.
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

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
PAGE = TOP / "docs/machines.md"

DIRECTORY = Path(os.environ.get("ISOSMOKE_MACHINES", "/var/tmp/isosmoke-machines"))  # noqa: S108
BOOT_SECONDS = float(os.environ.get("ISOSMOKE_MACHINE_SECONDS", "5400"))
"""The time limit of one machine, from start to power-off; an emulated processor is slow."""

PROGRAMS = {
    "debootstrap": "debootstrap",
    "qemu-system-x86_64": "qemu-system-x86",
    "depmod": "kmod",
    "busybox": "busybox-static",
    "mke2fs": "e2fsprogs",
}
"""The programs that build and run a machine, with their packages."""

NICENESS = 15
"""The niceness of a machine, however nice this program is (nice(1) adds to it)."""

UNUSED_PACKAGES = re.compile(r"(mypyc?|ruff|importlinter|grimp|shellcheck)(_py)?$")
"""Directories of site-packages that the checks do not need."""

LAUNCHER = """\
#!/opt/isosmoke/.venv/bin/python
import sys
from {module} import main
sys.exit(main())
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """A kernel with arguments, and the checks that run in it; `memory` is in MiB."""

    kernel: str
    checks: tuple[str, ...]
    arguments: str = ""
    swap: bool = False
    memory: int = 2048


MACHINES = {
    "debian12": Machine("6.1", ("root", "session", "scope", "service", "tests")),
    "debian12-swap": Machine("6.1", ("swap",), swap=True, memory=1024),
    "debian12-refusals": Machine("6.1", ("refusals",)),
    "linux-6.12": Machine("6.12", ("root", "session", "scope", "service", "tests")),
    "linux-5.10": Machine("5.10", ("old_kernel",)),
}
"""The machines by name; the page lists others, which do not exist yet."""


def main(names: Sequence[str]) -> int:
    """Run the machines with these names, or all, and return the exit code."""
    if unknown := set(names) - set(MACHINES):
        print(f"machines: unknown: {', '.join(unknown)}; known: {', '.join(MACHINES)}")
        return 2
    if missing := find_missing():
        print(f"machines: needs root, and the programs of: apt-get install {' '.join(missing)}")
        return 2
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    build("root")
    build_project_disk()
    results = [run_machine(name) for name in names or MACHINES]
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


def build(*arguments: str) -> None:
    """Build a disk or a kernel with `build.sh`."""
    subprocess.run(["sh", HERE / "build.sh", *arguments], cwd=DIRECTORY, check=True)


def build_project_disk() -> None:
    """Put the project with its virtual environment on a disk, for the machine's own Python."""
    tree = DIRECTORY / "project"
    shutil.rmtree(tree, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    programs = ("isosmoke/keeper/keeper", "isosmoke/keeper/isosmoke-exec")
    for name in (*filter(None, listed.split("\0")), *programs):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TOP / name, tree / name)
    _build_environment(tree / ".venv")
    disk = DIRECTORY / "project.ext4"
    disk.unlink(missing_ok=True)
    with disk.open("wb") as file:
        file.truncate(1 << 30)
    command: list[str | Path] = [
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-E",
        "root_owner=0:0",
        "-d",
        tree,
        disk,
    ]
    subprocess.run(command, check=True)


def _build_environment(venv: Path) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = venv / "lib" / version / "site-packages"
    shutil.copytree(
        Path(sys.prefix) / "lib" / version / "site-packages",
        packages,
        ignore=lambda _, names: [name for name in names if UNUSED_PACKAGES.match(name)],
        symlinks=True,
    )
    for file in packages.glob("*isosmoke*.pth"):
        file.write_text("/opt/isosmoke\n")
    (venv / "bin").mkdir()
    (venv / "bin/python").symlink_to("/usr/bin/python3")
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    for name, module in {"isosmoke": "isosmoke.__main__", "pytest": "pytest"}.items():
        launcher = LAUNCHER.format(module=module)
        (venv / "bin" / name).write_text(launcher)
        (venv / "bin" / name).chmod(0o755)
    shutil.copy2(TOP / "isosmoke/keeper/isosmoke-exec", venv / "bin/isosmoke-exec")


def run_machine(name: str) -> bool:
    """Boot a machine, run its checks, write its row and return whether all passed."""
    machine = MACHINES[name]
    build("kernel", machine.kernel)
    shared = DIRECTORY / "shared" / name
    shutil.rmtree(shared, ignore_errors=True)
    shared.mkdir(parents=True)
    for file in (HERE / "checks").glob("*"):
        number = machine.checks.index(file.stem) if file.stem in machine.checks else None
        target = file.name if number is None else f"{number}-{file.stem}.sh"
        if number is not None or file.suffix != ".sh":
            shutil.copy2(file, shared / target)
    _boot(name, machine, shared)
    results = list(read_results(machine, shared))
    _write_row(name, results)
    print(f"machines: {name}: {'; '.join(results)}")
    return all(result.endswith(": passed") for result in results)


def _boot(name: str, machine: Machine, shared: Path) -> None:
    """Run the machine until it powers itself off, or until the time limit."""
    kernel = DIRECTORY / "kernels" / machine.kernel
    disks = ["root.ext4", "project.ext4", *(["swap.img"] if machine.swap else [])]
    if machine.swap:
        subprocess.run(["truncate", "-s", "1G", DIRECTORY / "swap.img"], check=True)
    command: list[str | Path] = [
        *("nice", "-n", str(max(0, NICENESS - os.nice(0)))),
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max"),
        *("-m", str(machine.memory), "-smp", "2", "-nographic", "-no-reboot"),
        *("-kernel", kernel / "vmlinuz", "-initrd", kernel / "initrd"),
        *("-append", f"console=ttyS0 mitigations=off {machine.arguments}"),
        *("-virtfs", f"local,path={shared},mount_tag=share,security_model=none"),
        *("-nic", "none", "-device", "virtio-rng-pci"),
    ]
    for disk in disks:
        options = "format=raw,if=virtio,cache=unsafe,snapshot=on"
        command += ["-drive", f"file={DIRECTORY / disk},{options}"]
    with (DIRECTORY / f"console-{name}.log").open("wb") as console:
        try:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                timeout=BOOT_SECONDS,
                check=False,  # the results say which checks it did not reach
            )
        except subprocess.TimeoutExpired:
            print(f"machines: {name}: stopped after {BOOT_SECONDS:g} s; see {console.name}")


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


def _write_row(name: str, results: Sequence[str]) -> None:
    """Replace the row of a machine in the page."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty=, changed"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    row = f"| `{name}` | {datetime.now(UTC):%Y-%m-%d} | {commit} | {'; '.join(results)} |"
    text = PAGE.read_text()
    pattern = re.compile(rf"^\| `{re.escape(name)}` \|.*$", re.MULTILINE)
    PAGE.write_text(pattern.sub(lambda _: row, text))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
