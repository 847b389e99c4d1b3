"""Compare isosmoke's verdicts on wg's smoke suite with those of plain `bash SCRIPT`.

`plain` and `isosmoke` each run the suite and write what they saw as JSON; `table` puts two such
files side by side. Each side runs in a clone of wg that nobody else needs:

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
"""How long past its deadline a script that ignores SIGTERM may take, which wg would wait for."""

PLAIN = """
mount --bind "$FRESH" /tmp
export HOME=/tmp/home && mkdir "$HOME"
: >"$3/left"
begun=$EPOCHREALTIME
timeout --preserve-status "$1" bash "$2" >"$3/output" 2>"$3/stderr"
echo "$? $begun $EPOCHREALTIME" >"$3/ending"
for _ in 1 2 3 4 5 6 7 8; do
    ps -eo pid=,ppid=,etimes=,stat=,args= --no-headers \
        | awk '$1 != 1 && $2 != 0 && $4 !~ /Z/ && !/ps -eo|awk|sleep 0.25/' >"$3/left"
    [[ -s $3/left ]] || break
    sleep 0.25
done
"""
"""What wg does for a scenario, in namespaces of its own: what it leaves must not harm this machine.

`$FRESH` becomes /tmp, and process 1 is this shell, so everything ends with it. What is left is
listed after the clock has stopped, once it had the time that isosmoke gives it to end.
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What wg reads of a manifest's entry; `script` is absolute."""

    name: str
    script: Path
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one side saw of a scenario.

    `ending` is `exit N`, a signal or `timeout`; `left` are the processes that outlived the script;
    `beside` is the ending of a first attempt that failed beside others, where there was one.
    """

    ending: str
    reason: str = ""
    seconds: float = 0.0
    left: tuple[str, ...] = ()
    beside: str = ""


def main(arguments: list[str] | None = None) -> int:
    """Run one of the three commands."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    one, other = (commands.add_parser(name) for name in ("plain", "isosmoke"))
    for side, run in ((one, plain), (other, isosmoke)):
        side.set_defaults(command=run)
        side.add_argument("checkout", type=Path, help="a disposable clone of wg")
        side.add_argument("--wg", type=Path, required=True, help="the live binary")
        side.add_argument("--left-out", type=Path, default=HERE / "left_out.toml")
        side.add_argument("--only", nargs="+", default=[], metavar="NAME")
        side.add_argument("--jobs", type=int, default=1)
        side.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    other.add_argument("--isosmoke", default="isosmoke", help="the command")
    table = commands.add_parser("table", help="put two sides next to each other, as Markdown")
    table.set_defaults(command=compare)
    table.add_argument("plain", type=Path)
    table.add_argument("isosmoke", type=Path)
    table.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    given.command(given)
    return 0


def chosen(given: argparse.Namespace) -> list[Scenario]:
    """The manifest's scenarios without those left out; the list must fit the manifest."""
    path = given.checkout.resolve() / MANIFEST
    entries = tomllib.loads(path.read_text())["scenario"]
    left_out = tomllib.loads(given.left_out.read_text())["left_out"]
    every = [
        Scenario(
            one["name"], path.parent / one["script"], one.get("timeout_seconds", DEFAULT_SECONDS)
        )
        for one in entries
    ]
    unknown = {*left_out, *given.only} - {one.name for one in every}
    if unknown:
        raise SystemExit(f"not in the manifest: {', '.join(sorted(unknown))}")
    wanted = given.only or [one.name for one in every if one.name not in left_out]
    return [one for one in every if one.name in wanted]


def plain(given: argparse.Namespace) -> None:
    """Run each script as `wg done` does."""
    environment = {**os.environ, "PATH": path_with(given.wg)}
    logs = given.out.with_suffix(".logs").resolve()
    begun = monotonic()

    def run(scenario: Scenario) -> Seen:
        seen = plainly(scenario, given.checkout.resolve(), environment, logs / scenario.name)
        sys.stderr.write(f"{scenario.name}: {seen.ending}, {seen.seconds:.1f} s\n")
        return seen

    scenarios = chosen(given)
    with ThreadPoolExecutor(given.jobs) as pool:
        found = dict(zip([one.name for one in scenarios], pool.map(run, scenarios), strict=True))
    write(given, found, sum(one.seconds for one in found.values()), monotonic() - begun)


