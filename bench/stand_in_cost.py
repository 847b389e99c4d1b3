"""Compare the cost of a call of the stand-in of `isosmoke teeth` with that of the bare binary.

The contenders take turns, so that other load on the machine affects them all alike; it affects the
elapsed time, and hardly the processor time. The stand-in is compiled for a temporary directory,
because outside of a sandbox its own paths do not exist. It needs a C compiler. The number of rounds
is the first argument.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from isosmoke.keeper.build import FLAGS, STAND_IN_SOURCE

ROUNDS = 300
PLANS = {
    "recorded": "mode record\ntarget \n",
    "other call": "mode noop\ntarget stop\n",
    "sabotaged": "mode noop\ntarget put\n",
    "traced": "mode watch\ntarget \n",
}
MAX_EXTRA_MS = 3.0


def create(root: Path, plan: str) -> Path:
    """Compile a stand-in that runs a copy of `true`, and return its path."""
    for name in ("bin", "real", "teeth", "calls"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("true") or "/bin/true", root / "real/wg")
    (root / "teeth/plan").write_text(plan)
    program = root / "bin/wg"
    command = ["cc", *FLAGS, f'-DROOT="{root}"', "-o", str(program), str(STAND_IN_SOURCE)]
    subprocess.run(command, check=True)
    return program


def measure(program: Path) -> tuple[float, float]:
    """Return the time and the processor time of a call, in milliseconds.

    Its outputs are pipes, as in `$(wg put x)`.
    """
    environment = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    start, used = perf_counter(), get_processor_time()
    subprocess.run(
        ["wg", "put", "x"],
        executable=program,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    return (perf_counter() - start) * 1000, (get_processor_time() - used) * 1000


def get_processor_time() -> float:
    """Return the processor time of all ended children, in seconds."""
    usage = getrusage(RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(rounds: int) -> int:
    """Print the medians in milliseconds, and return 1 if a recorded call costs too much."""
    with TemporaryDirectory() as directory:
        programs = {name: create(Path(directory, name), plan) for name, plan in PLANS.items()}
        programs = {"bare binary": programs["recorded"].parent.parent / "real/wg", **programs}
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
        for _ in range(rounds):
            for name, program in programs.items():
                results[name].append(measure(program))
    medians = {name: [*map(median, zip(*found, strict=True))] for name, found in results.items()}
    bare = medians["bare binary"]
    print(f"{'':<12} {'elapsed':>18} {'processor':>18}")
    for name, values in medians.items():
        pairs = zip(values, bare, strict=True)
        columns = " ".join(f"{value:6.2f} ms {value - base:+6.2f}" for value, base in pairs)
        print(f"{name:<12} {columns}")
    return int(medians["recorded"][0] - bare[0] > MAX_EXTRA_MS)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
