"""Compare the cold start of isosmoke's commands with Python, pydantic and bash: medians of one run.

The contenders take turns, so that other load on the machine affects them all alike. The number of
rounds is the first argument. A column has the time above that of `python -c pass`; the time on a
processor, of the command and all its children, is less affected by other load.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

ROUNDS = 15
SCENARIOS = 324
ISOSMOKE = str(Path(sys.executable).with_name("isosmoke"))
BASE = "python -c pass"
ENVIRONMENT = {name: os.environ[name] for name in os.environ.keys() - {"PYTHONDONTWRITEBYTECODE"}}
"""With it, Python would compile each module again, which an installed package has done once."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One start of a command, in milliseconds."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Contender:
    """A command, the variables that it gets, and the goal above `python -c pass` in ms, if any."""

    argv: tuple[str, ...]
    variables: Mapping[str, str]
    goal: int | None = None

    def start(self, directory: Path) -> Sample:
        """Run the command once."""
        before, begin = getrusage(RUSAGE_CHILDREN), perf_counter()
        subprocess.run(
            self.argv,
            cwd=directory,
            env={**ENVIRONMENT, **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        wall, after = perf_counter() - begin, getrusage(RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Sample(wall * 1000, cpu * 1000)


def list_contenders(top: Path) -> Mapping[str, Contender]:
    """Return the commands by name; those of isosmoke work in a project at `top`."""
    variables = {"ISOSMOKE_STATE": str(top / "state")}
    completion = {
        "_ISOSMOKE_COMPLETE": "bash_complete",
        "COMP_WORDS": "isosmoke run on",
        "COMP_CWORD": "2",
    }
    many = ("--manifest", "many/manifest.toml")
    return {
        "bash -c :": Contender(("bash", "-c", ":"), {}),
        BASE: Contender((sys.executable, "-c", "pass"), {}),
        "import click": Contender((sys.executable, "-c", "import click"), {}),
        "import pydantic": Contender((sys.executable, "-c", "from pydantic import BaseModel"), {}),
        "isosmoke --help": Contender((ISOSMOKE, "--help"), variables, 100),
        "TAB": Contender((ISOSMOKE,), {**variables, **completion}, 100),
        "isosmoke list": Contender((ISOSMOKE, "list"), variables, 150),
        f"isosmoke list, {SCENARIOS}": Contender((ISOSMOKE, "list", *many), variables, 200),
        "isosmoke run one": Contender(
            (ISOSMOKE, "run", "one", "--binary", "/bin/true"), variables, 200
        ),
    }


def create_project(top: Path) -> None:
    """Create a project with one scenario whose script is `:`, and a manifest with many."""
    for directory, names in ((top, ["one"]), (top / "many", [f"s{n}" for n in range(SCENARIOS)])):
        directory.mkdir(exist_ok=True)
        (directory / "script.sh").write_text(":\n")
        entries = (
            f'[[scenario]]\nname = "{name}"\nscript = "script.sh"\nowners = ["task-{name}"]\n'
            f'assertion = "The program still does what {name} is about."\ntags = ["fast"]\n'
            for name in names
        )
        (directory / "manifest.toml").write_text("\n".join(entries))
    subprocess.run(["git", "init", "-q", str(top)], check=True)


def measure(top: Path, rounds: int) -> Mapping[str, Sequence[Sample]]:
    """Return the samples of each contender; a first start of each is not counted."""
    contenders = list_contenders(top)
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, contender in contenders.items():
            sample = contender.start(top)
            if number:
                samples[name].append(sample)
    return samples


def main(rounds: int) -> None:
    """Print medians, the smallest and the largest time, and the goals."""
    with TemporaryDirectory() as directory:
        top = Path(directory)
        create_project(top)
        samples = measure(top, rounds)
        goals = {name: contender.goal for name, contender in list_contenders(top).items()}
    base = Sample(
        median(sample.wall for sample in samples[BASE]),
        median(sample.cpu for sample in samples[BASE]),
    )
    print(f"{'':<20} {'wall ms (min-max)':>20} {'above':>6} {'CPU ms':>7} {'above':>6} {'goal':>5}")
    for name, values in samples.items():
        wall, cpu = median(value.wall for value in values), median(value.cpu for value in values)
        spread = f"{wall:.0f} ({min(v.wall for v in values):.0f}-{max(v.wall for v in values):.0f})"
        print(
            f"{name:<20} {spread:>20} {wall - base.wall:6.0f} {cpu:7.0f} {cpu - base.cpu:6.0f} "
            f"{goals[name] or '':>5}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