def plainly(scenario: Scenario, folder: Path, environment: Mapping[str, str], log: Path) -> Seen:
    """One script, to files and never to pipes: what it leaves behind must not hold us up."""
    log.mkdir(parents=True, exist_ok=True)
    (log / "ending").unlink(missing_ok=True)
    namespaces = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
    words = (str(scenario.seconds), str(scenario.script), str(log))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as fresh:
        process = subprocess.Popen(
            [*namespaces, "bash", "-c", PLAIN, "plain", *words],
            stdin=subprocess.DEVNULL,
            cwd=folder,
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
    return from_log(scenario, log)


def from_log(scenario: Scenario, log: Path) -> Seen:
    """What `PLAIN` wrote down; nothing, if the script outlived even its deadline."""
    said = (log / "stderr").read_text(errors="replace").splitlines()
    if not (log / "ending").exists():
        return Seen(ending="timeout", reason=last_words(said), seconds=scenario.seconds)
    code, begun, ended = (log / "ending").read_text().split()
    seconds = float(ended) - float(begun)
    late = seconds >= scenario.seconds and code != "0"
    return Seen(
        ending="timeout" if late else f"exit {code}",
        reason="" if code == "0" else last_words(said),
        seconds=seconds,
        left=tuple(" ".join(line.split()) for line in (log / "left").read_text().splitlines()),
    )


def last_words(lines: list[str]) -> str:
    """A line `reason: …` near the end of a script's stderr, else its last line with words."""
    stated = (line.strip() for line in reversed(lines[-12:]) if "reason:" in line)
    spoken = (line.strip() for line in reversed(lines) if re.search(r"\w", line))
    return next(stated, next(spoken, "")).removeprefix("reason:").strip()


def path_with(binary: Path) -> str:
    """PATH with the folder of the binary first, so that its siblings are found too."""
    return f"{binary.resolve().parent}:{os.environ.get('PATH', os.defpath)}"


def isosmoke(given: argparse.Namespace) -> None:
    """Let isosmoke run the same scenarios, several at once; leaks are reported, not judged."""
    names = [one.name for one in chosen(given)]
    options = ("--engine", "bubblewrap", "--leaks", "report", "--jobs", str(given.jobs), "--json")
    document = given.out.with_suffix(".run.json")
    with document.open("wb") as out:
        subprocess.run(
            [given.isosmoke, "run", *options, *names],
            stdin=subprocess.DEVNULL,
            stdout=out,
            cwd=given.checkout,
            env={**os.environ, "PATH": path_with(given.wg), "ISOSMOKE_WG": str(given.wg.resolve())},
            check=False,
        )
    run = json.loads(document.read_text())
    found = {one["name"]: from_record(one) for one in run["scenarios"]}
    write(given, found, sum(one.seconds for one in found.values()), run["seconds"])


def from_record(scenario: Mapping[str, Any]) -> Seen:
    """The last attempt is the verdict: one that failed beside others was repeated alone."""
    first, last = scenario["attempts"][0], scenario["attempts"][-1]
    return Seen(
        ending=ending(last),
        reason=last["reason"],
        seconds=last["seconds"],
        left=tuple(described(one) for one in last["leaks"]),
        beside=ending(first) if len(scenario["attempts"]) > 1 else "",
    )


def ending(attempt: Mapping[str, Any]) -> str:
    """How an attempt ended, in the words of `Seen`."""
    if attempt["outcome"] == "TIMEOUT":
        return "timeout"
    if attempt["exit_code"] is None:
        return str(attempt["signal"] or attempt["outcome"])
    return f"exit {attempt['exit_code']}"


def described(process: Mapping[str, Any]) -> str:
    """A process as one line: `pid ppid age state argv`, as `ps` prints it for the other side."""
    facts = (process["pid"], process["ppid"], round(process["age_seconds"]), process["state"])
    return " ".join([*map(str, facts), *process["argv"]])


def write(given: argparse.Namespace, found: Mapping[str, Seen], alone: float, wall: float) -> None:
    """Keep a side: what it saw, its scenarios' seconds added up, and its wall time."""
    document = {
        "jobs": given.jobs,
        "added_up_seconds": round(alone, 1),
        "wall_seconds": round(wall, 1),
        "scenarios": {name: asdict(seen) for name, seen in found.items()},
    }
    given.out.write_text(json.dumps(document, indent=1) + "\n")


def compare(given: argparse.Namespace) -> None:
    """Print both sides, what differs, and what was left behind."""
    sides = [json.loads(path.read_text()) for path in (given.plain, given.isosmoke)]
    first, second = (side["scenarios"] for side in sides)
    pairs = {name: (Seen(**first[name]), Seen(**second[name])) for name in first if name in second}
    different = [name for name, (one, other) in pairs.items() if one.ending != other.ending]
    leaking = [name for name, (_, other) in pairs.items() if other.left]
    if given.json:
        good = [
            name
            for name, (one, other) in pairs.items()
            if {one.ending, other.ending} <= {"exit 0", "exit 77"}
        ]
        document = {
            "compared": len(pairs),
            "different": different,
            "leaking": leaking,
            "good": good,
        }
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in markdown(sides, pairs, different, leaking))


def markdown(
    sides: Iterable[Mapping[str, Any]],
    pairs: Mapping[str, tuple[Seen, Seen]],
    different: Iterable[str],
    leaking: Iterable[str],
) -> Iterator[str]:
    """The comparison as tables."""
    yield from rows("side", "jobs", "wall s", "scenarios' s added up")
    for name, side in zip(("plain", "isosmoke"), sides, strict=True):
        yield row(name, side["jobs"], side["wall_seconds"], side["added_up_seconds"])
    yield from rows("plain", "isosmoke", "scenarios")
    endings = Counter((one.ending, other.ending) for one, other in pairs.values())
    for both, count in sorted(endings.items()):
        yield row(*both, count)
    yield from rows("different", "plain", "isosmoke")
    for name in different:
        one, other = pairs[name]
        yield row(name, f"{one.ending}: {one.reason}", f"{other.ending}: {other.reason}")
    yield from rows("failed beside others, repeated alone", "beside", "alone")
    for name, (_, other) in pairs.items():
        if other.beside and other.beside != other.ending:
            yield row(name, other.beside, other.ending)
    yield from rows("leaking", "ending", "left in isosmoke", "left in plain")
    for name in leaking:
        one, other = pairs[name]
        yield row(name, other.ending, "<br>".join(other.left), "<br>".join(one.left))


def rows(*titles: str) -> tuple[str, ...]:
    """The head of a Markdown table."""
    return "", row(*titles), row(*("---" for _ in titles))


def row(*cells: object) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    sys.exit(main())
