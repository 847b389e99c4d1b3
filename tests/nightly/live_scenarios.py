"""Run every shipped scenario against the live wg, including those that need a model.

    python live_scenarios.py MODEL_PYTHON DIRECTORY

`model_server.py` serves the model, started with MODEL_PYTHON; DIRECTORY keeps the model's file. The
exit code is 0 only if each scenario passed on each engine that is usable here; a scenario that was
skipped, or that passed only on a retry, is a failure.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from isosmoke.engines import ENGINES
from isosmoke.errors import EngineUnavailableError
from isosmoke.host import binary

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
MODEL = "gemma-3-270m"
ENGINE_NAMES = ("bubblewrap", "docker")


def main(model_python: str, directory: Path) -> int:
    """Return the exit code: 0 if all passed, 1 if any did not, 2 if there is no wg."""
    if binary.find(None, os.environ) is None:
        print("nightly: NO wg FOUND: put wg on PATH, or set ISOSMOKE_WG to its path")
        return 2
    engines = [name for name in ENGINE_NAMES if _is_usable(name)]
    with _serving_model(model_python, directory) as address:
        passed = [_run_all(engine, address) for engine in engines]
    return 0 if passed and all(passed) else 1


def _is_usable(name: str) -> bool:
    try:
        ENGINES[name]().preflight()
    except EngineUnavailableError as error:
        print(f"nightly: NOT RUN on {name}: {error.message} (try: {error.hint})")
        return False
    return True


@contextmanager
def _serving_model(python: str, directory: Path) -> Iterator[str]:
    """Yield the base address of a model server, which ends with the block."""
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "model-server.log"
    command = [python, str(HERE / "model_server.py"), str(directory)]
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as server,
    ):
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        if not address:
            raise SystemExit(f"nightly: the model server did not start; see {log}")
        yield address


def _run_all(engine: str, address: str) -> bool:
    """Run the scenarios on one engine and print the outcomes; return whether all passed."""
    document = _run_scenarios(engine, address)
    print(f"shipped scenarios on {engine}: {document['seconds']:.1f} s")
    for scenario in document["scenarios"]:
        reason = f"  {scenario['reason']}" if scenario["reason"] else ""
        print(f"  {scenario['outcome']:8}{scenario['seconds']:7.1f} s  {scenario['name']}{reason}")
    return all(scenario["outcome"] == "PASS" for scenario in document["scenarios"])


def _run_scenarios(engine: str, address: str) -> Mapping[str, Any]:
    arguments = ("run", "--manifest", "manifest.toml", "--engine", engine, "--jobs", "1", "--json")
    result = subprocess.run(
        [sys.executable, "-m", "isosmoke", *arguments],
        cwd=TOP,
        env={**os.environ, "ISOSMOKE_NEX_ENDPOINT": address, "ISOSMOKE_NEX_MODEL": MODEL},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    document: Mapping[str, Any] = json.loads(result.stdout)
    return document


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
