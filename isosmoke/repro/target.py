"""What somebody wants to see for himself: a scenario with all that its sandbox is made from."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from isosmoke.engines import AUTO
from isosmoke.errors import BinaryError, RecordError, UsageError
from isosmoke.execution.session import Request
from isosmoke.history import reader
from isosmoke.host import binary, files
from isosmoke.host.caller_process import Caller
from isosmoke.manifest.models import Scenario
from isosmoke.results import repeat_command
from isosmoke.results.run_record import BinaryRecord, RunRecord, ScenarioRecord
from isosmoke.results.run_results import Attempt

SCRIPT = "ISOSMOKE_SCRIPT"
"""The variable that names the script, in the sandbox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One scenario, and who stands where; `notes` say what is not as it was, `before` how it was.

    `request` has this scenario alone.
    """

    request: Request
    caller: Caller
    notes: tuple[str, ...] = ()
    before: str = ""

    @property
    def scenario(self) -> Scenario:
        return self.request.scenarios[0]

    @property
    def script(self) -> Path | None:
        """The script, None where a command stands for it, or nothing."""
        is_one = not self.request.argv and self.scenario.script != NOTHING
        return self.scenario.script_path if is_one else None

    @property
    def argv(self) -> tuple[str, ...]:
        """What runs, or ran; nothing where there is only a sandbox."""
        return self.request.argv or (("bash", str(self.script)) if self.script else ())

    @property
    def typed(self) -> str:
        """What to type in the sandbox to run it."""
        return f'bash "${SCRIPT}"' if self.script else shlex.join(self.argv)


NOTHING = "-"
"""The script of a scenario that has none."""

LOOSE_SECONDS = 3600
"""How long what is in no manifest may run."""


def loose(
    argv: tuple[str, ...], script: Path | None = None, timeout: int = LOOSE_SECONDS
) -> Scenario:
    """A scenario of no manifest: a command, a script, or nothing but a sandbox."""
    first = script.stem if script else Path(argv[0]).name if argv else "shell"
    name = "".join(one if one.isalnum() else "-" for one in first).strip("-")
    return Scenario(
        name=name or "command",
        script=str(script.absolute()) if script else argv[0] if argv else NOTHING,
        timeout_seconds=timeout,
    )


def recorded(named: str, caller: Caller, request: Request) -> Case:
    """`RUN/NAME` as it was; what `request` names besides is taken in place of what was.

    Raises:
        NothingSelectedError: if it is not recorded.
        RecordError: if its record cannot be read, or where it ran is gone.
        BinaryError: if the binary that was tested is nowhere any more.
    """
    run, told = reader.find_scenario(named, caller.working)
    working = Path(run.working)
    if not working.is_dir():
        raise RecordError(f"{working}, where {named} ran, is gone")
    again = replace(
        request,
        scenarios=(_scenario(run, told),),
        manifest=working / run.manifest if run.manifest else None,
        engine=(repeat_command.engine(run) or AUTO) if request.engine == AUTO else request.engine,
        argv=run.command,
    )
    program, note = tested(run.binary) if request.binary is None else (request.binary, "")
    return Case(
        request=replace(again, binary=program),
        caller=replace(caller, working=working),
        notes=(*filter(None, [note]), *missing(told, caller.environment)),
        before=outcome(told),
    )


def _scenario(run: RunRecord, told: ScenarioRecord) -> Scenario:
    folder = Path(run.working, run.manifest).parent if run.manifest else Path(run.working)
    return parsed(told.entry, folder)


def parsed(entry: Mapping[str, Any], folder: Path) -> Scenario:
    """The scenario of a recorded entry, whose relative paths start from `folder`."""
    try:
        return Scenario.model_validate(entry, context=folder, strict=False)  # JSON has no dates
    except ValidationError as error:
        first = error.errors()[0]
        raise RecordError(
            f"the record's entry is of another isosmoke: {first['loc'][0]}: {first['msg']}"
        ) from error


def outcome(told: ScenarioRecord | Attempt) -> str:
    """How it came out, in a line."""
    return f"{told.outcome.value}: {told.reason}" if told.reason else told.outcome.value


def tested(was: BinaryRecord | None) -> tuple[str | None, str]:
    """The binary that was tested: where it still lies, else the copy that is kept of it."""
    if was is None:
        return None, ""
    path = Path(was.path)
    if path.is_file() and files.sha256(path) == was.sha256:
        return was.path, ""
    copy = binary.kept(was.sha256)
    if copy is None:
        raise BinaryError(
            f"the binary that was tested is gone: {path} is another one by now, "
            f"and no copy of {was.sha256[:12]} is kept any more",
            hint=f"build it again, or see what another one does: --binary {path}",
        )
    return str(copy), f"{path} has changed since: this is the kept copy {was.sha256[:12]}"


def missing(told: ScenarioRecord, environment: Mapping[str, str]) -> Iterator[str]:
    """Variables that were passed then, and are not there to be passed now."""
    had = told.attempts[-1].environment
    for name in told.entry.get("pass_env", ()):
        if name in had and name not in environment:
            yield f"{name} was set then and is not now: export it first"


def with_image(case: Case, image: str) -> Case:
    """The same in another environment."""
    try:
        other = Scenario.model_validate(
            {**case.scenario.model_dump(), "image": image}, context=case.scenario.folder
        )
    except ValidationError as error:
        raise UsageError(f"--image: {error.errors()[0]['msg']}") from error
    return replace(case, request=replace(case.request, scenarios=(other,)))
