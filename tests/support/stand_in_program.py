"""The stand-in outside a sandbox: compiled for a directory of the test, with a real binary."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from isosmoke.keeper.build import FLAGS, STAND_IN_SOURCE
from isosmoke.teeth.calls import call_log
from isosmoke.teeth.calls.call_log import Call

SECONDS = 120
"""A limit that only a hang reaches, even on a machine under heavy load."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """A stand-in and the directories that it uses, all below `root`."""

    root: Path

    @classmethod
    def within(cls, root: Path, real: str, plan: str = "mode record\ntarget \n") -> "StandIn":
        """Compile the stand-in for `root`, with a script as the real binary."""
        if shutil.which("cc") is None:
            pytest.skip("no cc on this machine")
        for name in ("bin", "real", "teeth", "calls", "work"):
            (root / name).mkdir(parents=True)
        stand_in = cls(root)
        stand_in.write_plan(plan)
        (root / "real/wg").write_text(real)
        (root / "real/wg").chmod(0o755)
        own = f'-DROOT="{root}"'
        subprocess.run(
            ["cc", *FLAGS, own, "-o", str(stand_in.program), str(STAND_IN_SOURCE)], check=True
        )
        return stand_in

    @property
    def program(self) -> Path:
        return self.root / "bin/wg"

    def write_plan(self, plan: str) -> None:
        """Replace the plan."""
        (self.root / "teeth/plan").write_text(plan)

    def environment(self, **variables: str) -> Mapping[str, str]:
        """Return an environment whose PATH begins with the stand-in."""
        return {"PATH": f"{self.root}/bin:{os.environ['PATH']}", "LC_ALL": "C", **variables}

    def bash(self, script: str, **options: Any) -> "subprocess.CompletedProcess[bytes]":
        """Run a script that finds the stand-in on its PATH."""
        options.setdefault("env", self.environment())
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.root / "work",
            capture_output=True,
            check=False,
            timeout=SECONDS,
            **options,
        )

    def calls(self) -> tuple[Call, ...]:
        """Return the recorded calls."""
        return call_log.parse((self.root / "calls/log").read_bytes())
