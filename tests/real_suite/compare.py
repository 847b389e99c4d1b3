"""Compare isosmoke's verdicts on wg's smoke suite with those of plain `bash SCRIPT`.

`plain` and `isosmoke` each run the suite and write the results as JSON; `table` compares two such
files. Each side needs its own clone of wg:

    git clone --quiet WG PLAIN && git clone --quiet WG CHECKOUT
    compare.py plain PLAIN --wg WG_BINARY --out plain.json
    compare.py isosmoke CHECKOUT --wg WG_BINARY --out isosmoke.json --jobs 4
    compare.py table plain.json isosmoke.json
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

HERE = Path(__file__).parent
MANIFEST = Path("tests/smoke/manifest.toml")
DEFAULT_SECONDS = 180
HANG_SECONDS = 30.0
"""The time past its deadline, in seconds, that a script may ignore SIGTERM; wg would wait."""

PLAIN = """
mount --bind "$FRESH" /tmp
export HOME=/tmp/home && mkdir "$HOME"
: >"$3/left"
started_at=$EPOCHREALTIME
timeout --preserve-status "$1" bash "$2" >"$3/output" 2>"$3/stderr"
echo "$? $started_at $EPOCHREALTIME" >"$3/ending"
for _ in 1 2 3 4 5 6 7 8; do
    ps -eo pid=,ppid=,etimes=,stat=,args= --no-headers \
        | awk '$1 != 1 && $2 != 0 && $4 !~ /Z/ && !/ps -eo|awk|sleep 0.25/' >"$3/left"
    [[ -s $3/left ]] || break
    sleep 0.25
done
"""
"""The way wg runs a scenario, in new namespaces, so that leftovers cannot harm this machine.

`$FRESH` becomes /tmp, and process 1 is this shell, so every process ends with it. Leftover
processes are listed after the measurement, once they had the settle time that isosmoke gives them.
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """The parts of a manifest entry that wg reads; `script` is absolute."""

    name: str
    script: Path
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The result of a scenario on one side.

    `ending` is `exit N`, a signal or `timeout`; `survivors` are the processes that outlived the
    script; `concurrent_ending` is the ending of a first attempt that failed alongside others.
    """

    ending: str
    reason: str = ""
    seconds: float = 0.0
    survivors: tuple[str, ...] = ()
    concurrent_ending: str = ""


def main(argv: list[str] | None = None) -> int:
    """Run one of the three commands."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    plain_side, isosmoke_side = (commands.add_parser(name) for name in ("plain", "isosmoke"))
    for side, run in ((plain_side, run_plain), (isosmoke_side, run_isosmoke)):
        side.set_defaults(command=run)
        side.add_argument("checkout", type=Path, help="a disposable clone of wg")
        side.add_argument("--wg", type=Path, required=True, help="the live binary")
        side.add_argument("--left-out", type=Path, default=HERE / "left_out.toml")
        side.add_argument("--only", nargs="+", default=[], metavar="NAME")
        side.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    plain_side.add_argument("--jobs", type=int, default=1)
    isosmoke_side.add_argument("--jobs", type=int, help="by default, isosmoke decides")
    isosmoke_side.add_argument("--isosmoke", default="isosmoke", help="the isosmoke command")
    isosmoke_side.add_argument("--place", help="the place whose workers run the scenarios")
    table = commands.add_parser("table", help="compare two sides, as Markdown")
    table.set_defaults(command=compare)
    table.add_argument("plain", type=Path)
    table.add_argument("isosmoke", type=Path)
    table.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    arguments.command(arguments)
    return 0


def select_scenarios(arguments: argparse.Namespace) -> list[Scenario]:
    """Return the selected scenarios of the manifest, in which every given name must exist."""
    path = arguments.checkout.resolve() / MANIFEST
    entries = tomllib.loads(path.read_text())["scenario"]
    left_out = tomllib.loads(arguments.left_out.read_text())["left_out"]
    scenarios = [
        Scenario(
            entry["name"],
            path.parent / entry["script"],
            entry.get("timeout_seconds", DEFAULT_SECONDS),
        )
        for entry in entries
    ]
    unknown = {*left_out, *arguments.only} - {scenario.name for scenario in scenarios}
    if unknown:
        raise SystemExit(f"not in the manifest: {', '.join(sorted(unknown))}")
    names = arguments.only or [
        scenario.name for scenario in scenarios if scenario.name not in left_out
    ]
    return [scenario for scenario in scenarios if scenario.name in names]


