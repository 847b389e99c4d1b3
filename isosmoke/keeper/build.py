"""The build hook that compiles the keeper with the machine's compiler or the ziglang wheel."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path(__file__).with_name("keeper.c")
FLAGS = ("-std=gnu11", "-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror")


def _compilers() -> Iterator[tuple[str, ...]]:
    yield ("cc",)
    yield (sys.executable, "-m", "ziglang", "cc", "-target", f"{platform.machine()}-linux-musl")


def compile_keeper(target: Path) -> None:
    """Compile the static keeper to `target`, which is replaced as a whole.

    A linker writes its output in several steps, and a run that starts meanwhile copies the keeper.

    Raises:
        RuntimeError: if no compiler can build it, with the error output of each.
    """
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        _compile(unfinished)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _compile(target: Path) -> None:
    failures = []
    for compiler in _compilers():
        command = [*compiler, *FLAGS, "-o", str(target), str(SOURCE)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            failures.append(f"{compiler[0]}: {error.strerror}")
            continue
        if done.returncode == 0:
            return
        failures.append(f"{' '.join(compiler)}: {done.stderr.strip()}")
    raise RuntimeError("\n".join(["no compiler could build a static keeper", *failures]))


class KeeperBuild(BuildHookInterface):  # type: ignore[type-arg]  # the config type is hatchling's
    """The hatchling build hook that adds the keeper to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the keeper, and tag the wheel for this machine because it has a program."""
        compile_keeper(SOURCE.with_name("keeper"))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-manylinux2014_{platform.machine()}"
