"""Compare a warm scenario, whose script is `:`, with bash, bwrap, bats and `docker run`.

    bench/warm.py [ROUNDS]      all contenders take turns, so that other load affects them alike
    bench/warm.py scale COUNT   one run of COUNT scenarios, with its memory, descriptors and threads
    bench/warm.py waiting COUNT the same with COUNT scenarios that wait at the same time

Times are those of a whole command, with its start, divided by the number of scenarios. The time on
a processor is that of the command and all its descendants (perf-stat(1), else getrusage(2)); that
of a daemon is missing. ISOSMOKE_IMAGE names the image for Docker (default: debian:stable-slim).
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import perf_counter

from isosmoke.engines.bubblewrap import bwrap_program

ROUNDS = 5
COUNT = 300
DOCKER_COUNT = 40
JOBS = (1, 4, 8)
WAITING_SECONDS = 30
ISOSMOKE = str(Path(sys.executable).with_name("isosmoke"))
ENVIRONMENT = {name: os.environ[name] for name in os.environ.keys() - {"PYTHONDONTWRITEBYTECODE"}}
IMAGE = os.environ.get("ISOSMOKE_IMAGE", "debian:stable-slim")


@dataclass(frozen=True, slots=True)
class Contender:
    """A command that runs `count` scripts, in a directory."""

    argv: tuple[str, ...]
    count: int
    directory: Path


@dataclass(frozen=True, slots=True)
class Sample:
    """The time of one scenario and its time on a processor, in milliseconds."""

    wall: float
    cpu: float


def run(contender: Contender) -> Sample:
    """Run a contender once."""
    with TemporaryDirectory() as directory:
        report = Path(directory, "perf")
        perf = ("perf", "stat", "-x,", "-e", "task-clock", "-o", str(report), "--")
        prefix = perf if shutil.which("perf") else ()
        before, begin = getrusage(RUSAGE_CHILDREN), perf_counter()
        subprocess.run(
            (*prefix, *contender.argv),
            cwd=contender.directory,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        wall, after = perf_counter() - begin, getrusage(RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if prefix:
            cpu = float(report.read_text().splitlines()[-1].split(",")[0]) / 1000
        return Sample(wall / contender.count * 1000, cpu / contender.count * 1000)


def repeat(count: int, jobs: int, *argv: str) -> tuple[str, ...]:
    """Return the command that runs `argv` so many times, `jobs` at once, under xargs."""
    return ("sh", "-c", f'seq {count} | xargs -P {jobs} -I@ "$@"', "sh", *argv)


def create_project(directory: Path, count: int, *, script: str = ":", image: str = "") -> Path:
    """Create a project with so many scenarios of one script."""
    directory.mkdir()
    (directory / "script.sh").write_text(f"{script}\n")
    key = f'image = "{image}"\n' if image else ""
    entries = (
        f'[[scenario]]\nname = "s{number}"\nscript = "script.sh"\nowners = ["task"]\n{key}'
        for number in range(count)
    )
    (directory / "manifest.toml").write_text("\n".join(entries))
    return directory


def list_contenders(top: Path) -> Iterator[tuple[str, Contender]]:
    """Yield the contenders by name."""
    project = create_project(top / "warm", COUNT)
    bwrap = (
        *(str(bwrap_program.find_installed()), "--ro-bind", "/", "/", "--proc", "/proc"),
        *("--dev", "/dev", "--unshare-pid", "--", "bash", "-c", ":"),
    )
    for jobs in JOBS:
        peers = {"bash": ("bash", "-c", ":"), "bwrap": bwrap}
        for name, argv in peers.items():
            yield f"{name}, {jobs} at once", Contender(repeat(COUNT, jobs, *argv), COUNT, top)
        run_all = (ISOSMOKE, "run", "-j", str(jobs))
        yield f"isosmoke run -j {jobs}", Contender(run_all, COUNT, project)
    if shutil.which("bats"):
        tests = "".join(f'@test "{number}" {{\n:\n}}\n' for number in range(COUNT))
        (top / "all.bats").write_text(tests)
        yield "bats", Contender(("bats", "all.bats"), COUNT, top)
    if shutil.which("docker"):
        yield from _list_docker_contenders(
            create_project(top / "docker", DOCKER_COUNT, image=IMAGE)
        )


def _list_docker_contenders(project: Path) -> Iterator[tuple[str, Contender]]:
    network = ("--network", "host")  # as in a scenario
    docker = ("docker", "run", "--rm", *network, "--entrypoint", "bash", IMAGE, "-c", ":")
    for jobs in JOBS[:2]:
        argv = repeat(DOCKER_COUNT, jobs, *docker)
        yield f"docker run --rm, {jobs} at once", Contender(argv, DOCKER_COUNT, project)
        run_all = (ISOSMOKE, "run", "--engine", "docker", "-j", str(jobs))
        yield f"isosmoke run --engine docker -j {jobs}", Contender(run_all, DOCKER_COUNT, project)


def read_waits(project: Path) -> Sequence[float]:
    """Return how long each scenario of the last run waited for its sandbox, in milliseconds."""
    newest = max((project / ".isosmoke/runs").iterdir())
    records = (json.loads(file.read_text()) for file in newest.glob("*/result.json"))
    phases = (record["attempts"][0]["phases"] for record in records)
    return [(phase["create"] + phase["start"]) * 1000 for phase in phases]


def compare(rounds: int, top: Path) -> None:
    """Let all contenders take turns, and print their medians.

    A first run, which writes the bytecode of modules and learns about the machine, does not count.
    """
    contenders = dict(list_contenders(top))
    for contender in contenders.values():
        if contender.argv[0] == ISOSMOKE:
            run(replace(contender, argv=(*contender.argv, "s0")))
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    waits: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, contender in contenders.items():
            samples[name].append(run(contender))
            if contender.argv[0] == ISOSMOKE:
                waits.setdefault(name, []).extend(read_waits(contender.directory))
    _print_table(samples, waits)


def _print_table(
    samples: Mapping[str, Sequence[Sample]], waits: Mapping[str, Sequence[float]]
) -> None:
    print("| each, in ms | median | least to most | CPU | wait for its sandbox: median, 90 % |")
    print("|---|---|---|---|---|")
    for name, ones in samples.items():
        wall = sorted(sample.wall for sample in ones)
        cpu = median(sample.cpu for sample in ones)
        wait = waits.get(name)
        start = f"{median(wait):.1f}, {quantiles(wait, n=10)[-1]:.1f}" if wait else ""
        spread = f"{wall[0]:.1f} to {wall[-1]:.1f}"
        print(f"| {name} | {median(wall):.1f} | {spread} | {cpu:.1f} | {start} |")


@dataclass(slots=True)
class Watch:
    """The largest resource usage of a process, looked at every half second."""

    pid: int
    memory: int = 0
    descriptors: int = 0
    threads: int = 0
    ended: Event = field(default_factory=Event)

    def __call__(self) -> None:
        while not self.ended.wait(0.5):
            try:
                status = Path(f"/proc/{self.pid}/status").read_text()
                fields = dict(line.split(":", 1) for line in status.splitlines())
                self.descriptors = max(
                    self.descriptors,
                    len(os.listdir(f"/proc/{self.pid}/fd")),  # noqa: PTH208
                )
            except OSError:
                return
            self.memory = max(self.memory, int(fields.get("VmHWM", "0 kB").split()[0]) // 1024)
            self.threads = max(self.threads, int(fields.get("Threads", "0")))


def measure_scale(top: Path, count: int, script: str, jobs: int) -> None:
    """Run so many scenarios once, and print what the run used and what it left."""
    project = create_project(top / "scale", count, script=script)
    state = top / "state"
    environment = {**ENVIRONMENT, "ISOSMOKE_STATE": str(state)}
    begin = perf_counter()
    process = subprocess.Popen(
        (ISOSMOKE, "run", "-j", str(jobs)),
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    watch = Watch(process.pid)
    watcher = Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    watch.ended.set()
    watcher.join()
    seconds = perf_counter() - begin
    print(output.splitlines()[-1])
    print(f"{seconds / count * 1000:.1f} ms each, {seconds:.0f} s in total")
    print(f"{watch.memory} MB, {watch.descriptors} descriptors, {watch.threads} threads at most")
    left = [str(path) for path in (state / "scratch").iterdir()]
    table = Path("/proc/self/mountinfo").read_text()
    mounts = [line for line in table.splitlines() if str(top) in line]
    print(f"left: {left or 'no directory'}, {len(mounts)} mounts")


def main() -> None:
    """Measure and print."""
    with TemporaryDirectory(prefix="isosmoke-bench-", dir="/var/tmp") as directory:
        match sys.argv[1:]:
            case ["scale", count]:
                measure_scale(Path(directory), int(count), ":", 4)
            case ["waiting", count]:
                measure_scale(Path(directory), int(count), f"sleep {WAITING_SECONDS}", int(count))
            case [rounds]:
                compare(int(rounds), Path(directory))
            case _:
                compare(ROUNDS, Path(directory))


if __name__ == "__main__":
    main()
