"""The build hook that compiles the C programs with the machine's compiler or the ziglang wheel.

`ISOSMOKE_TARGET` names another architecture to build for, such as aarch64; that needs ziglang.
"""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path(__file__).with_name("keeper.c")
EXEC_SOURCE = SOURCE.with_name("exec.c")
EXEC_PROGRAM = SOURCE.with_name("isosmoke-exec")
STAND_IN_SOURCE = SOURCE.with_name("standin.c")
LAUNCHER_SOURCE = SOURCE.with_name("launcher.c")
FLAGS = ("-std=gnu11", "-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror")


def find_target() -> str:
    """Return the architecture to build for."""
    return os.environ.get("ISOSMOKE_TARGET") or platform.machine()


def _compilers() -> Iterator[tuple[str, ...]]:
    if find_target() == platform.machine():
        yield ("cc",)
    yield (sys.executable, "-m", "ziglang", "cc", "-target", f"{find_target()}-linux-musl")


def refuse_other_systems(system: str) -> None:
    """Raise an error unless `system` (by `sys.platform`) is Linux.

    Raises:
        RuntimeError: it says where isosmoke can be installed.
    """
    if system != "linux":
        raise RuntimeError(
            f"isosmoke runs only on Linux, so it cannot be built for {system}: "
            "install it in a Linux virtual machine or in WSL 2"
        )


def _can_link_static() -> bool:
    """Return whether the machine's own compiler can build the programs."""
    command = ["cc", "-static", "-x", "c", "-o", os.devnull, "-"]
    try:
        done = subprocess.run(command, input=b"int main(){}", capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def compile_program(source: Path, target: Path) -> None:
    """Compile the static program `source` to `target`, which is replaced as a whole.

    A linker writes its output in several steps, and a run that starts meanwhile copies the program.

    Raises:
        RuntimeError: if no compiler can build it, with the error output of each.
    """
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        _compile(source, unfinished)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _compile(source: Path, target: Path) -> None:
    failures = []
    for compiler in _compilers():
        command = [*compiler, *FLAGS, "-o", str(target), str(source)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            failures.append(f"{compiler[0]}: {error.strerror}")
            continue
        if done.returncode == 0:
            return
        failures.append(f"{' '.join(compiler)}: {done.stderr.strip()}")
    raise RuntimeError("\n".join([f"no compiler could build a static {source.stem}", *failures]))


class KeeperBuild(BuildHookInterface):  # type: ignore[type-arg]  # the config type is hatchling's
    """The hatchling build hook that adds the C programs to the wheel."""

    def dependencies(self) -> list[str]:
        """Return the package with a compiler, if the machine's own cannot build the programs."""
        is_native = find_target() == platform.machine()
        return [] if is_native and _can_link_static() else ["ziglang"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the programs, and tag the wheel for this machine because it has them.

        A shared script is installed in the directory of `isosmoke` itself, as a native program;
        an editable wheel has it too (hatchling, `wheel.shared-scripts`).
        """
        refuse_other_systems(sys.platform)
        compile_program(SOURCE, SOURCE.with_name("keeper"))
        compile_program(LAUNCHER_SOURCE, SOURCE.with_name("launcher"))
        compile_program(STAND_IN_SOURCE, SOURCE.with_name("stand-in"))
        compile_program(EXEC_SOURCE, EXEC_PROGRAM)
        build_data["shared_scripts"][str(EXEC_PROGRAM)] = EXEC_PROGRAM.name
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-manylinux2014_{find_target()}"
