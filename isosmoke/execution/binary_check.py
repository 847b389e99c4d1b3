"""Starts the live binary once in an image, and says why it cannot run there."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isosmoke.engines.base import Engine
from isosmoke.errors import EngineError
from isosmoke.host.binary import KNOWN_AS
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import Broke
from isosmoke.rootfs_images import elf, loader_diagnosis
from isosmoke.rootfs_images.elf import Needs
from isosmoke.runner import job_builder, sandbox_run
from isosmoke.runner.job_builder import RunContext
from isosmoke.runner.output import Capture
from isosmoke.sandbox.spec import BINARIES

_SECONDS = 30
_BINARY = str(BINARIES / KNOWN_AS)
_LISTING = {"LD_TRACE_LOADED_OBJECTS": "1"}
"""What makes glibc's loader list a program's libraries and not start it (ld.so(8))."""

_SHELL = "/bin/sh"
_LACKING = 'for one; do command -v "$one" >/dev/null || echo "$one"; done'
_WIREGUARD = "wireguard-tools"


@dataclass(frozen=True, slots=True)
class _Said:
    """All that a command printed; `refused` is why the kernel did not start it."""

    text: str
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One image, as the scenario has it, with the binary of `context` in it."""

    scenario: Scenario
    context: RunContext
    engine: Engine
    interrupt: Interrupt

    def refusal(self) -> str:
        """Why the binary cannot be run there; empty when it can. `EngineError` when nothing can."""
        said = self._run((_BINARY, "--version"))
        if said.refused:
            return self._unstarted(said.refused)
        if _WIREGUARD in said.text:
            return "this is WireGuard's program of the same name"
        complaint = loader_diagnosis.loader_complaint(said.text)
        return complaint and (self._misfit() or complaint)

    def version(self) -> str:
        """The first line that the binary says of itself."""
        return next(iter(self._run((_BINARY, "--version")).text.splitlines()), "")

    def libc(self) -> str:
        """The C library of the image and its version; empty where none is found."""
        loaders = loader_diagnosis.LOADERS.get(platform.machine(), ())
        asked = (command for one in loaders for command in loader_diagnosis.asks_version(one))
        found = (loader_diagnosis.libc(self._run(command).text) for command in asked)
        return next(filter(None, found), "")

    def lacks(self, commands: Sequence[str]) -> tuple[str, ...]:
        """Those of the commands that the image has not; all, where it has no shell to ask."""
        said = self._run((_SHELL, "-c", _LACKING, "sh", *commands))
        return (_SHELL, *commands) if said.refused else tuple(said.text.splitlines())

    def _misfit(self) -> str:
        needs = self._needs()
        return (
            loader_diagnosis.misfit(needs, self.libc(), self._listed(needs.loader)) if needs else ""
        )

    def _listed(self, loader: str) -> str:
        if loader_diagnosis.is_musl(loader):
            return self._run((loader, "--list", _BINARY)).text
        return self._run((loader, _BINARY), _LISTING).text

    def _unstarted(self, why: str) -> str:
        """The kernel names neither the loader nor the interpreter that it does not find."""
        needs = self._needs()
        if not why.endswith("No such file or directory"):
            return why
        if needs is None:
            return f"{self._interpreter()}, which its first line names, is not there"
        return loader_diagnosis.foreign(needs, self.libc())

    def _needs(self) -> Needs | None:
        return elf.read(self._copy())

    def _interpreter(self) -> str:
        with self._copy().open("rb") as file:
            return file.readline().decode(errors="replace").removeprefix("#!").strip()

    def _copy(self) -> Path:
        assert self.context.binary is not None  # noqa: S101 - for mypy: else there is no trial of it
        return self.context.binary.folder / KNOWN_AS

    def _run(self, argv: tuple[str, ...], more: Mapping[str, str] | None = None) -> _Said:
        brief = {
            "timeout_seconds": _SECONDS,
            "settle_seconds": 0.0,
            "env": {**self.scenario.env, **(more or {})},
        }
        job = job_builder.build_job(self.scenario.model_copy(update=brief), argv, self.context)
        redactor = self.context.redactor(self.scenario)
        with Capture(None, 0, redactor=redactor) as capture:
            run = sandbox_run.run_job(job, self.engine, capture=capture, interrupt=self.interrupt)
        if run.cleanup_failures:
            raise EngineError(run.cleanup_failures[0])
        if isinstance(run.ending, Broke):
            return _Said("", _kernels(redactor.text(run.ending.message), argv[0]))
        return _Said(capture.output.head.decode(errors="replace"))


def _kernels(message: str, program: str) -> str:
    """Why execve(2) failed; `EngineError` when the sandbox broke over something else."""
    if program not in message:
        raise EngineError(message)
    return message.rpartition(": ")[2]


def commands(scenarios: Sequence[Scenario]) -> Iterator[str]:
    """What these run besides the binary: what runs their scripts, and all that they require."""
    yield "bash"
    for one in scenarios:
        yield from (name for name in one.requires.commands if name != KNOWN_AS)
