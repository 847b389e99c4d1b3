"""Builds the keeper when isosmoke is: by the machine's compiler, else by the ziglang wheel."""

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
    """Write the static keeper; `RuntimeError` with every compiler's words when none can."""
    complaints = []
    for compiler in _compilers():
        command = [*compiler, *FLAGS, "-o", str(target), str(SOURCE)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            complaints.append(f"{compiler[0]}: {error.strerror}")
            continue
        if done.returncode == 0:
            return
        complaints.append(f"{' '.join(compiler)}: {done.stderr.strip()}")
    raise RuntimeError("\n".join(["no compiler could build a static keeper", *complaints]))


class KeeperBuild(BuildHookInterface):  # type: ignore[type-arg]  # its config is not ours to name
    """Hatchling's hook: the wheel carries the program, so it is tagged for this machine."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        compile_keeper(SOURCE.with_name("keeper"))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-manylinux2014_{platform.machine()}"
