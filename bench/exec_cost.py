"""Compare the cost of `isosmoke-exec true` with bare `true` and with `unshare`: medians of one run.

The contenders take turns, so that other load on the machine affects them all alike. The number of
rounds is the first argument.
"""

import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

ROUNDS = 200
EXEC = str(Path(sys.executable).with_name("isosmoke-exec"))
CONTENDERS = {
    "bare command": ("true",),
    "unshare": ("unshare", "-Urpf", "--mount-proc", "true"),
    "isosmoke-exec": (EXEC, "true"),
}
MAX_EXTRA_MS = 3.0
MAX_RATIO = 1.5


def measure(argv: tuple[str, ...]) -> float:
    """Return the milliseconds that a program takes."""
    start = perf_counter()
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return (perf_counter() - start) * 1000


def main(rounds: int) -> int:
    """Print the medians in milliseconds, and return 1 if `isosmoke-exec` costs too much."""
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, argv in CONTENDERS.items():
            times[name].append(measure(argv))
    medians = {name: median(values) for name, values in times.items()}
    for name, value in medians.items():
        print(f"{name:<14} {value:6.2f} ms")
    limit = max(medians["bare command"] + MAX_EXTRA_MS, MAX_RATIO * medians["unshare"])
    print(f"{'limit':<14} {limit:6.2f} ms, the larger of bare + 3 ms and 1.5 times unshare")
    return int(medians["isosmoke-exec"] > limit)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
