"""Compare `wg done` with and without isosmoke, over 20 scenarios that each wait a second.

    ISOSMOKE_WG=/path/to/wg python bench/gate.py [SCENARIOS]

Both figures come from one run of this program, one after the other, with the same wg and the same
scripts, and each ends with a completed task. The `done` of this wg must have a gate.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

from isosmoke.host import binary

ALONE, BRIDGED = "wg done", 'eval "$("$PYTHON" -m isosmoke bridge)"; wg done'


def main(scenarios: int) -> None:
    """Measure and print both figures."""
    with tempfile.TemporaryDirectory(prefix="isosmoke-bench-") as directory:
        environment = _create_project(Path(directory), scenarios)
        alone_seconds = _measure(Path(directory), f"{ALONE} alone", environment)
        bridged_seconds = _measure(Path(directory), f"{BRIDGED} bridged", environment)
    cores = len(os.sched_getaffinity(0))
    print(f"{scenarios} scenarios that wait 1 s each, through a real wg done, {cores} cores")
    print(f"wg alone, one after another      {alone_seconds:6.1f} s")
    print(f"bridged, as the machine bears    {bridged_seconds:6.1f} s")


def _create_project(top: Path, scenarios: int) -> Mapping[str, str]:
    """Create a wg project with two tasks that both own every scenario; return its environment."""
    smoke = top / "tests" / "smoke"
    for directory in (smoke, top / "home", top / "bin"):
        directory.mkdir(parents=True)
    (smoke / "waits.sh").write_text("sleep 1\n")
    entry = "[[scenario]]\nname = 'waits-{}'\nscript = 'waits.sh'\nowners = ['alone', 'bridged']\n"
    (smoke / "manifest.toml").write_text("".join(map(entry.format, range(scenarios))))
    wg = binary.find(None, os.environ)
    if wg is None:
        sys.exit("no wg found; put wg on PATH, or set ISOSMOKE_WG")
    (top / "bin" / "wg").symlink_to(wg)
    environment = {
        "PATH": f"{top / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(top / "home"),
        "PYTHON": sys.executable,
    }
    line = "git init -q && wg init && wg add Alone --id alone && wg add Bridged --id bridged"
    _run_shell(top, line, environment)
    return environment


def _measure(directory: Path, line: str, environment: Mapping[str, str]) -> float:
    started_at = monotonic()
    output = _run_shell(directory, line, environment)
    seconds = monotonic() - started_at
    if "Smoke gate: running" not in output:
        sys.exit("`wg done` ran no scenario: this wg has no gate")
    return seconds


def _run_shell(directory: Path, line: str, environment: Mapping[str, str]) -> str:
    result = subprocess.run(
        ["bash", "-c", line],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        sys.exit(f"{line}: {result.stderr}")
    return result.stderr


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
