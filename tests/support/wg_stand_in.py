"""A stand-in for wg: `done TASK [--full-smoke]` does what wg's smoke.rs does, then writes "done".

As in wg, scenarios run one after another as `timeout --preserve-status N bash SCRIPT`, both pipes
are read to their end, and the exit code decides. The results are printed on stdout as JSON.
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
    """Gate one task, and mark it done in the working directory unless a scenario blocks it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as in a Rust program
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    path = Path(os.environ["WG_SMOKE_MANIFEST"])
    scenarios = tomllib.loads(path.read_text())["scenario"]
    selected = [
        scenario
        for scenario in scenarios
        if "--full-smoke" in options or task in scenario["owners"]
    ]
    replies = {scenario["name"]: _run(scenario, path.parent) for scenario in selected}
    sys.stdout.write(f"{json.dumps(replies)}\n")
    if any(code not in (0, 77) for code, _ in replies.values()):
        return 1
    Path(DONE).write_text(f"{task}\n")
    return 0


def _run(scenario: dict[str, Any], directory: Path) -> tuple[int, list[str]]:
    seconds = str(scenario["timeout_seconds"])
    variables = {"WG_SMOKE_SCENARIO": scenario["name"], "WG_SMOKE_TIMEOUT_SECS": seconds}
    result = subprocess.run(
        ["timeout", "--preserve-status", seconds, "bash", str(directory / scenario["script"])],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    count = 4 if result.returncode == 77 else 12
    return result.returncode, result.stderr.splitlines()[-count:]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
