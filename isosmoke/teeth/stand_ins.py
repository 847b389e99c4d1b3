"""The stand-ins of a measurement: their plans and mounts, and the logs of their calls."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path, PurePosixPath
from threading import Lock

from isosmoke.dataclass import dataclass
from isosmoke.host import files
from isosmoke.host.binary import Binary
from isosmoke.host.files import trees
from isosmoke.keeper import STAND_IN_FILE
from isosmoke.manifest.models import Allowance, Scenario
from isosmoke.sandbox.spec import BINARIES, PRIVATE, CopyOnWrite, Mount, ReadOnly
from isosmoke.teeth.calls import call_log, script_lines
from isosmoke.teeth.calls.call_log import Call, CallLogError
from isosmoke.teeth.calls.grammar import MAX_GROUPS, MAX_SETTINGS, Grammar

CALLS = PRIVATE / "calls"
LOG = "log"
"""The file in the directory of calls with their records."""

_REAL, _TEETH, _OTHER = (PRIVATE / name for name in ("real", "teeth", "other"))

_TRACE_NAME = "trace.sh"
TRACE_FILE = _TEETH / _TRACE_NAME
"""The commands that record the line of each call, in a sandbox whose plan traces lines."""

RECORD, WATCH = "record", "watch"
"""The modes that sabotage nothing; `watch` also looks for effects."""


_ALLOWANCE = Allowance(command="^isosmoke-call$", reason="it passes on what another process writes")


def allow_stand_in(scenario: Scenario) -> Scenario:
    """Return a scenario that also allows its stand-in to outlive it, if it allows any process.

    The stand-in lives as long as the binary does, or a descendant that holds its output, and each
    of those is judged itself.
    """
    leaks = scenario.leaks
    if not leaks.allow:
        return scenario
    return scenario.change(leaks=replace(leaks, allow=(*leaks.allow, _ALLOWANCE)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The task of a stand-in: a mode, the subcommand, and the answers that it replays.

    `only` is the number of the one call that is sabotaged, from 0; None means all. With
    `traces_lines`, the sandbox has the file `TRACE_FILE`.
    """

    mode: str
    target: str = ""
    grammar: Grammar = field(default_factory=Grammar)
    answers: Sequence[Call] = ()
    only: int | None = None
    traces_lines: bool = False

    def render(self) -> str:
        """Return the plan in the form that the stand-in reads."""
        grammar = self.grammar
        return "".join(
            f"{key} {value}\n"
            for key, value in (
                ("mode", self.mode),
                ("target", self.target),
                *(() if self.only is None else (("only", self.only),)),
                *(("valued", option) for option in grammar.valued[:MAX_SETTINGS]),
                *(("group", word) for word in grammar.groups[:MAX_GROUPS]),
                *(("between", option) for option in grammar.between[:MAX_SETTINGS]),
                *(("between-valued", option) for option in grammar.between_valued[:MAX_SETTINGS]),
                *(("pattern", pattern) for pattern in grammar.patterns[:MAX_SETTINGS]),
                *(
                    ("answer", f"{call.arguments} {call.status} {number}")
                    for number, call in enumerate(self.answers)
                ),
            )
        )

    def list_files(self) -> Iterator[tuple[str, bytes]]:
        """Yield the name and the content of each file that the stand-in or bash reads."""
        yield "plan", self.render().encode(errors="surrogateescape")
        if self.traces_lines:
            yield _TRACE_NAME, script_lines.TRACE.encode()
        for number, call in enumerate(self.answers):
            for descriptor, output in ((1, call.stdout), (2, call.stderr)):
                if output is not None and output.size:
                    yield f"answer-{number}.{descriptor}", output.content


@dataclass(slots=True)
class StandInRegistry:
    """The stand-ins of scenarios, by name, in `root`; a scenario without a plan has none.

    `other` is the binary that `against` runs.
    """

    root: Path
    other: Binary | None = None
    _plans: dict[str, Path] = field(default_factory=dict)
    _logs: dict[str, bytes] = field(default_factory=dict)
    _programs: dict[Path, Path] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def register(self, name: str, plan: Plan) -> None:
        """Let a stand-in with this plan take the place of the binary in a scenario."""
        directory = self.root / f"plan-{len(self._plans)}"
        directory.mkdir(mode=0o755)
        for file, content in plan.list_files():
            (directory / file).write_bytes(content)
        self._plans[name] = directory

    def forget(self, name: str) -> None:
        """Let the binary itself run in a scenario again, and drop the log of its calls."""
        trees.remove(self._plans.pop(name))
        self._logs.pop(name, None)

    def list_mounts(self, scenario: Scenario, binary: Binary) -> tuple[Mount, ...]:
        """Return the mounts of the stand-in, the binary, the plan and the directory of calls."""
        plan = self._plans.get(scenario.name)
        if plan is None:
            return ()
        other = () if self.other is None else (ReadOnly(self.other.folder, _OTHER),)
        return (
            ReadOnly(self._find_program(binary.folder), BINARIES),
            ReadOnly(binary.folder, _REAL),
            ReadOnly(plan, _TEETH),
            CopyOnWrite(self._find_empty(), at=CALLS, is_cache=True),
            *other,
        )

    def _find_program(self, real: Path) -> Path:
        """Return a directory with the stand-in under each name of the binary."""
        with self._lock:
            if real not in self._programs:
                directory = self.root / f"program-{len(self._programs)}"
                directory.mkdir(mode=0o755)
                program = self.root / f"{directory.name}.copy"
                program.write_bytes(STAND_IN_FILE.read_bytes())
                program.chmod(0o755)
                for name in os.listdir(real):  # noqa: PTH208 - names
                    (directory / name).hardlink_to(program)
                self._programs[real] = directory
            return self._programs[real]

    def _find_empty(self) -> Path:
        """Return an empty directory that any user of a sandbox can write to."""
        directory = self.root / "empty"
        with self._lock:
            if not directory.exists():
                directory.mkdir()
                directory.chmod(0o777)
        return directory

    def collect(self, scenario: Scenario, changes: Mapping[PurePosixPath, Path]) -> None:
        """Read the log of a scenario's calls; a later attempt replaces that of an earlier one."""
        if scenario.name not in self._plans:
            return
        upper = changes.get(CALLS)
        self._logs.pop(scenario.name, None)
        if upper is not None:
            log = upper / LOG
            self._logs[scenario.name] = files.read(log, follow=False) if log.is_file() else b""

    def read_calls(self, name: str) -> tuple[Call, ...] | None:
        """Return the calls of a scenario's last attempt; None if they are not known."""
        log = self._logs.get(name)
        if log is None:
            return None
        try:
            return call_log.parse(log)
        except CallLogError:
            return None
