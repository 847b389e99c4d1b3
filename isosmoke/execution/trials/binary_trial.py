"""A check that the live binary can run in an image, made by starting it there once."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from isosmoke.dataclass import dataclass
from isosmoke.engines.base import Engine
from isosmoke.errors import EngineError
from isosmoke.host.binary import COMMAND_NAME
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import Broke, Exited
from isosmoke.rootfs_images import elf, loader_diagnosis
from isosmoke.rootfs_images.elf import ElfRequirements
from isosmoke.runner import job_builder, sandbox_run
from isosmoke.runner.job_builder import RunContext
from isosmoke.runner.output import Capture
from isosmoke.sandbox.spec import BINARIES, HOST_IMAGE
from isosmoke.text import truncate

if TYPE_CHECKING:  # a gate always starts the binary
    from isosmoke.rootfs_images.known_starts import ProgramStart

_SECONDS = 30
_MAX_VERSION = 200
_BINARY = str(BINARIES / COMMAND_NAME)
_LISTING = {"LD_TRACE_LOADED_OBJECTS": "1"}
"""Variables that make glibc's loader list libraries without starting the program (ld.so(8))."""

_SHELL = "/bin/sh"
_LIST_MISSING = 'for name; do command -v "$name" >/dev/null || echo "$name"; done'
_WIREGUARD = "wireguard-tools"


@dataclass(frozen=True, slots=True)
class _CommandResult:
    """The output of a command; `start_error` is the kernel's reason for not starting it."""

    output: str
    start_error: str = ""
    succeeded: bool = False


@dataclass(frozen=True, slots=True)
class BinaryAnswer:
    """The answer of the binary to `--version`, or the `problem` for which it cannot run.

    `line` is its first line. A `version` is such a line with a digit, of a command that succeeded;
    else it is empty.
    """

    line: str = ""
    version: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BinaryCheck:
    """A check of the binary of `context` in the image of a scenario."""

    scenario: Scenario
    context: RunContext
    engine: Engine
    interrupt: Interrupt

    def ask(self) -> BinaryAnswer:
        """Start the binary in the image with `--version`, and return its answer.

        Raises:
            EngineError: if no program can run in the image.
        """
        result = self._run((_BINARY, "--version"))
        if problem := self._find_problem(result):
            return BinaryAnswer(problem=problem)
        line = next(iter(result.output.splitlines()), "")
        has_version = result.succeeded and any(map(str.isdigit, line))
        return BinaryAnswer(line, truncate(line, _MAX_VERSION) if has_version else "")

    def _find_problem(self, result: _CommandResult) -> str:
        """Return the reason why the binary cannot run in the image; empty if it can."""
        if result.start_error:
            return self._explain_start_error(result.start_error)
        if _WIREGUARD in result.output:
            return "it is WireGuard's program of the same name"
        complaint = loader_diagnosis.find_loader_error(result.output)
        return complaint and (self._explain_loader_error() or complaint)

    def identify_start(self) -> "ProgramStart | None":
        """Return what identifies a start of the binary; None if the image is not the host's."""
        from isosmoke.rootfs_images.known_starts import ProgramStart

        if self.scenario.image != HOST_IMAGE or not self.engine.is_local:
            return None
        job = job_builder.build_job(self.scenario, (_BINARY, "--version"), self.context)
        return ProgramStart(self._binary_copy, replace(job.spec, label=""), job.environment)

    def libc(self) -> str:
        """Return the name and version of the image's C library; empty if none is found."""
        loaders = loader_diagnosis.LOADERS.get(platform.machine(), ())
        commands = (
            command
            for loader in loaders
            for command in loader_diagnosis.get_version_commands(loader)
        )
        names = (loader_diagnosis.parse_libc(self._run(command).output) for command in commands)
        return next(filter(None, names), "")

    def find_missing(self, commands: Sequence[str]) -> tuple[str, ...]:
        """Return the commands that the image lacks; without a shell, all of them."""
        result = self._run((_SHELL, "-c", _LIST_MISSING, "sh", *commands))
        return (_SHELL, *commands) if result.start_error else tuple(result.output.splitlines())

    def _explain_loader_error(self) -> str:
        needs = self._read_needs()
        if needs is None:
            return ""
        return loader_diagnosis.explain_misfit(
            needs, self.libc(), self._list_libraries(needs.loader)
        )

    def _list_libraries(self, loader: str) -> str:
        if loader_diagnosis.is_musl(loader):
            return self._run((loader, "--list", _BINARY)).output
        return self._run((loader, _BINARY), _LISTING).output

    def _explain_start_error(self, error: str) -> str:
        """Return an explanation with the missing loader or interpreter, which the kernel omits."""
        needs = self._read_needs()
        if not error.endswith("No such file or directory"):
            return error
        if needs is None:
            return f"its interpreter {self._read_interpreter()} does not exist in the image"
        return loader_diagnosis.explain_missing_loader(needs, self.libc())

    def _read_needs(self) -> ElfRequirements | None:
        return elf.read_requirements(self._binary_copy)

    def _read_interpreter(self) -> str:
        with self._binary_copy.open("rb") as file:
            return file.readline().decode(errors="replace").removeprefix("#!").strip()

    @property
    def _binary_copy(self) -> Path:
        assert self.context.binary is not None  # noqa: S101 - for mypy: a check requires a binary
        return self.context.binary.folder / COMMAND_NAME

    def _run(
        self, argv: tuple[str, ...], variables: Mapping[str, str] | None = None
    ) -> _CommandResult:
        scenario = self.scenario.change(
            timeout_seconds=_SECONDS,
            settle_seconds=0.0,
            env={**self.scenario.env, **(variables or {})},
        )
        job = job_builder.build_job(scenario, argv, self.context)
        redactor = self.context.redactor(self.scenario)
        with Capture(None, 0, redactor=redactor) as capture:
            run = sandbox_run.run_job(job, self.engine, capture=capture, interrupt=self.interrupt)
        if run.cleanup_failures:
            raise EngineError(run.cleanup_failures[0])
        if isinstance(run.ending, Broke):
            return _CommandResult(
                "", _extract_kernel_error(redactor.text(run.ending.message), argv[0])
            )
        output = capture.output.head.decode(errors="replace")
        return _CommandResult(output, succeeded=run.ending == Exited(0))


def _extract_kernel_error(message: str, program: str) -> str:
    """Return the error of execve(2) in a message.

    Raises:
        EngineError: if the sandbox broke for another reason.
    """
    if program not in message:
        raise EngineError(message)
    return message.rpartition(": ")[2]


def list_required_commands(scenarios: Sequence[Scenario]) -> Iterator[str]:
    """Yield bash, which runs all scripts, and the commands that these scenarios require."""
    yield "bash"
    for scenario in scenarios:
        yield from (name for name in scenario.requires.commands if name != COMMAND_NAME)