def run_plain(arguments: argparse.Namespace) -> None:
    """Run each script as `wg done` does."""
    environment = {**os.environ, "PATH": build_path(arguments.wg)}
    logs = arguments.out.with_suffix(".logs").resolve()
    started_at = monotonic()

    def run(scenario: Scenario) -> Observation:
        observation = run_plain_scenario(
            scenario, arguments.checkout.resolve(), environment, logs / scenario.name
        )
        sys.stderr.write(f"{scenario.name}: {observation.ending}, {observation.seconds:.1f} s\n")
        return observation

    scenarios = select_scenarios(arguments)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        observations = dict(
            zip([scenario.name for scenario in scenarios], pool.map(run, scenarios), strict=True)
        )
    write_side(
        arguments,
        observations,
        sum(observation.seconds for observation in observations.values()),
        monotonic() - started_at,
    )


def run_plain_scenario(
    scenario: Scenario, directory: Path, environment: Mapping[str, str], log: Path
) -> Observation:
    """Run one script with its output in files, which leftover processes cannot block as pipes."""
    log.mkdir(parents=True, exist_ok=True)
    (log / "ending").unlink(missing_ok=True)
    namespaces = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
    script_arguments = (str(scenario.seconds), str(scenario.script), str(log))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as fresh:
        process = subprocess.Popen(
            [*namespaces, "bash", "-c", PLAIN, "plain", *script_arguments],
            stdin=subprocess.DEVNULL,
            cwd=directory,
            start_new_session=True,
            env={
                **environment,
                "FRESH": fresh,
                "WG_SMOKE_SCENARIO": scenario.name,
                "WG_SMOKE_TIMEOUT_SECS": str(scenario.seconds),
            },
        )
        try:
            process.wait(scenario.seconds + HANG_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return read_log(scenario, log)


def read_log(scenario: Scenario, log: Path) -> Observation:
    """Return the results written by `PLAIN`; a timeout if the script even outlived its deadline."""
    stderr = (log / "stderr").read_text(errors="replace").splitlines()
    if not (log / "ending").exists():
        return Observation(ending="timeout", reason=find_reason(stderr), seconds=scenario.seconds)
    code, started_at, ended = (log / "ending").read_text().split()
    seconds = float(ended) - float(started_at)
    is_late = seconds >= scenario.seconds and code != "0"
    return Observation(
        ending="timeout" if is_late else f"exit {code}",
        reason="" if code == "0" else find_reason(stderr),
        seconds=seconds,
        survivors=tuple(" ".join(line.split()) for line in (log / "left").read_text().splitlines()),
    )


def find_reason(lines: list[str]) -> str:
    """Return a line `reason: …` near the end of a script's stderr, else its last line with text."""
    reasons = (line.strip() for line in reversed(lines[-12:]) if "reason:" in line)
    texts = (line.strip() for line in reversed(lines) if re.search(r"\w", line))
    return next(reasons, next(texts, "")).removeprefix("reason:").strip()


def build_path(binary: Path) -> str:
    """Return a PATH that starts with the binary's directory, which may contain siblings."""
    return f"{binary.resolve().parent}:{os.environ.get('PATH', os.defpath)}"


def run_isosmoke(arguments: argparse.Namespace) -> None:
    """Run the same scenarios in isosmoke, several at once; leaks are reported only."""
    names = [scenario.name for scenario in select_scenarios(arguments)]
    options = (
        "--engine",
        "bubblewrap",
        "--leaks",
        "report",
        *(("--jobs", str(arguments.jobs)) if arguments.jobs else ()),
        "--json",
        *(("--place", arguments.place) if arguments.place else ()),
    )
    document = arguments.out.with_suffix(".run.json")
    with document.open("wb") as out:
        subprocess.run(
            [arguments.isosmoke, "run", *options, *names],
            stdin=subprocess.DEVNULL,
            stdout=out,
            cwd=arguments.checkout,
            env={
                **os.environ,
                "PATH": build_path(arguments.wg),
                "ISOSMOKE_WG": str(arguments.wg.resolve()),
            },
            check=False,
        )
    run = json.loads(document.read_text())
    observations = {scenario["name"]: read_record(scenario) for scenario in run["scenarios"]}
    write_side(
        arguments,
        observations,
        sum(observation.seconds for observation in observations.values()),
        run["seconds"],
    )


def read_record(scenario: Mapping[str, Any]) -> Observation:
    """Return the result of the last attempt, which decides: a failure was repeated in isolation."""
    first, last = scenario["attempts"][0], scenario["attempts"][-1]
    return Observation(
        ending=describe_ending(last),
        reason=last["reason"],
        seconds=last["seconds"],
        survivors=tuple(describe_process(process) for process in last["leaks"]),
        concurrent_ending=describe_ending(first) if len(scenario["attempts"]) > 1 else "",
    )


def describe_ending(attempt: Mapping[str, Any]) -> str:
    """Return the ending of an attempt, in the notation of `Observation`."""
    if attempt["outcome"] == "TIMEOUT":
        return "timeout"
    if attempt["exit_code"] is None:
        return str(attempt["signal"] or attempt["outcome"])
    return f"exit {attempt['exit_code']}"


def describe_process(process: Mapping[str, Any]) -> str:
    """Return a process as one line: `pid ppid age state argv`, as `ps` prints it."""
    fields = (process["pid"], process["ppid"], round(process["age_seconds"]), process["state"])
    return " ".join([*map(str, fields), *process["argv"]])


def write_side(
    arguments: argparse.Namespace,
    observations: Mapping[str, Observation],
    total: float,
    wall: float,
) -> None:
    """Write one side: its results, the total seconds of its scenarios, and its wall time."""
    document = {
        "jobs": arguments.jobs,
        "added_up_seconds": round(total, 1),
        "wall_seconds": round(wall, 1),
        "scenarios": {name: asdict(observation) for name, observation in observations.items()},
    }
    arguments.out.write_text(json.dumps(document, indent=1) + "\n")


def compare(arguments: argparse.Namespace) -> None:
    """Print both sides, their differences, and leftover processes."""
    sides = [json.loads(path.read_text()) for path in (arguments.plain, arguments.isosmoke)]
    first, second = (side["scenarios"] for side in sides)
    pairs = {
        name: (Observation(**first[name]), Observation(**second[name]))
        for name in first
        if name in second
    }
    different = [
        name for name, (plain, isosmoke) in pairs.items() if plain.ending != isosmoke.ending
    ]
    leaking = [name for name, (_, isosmoke) in pairs.items() if isosmoke.survivors]
    if arguments.json:
        good = [
            name
            for name, (plain, isosmoke) in pairs.items()
            if {plain.ending, isosmoke.ending} <= {"exit 0", "exit 77"}
        ]
        document = {
            "compared": len(pairs),
            "different": different,
            "leaking": leaking,
            "good": good,
        }
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        sys.stdout.writelines(
            f"{line}\n" for line in render_tables(sides, pairs, different, leaking)
        )


def render_tables(
    sides: Iterable[Mapping[str, Any]],
    pairs: Mapping[str, tuple[Observation, Observation]],
    different: Iterable[str],
    leaking: Iterable[str],
) -> Iterator[str]:
    """Yield the comparison as Markdown tables."""
    yield from render_head("side", "jobs", "wall s", "total scenario s")
    for name, side in zip(("plain", "isosmoke"), sides, strict=True):
        yield render_row(name, side["jobs"], side["wall_seconds"], side["added_up_seconds"])
    yield from render_head("plain", "isosmoke", "scenarios")
    endings = Counter((plain.ending, isosmoke.ending) for plain, isosmoke in pairs.values())
    for both, count in sorted(endings.items()):
        yield render_row(*both, count)
    yield from render_head("different", "plain", "isosmoke")
    for name in different:
        plain, isosmoke = pairs[name]
        yield render_row(
            name, f"{plain.ending}: {plain.reason}", f"{isosmoke.ending}: {isosmoke.reason}"
        )
    yield from render_head(
        "failed alongside others, repeated in isolation", "alongside others", "in isolation"
    )
    for name, (_, isosmoke) in pairs.items():
        if isosmoke.concurrent_ending and isosmoke.concurrent_ending != isosmoke.ending:
            yield render_row(name, isosmoke.concurrent_ending, isosmoke.ending)
    yield from render_head("leaking", "ending", "left in isosmoke", "left in plain")
    for name in leaking:
        plain, isosmoke = pairs[name]
        yield render_row(
            name, isosmoke.ending, "<br>".join(isosmoke.survivors), "<br>".join(plain.survivors)
        )


def render_head(*titles: str) -> tuple[str, ...]:
    """Return the head of a Markdown table."""
    return "", render_row(*titles), render_row(*("---" for _ in titles))


def render_row(*cells: object) -> str:
    """Return a line of a Markdown table."""
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    sys.exit(main())
