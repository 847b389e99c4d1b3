"""The disks of a machine: a Debian, the project with its virtual environment, and swap."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]

DIRECTORY = Path(os.environ.get("ISOSMOKE_MACHINES", "/var/tmp/isosmoke-machines"))  # noqa: S108

PYTHONS = {"bookworm": (3, 11), "trixie": (3, 13)}
"""The version of Python in each Debian."""

PROGRAMS = ("keeper", "launcher", "stand-in", "isosmoke-exec")
"""The programs that the build of isosmoke compiles, which git ignores."""

UNUSED_PACKAGES = re.compile(r"(mypyc?|ruff|importlinter|grimp|shellcheck)(_py)?$")
"""Directories of site-packages that the checks do not need."""

LAUNCHER = """\
#!/opt/isosmoke/.venv/bin/python
import sys
from {module} import main
sys.exit(main())
"""


def build(*arguments: str) -> None:
    """Build the disk of a Debian or a kernel with `build.sh`."""
    subprocess.run(["sh", HERE / "build.sh", *arguments], cwd=DIRECTORY, check=True)


def build_disks(suites: Iterable[str]) -> None:
    """Build the disks with these Debians, and for each a disk with the project."""
    for suite in suites:
        build("root", suite)
        _build_project(suite)


def list_disks(suite: str, *, swap: bool) -> list[Path]:
    """Return the disks of a machine, with a new one for swap if it has one."""
    disks = [DIRECTORY / f"root-{suite}.ext4", DIRECTORY / f"project-{suite}.ext4"]
    if swap:
        disks.append(DIRECTORY / "swap.img")
        subprocess.run(["truncate", "-s", "1G", disks[-1]], check=True)
        subprocess.run(["mkswap", "-q", "-L", "swap", disks[-1]], check=True)
    return disks


def _build_project(suite: str) -> None:
    tree = DIRECTORY / "project"
    shutil.rmtree(tree, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    programs = (f"isosmoke/keeper/{program}" for program in PROGRAMS)
    for name in (*filter(None, listed.split("\0")), *programs):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TOP / name, tree / name)
    _build_environment(tree / ".venv", PYTHONS[suite])
    disk = DIRECTORY / f"project-{suite}.ext4"
    disk.unlink(missing_ok=True)
    subprocess.run(["truncate", "-s", "1G", disk], check=True)
    command = ["mke2fs", "-q", "-t", "ext4", "-L", "project", "-E", "root_owner=0:0", "-d"]
    subprocess.run([*command, tree, disk], check=True)


def _build_environment(venv: Path, version: tuple[int, int]) -> None:
    packages = venv / "lib" / f"python{version[0]}.{version[1]}" / "site-packages"
    if version == sys.version_info[:2]:
        own = Path(sys.prefix) / packages.relative_to(venv)
        shutil.copytree(own, packages, ignore=_find_unused, symlinks=True)
    else:
        _install(packages, version)
    for file in packages.glob("*isosmoke*.pth"):
        file.unlink()
    (packages / "isosmoke.pth").write_text("/opt/isosmoke\n")
    (venv / "bin").mkdir()
    (venv / "bin/python").symlink_to("/usr/bin/python3")
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    for name, module in {"isosmoke": "isosmoke.__main__", "pytest": "pytest"}.items():
        launcher = LAUNCHER.format(module=module)
        (venv / "bin" / name).write_text(launcher)
        (venv / "bin" / name).chmod(0o755)
    shutil.copy2(TOP / "isosmoke/keeper/isosmoke-exec", venv / "bin/isosmoke-exec")


def _find_unused(_: str, names: list[str]) -> list[str]:
    return [name for name in names if UNUSED_PACKAGES.match(name)]


def _install(packages: Path, version: tuple[int, int]) -> None:
    """Install the packages of the tests for another Python, and this project's own metadata."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ("--python-version", f"{version[0]}.{version[1]}", "--only-binary=:all:", "--no-deps")
    requirements = ("--require-hashes", "-r", TOP / "requirements/dev.txt")
    subprocess.run([*command, *options, "--target", packages, *requirements], check=True)
    own = Path(sys.prefix, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    for metadata in (own / "site-packages").glob("isosmoke-*.dist-info"):
        shutil.copytree(metadata, packages / metadata.name)
