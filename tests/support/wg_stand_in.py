"""A stand-in for wg: `done TASK [--full-smoke]` does what wg's smoke.rs does, then writes "done".

As there, one scenario after another runs as `timeout --preserve-status N bash SCRIPT`, both pipes
are read to their end, and the exit code decides. What was seen goes to stdout as JSON.
"""

import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

DONE = "done.txt"


def main(_: str, task: str, *options: str) -> int:
    """Gate one task, and mark it done in the working folder if nothing speaks against it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as in a program of Rust
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may use nohup
    path = Path(os.environ["WG_SMOKE_MANIFEST"])
    scenarios = tomllib.loads(path.read_text())["scenario"]
    chosen = [one for one in scenarios if "--full-smoke" in options or task in one["owners"]]
    seen = {one["name"]: _seen(one, path.parent) for one in chosen}
    sys.stdout.write(f"{json.dumps(seen)}\n")
    if any(code not in (0, 77) for code, _ in seen.values()):
        return 1
    Path(DONE).write_text(f"{task}\n")
    return 0


def _seen(scenario: dict[str, Any], folder: Path) -> tuple[int, list[str]]:
    seconds = str(scenario["timeout_seconds"])
    names = {"WG_SMOKE_SCENARIO": scenario["name"], "WG_SMOKE_TIMEOUT_SECS": seconds}
    done = subprocess.run(
        ["timeout", "--preserve-status", seconds, "bash", str(folder / scenario["script"])],
        env={**os.environ, **names},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    shown = 4 if done.returncode == 77 else 12
    return done.returncode, done.stderr.splitlines()[-shown:]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
