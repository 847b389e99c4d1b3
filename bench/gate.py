"""How long `wg done` takes over 20 scenarios that each wait a second: wg alone, and bridged.

    ISOSMOKE_WG=/path/to/wg python bench/gate.py [SCENARIOS]

Both figures come from one run of this program, one after the other, with the same wg and the same
scripts, and each ends with a task that is done. wg must be one whose `done` has a gate.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

from isosmoke.execution.scheduler import jobs_of_a_gate
from isosmoke.host import binary

ALONE, BRIDGED = "wg done", 'eval "$("$PYTHON" -m isosmoke bridge)"; wg done'


def main(scenarios: int) -> None:
    """Print both."""
    with tempfile.TemporaryDirectory(prefix="isosmoke-bench-") as folder:
        environment = _made(Path(folder), scenarios)
        alone = _seconds(Path(folder), f"{ALONE} alone", environment)
        bridged = _seconds(Path(folder), f"{BRIDGED} bridged", environment)
    cores = len(os.sched_getaffinity(0))
    print(f"{scenarios} scenarios that wait 1 s each, through a real wg done, {cores} cores")
    print(f"wg alone, one after another      {alone:6.1f} s")
    print(f"bridged, {jobs_of_a_gate():2} sandboxes at once     {bridged:6.1f} s")


def _made(folder: Path, scenarios: int) -> Mapping[str, str]:
    """A project of wg with two tasks that both own every scenario, and a home of its own."""
    smoke = folder / "tests" / "smoke"
    for one in (smoke, folder / "home", folder / "bin"):
        one.mkdir(parents=True)
    (smoke / "waits.sh").write_text("sleep 1\n")
    entry = "[[scenario]]\nname = 'waits-{}'\nscript = 'waits.sh'\nowners = ['alone', 'bridged']\n"
    (smoke / "manifest.toml").write_text("".join(map(entry.format, range(scenarios))))
    wg = binary.find(None, os.environ)
    if wg is None:
        sys.exit("no wg on PATH, and ISOSMOKE_WG names none")
    (folder / "bin" / "wg").symlink_to(wg)
    environment = {
        "PATH": f"{folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder / "home"),
        "PYTHON": sys.executable,
    }
    line = "git init -q && wg init && wg add Alone --id alone && wg add Bridged --id bridged"
    _shell(folder, line, environment)
    return environment


def _seconds(folder: Path, line: str, environment: Mapping[str, str]) -> float:
    begun = monotonic()
    told = _shell(folder, line, environment)
    seconds = monotonic() - begun
    if "Smoke gate: running" not in told:
        sys.exit("this wg has no gate in its `wg done`: it asked for no scenario")
    return seconds


def _shell(folder: Path, line: str, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{line}: {done.stderr}")
    return done.stderr


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
