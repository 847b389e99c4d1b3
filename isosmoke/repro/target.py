"""The target of `isosmoke repro`: a scenario with everything that its sandbox requires."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from isosmoke.dataclass import dataclass
from isosmoke.engines import AUTO
from isosmoke.errors import BinaryError, RecordError, UsageError
from isosmoke.execution.request import Request
from isosmoke.history import reader
from isosmoke.host import binary, files
from isosmoke.host.caller_process import Caller
from isosmoke.manifest.models import Scenario
from isosmoke.manifest.table_base import InvalidTableError
from isosmoke.results import repeat_command
from isosmoke.results.records.origin import BinaryRecord
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.results.run_results import Attempt
from isosmoke.text import restore_bytes

SCRIPT = "ISOSMOKE_SCRIPT"
"""The variable that holds the path of the script in the sandbox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A scenario with its request and its caller.

    `request` has only this scenario. `notes` describe differences from the recorded run, and
    `before` is the recorded outcome.
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
        """The script; None if a command replaces it, or if there is only a sandbox."""
        has_script = not self.request.argv and self.scenario.script != NO_SCRIPT
        return self.scenario.script_path if has_script else None

    @property
    def argv(self) -> tuple[str, ...]:
        """The command that runs or ran; empty if there is only a sandbox."""
        return self.request.argv or (("bash", str(self.script)) if self.script else ())

    @property
    def command_line(self) -> str:
        """The command line that runs the scenario in the sandbox."""
        return f'bash "${SCRIPT}"' if self.script else shlex.join(self.argv)


_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9]")
_MAX_NAME_LENGTH = 80

NO_SCRIPT = "-"
"""The value of `script` in a scenario that has none."""


def create_scenario(
    argv: tuple[str, ...],
    script: Path | None = None,
    keys: Mapping[str, Any] = MappingProxyType({}),
) -> Scenario:
    """Return a scenario without a manifest: a command, a script, or only a sandbox.

    Raises:
        InvalidTableError: if one of the further `keys` has an invalid value.
    """
    first = script.stem if script else Path(argv[0]).name if argv else "shell"
    name = _NOT_IN_NAMES.sub("-", first)[:_MAX_NAME_LENGTH].strip("-")
    return Scenario.validate(
        {
            "name": name or "command",
            "script": str(script.absolute()) if script else argv[0] if argv else NO_SCRIPT,
            "timeout_seconds": repeat_command.COMMAND_TIMEOUT_SECONDS,
            **keys,
        }
    )


def load_recorded(name: str, caller: Caller, request: Request) -> Case:
    """Return the case of `RUN/NAME` as recorded; values in `request` replace the recorded ones.

    Raises:
        NothingSelectedError: if it is not recorded.
        RecordError: if its record cannot be read, or its working directory no longer exists.
        BinaryError: if the binary that was tested is no longer available.
    """
    run, scenario = reader.find_scenario(name, caller.working)
    working = run.directory
    if not working.is_dir():
        raise RecordError(f"working directory {working} of {name} no longer exists")
    recorded_request = replace(
        request,
        scenarios=(_parse_scenario(run, scenario),),
        manifest=run.manifest_path,
        engine=(repeat_command.get_engine(run) or AUTO)
        if request.engine == AUTO
        else request.engine,
        argv=run.argv,
    )
    path, note = find_binary(run.binary) if request.binary is None else (request.binary, "")
    return Case(
        request=replace(recorded_request, binary=path),
        caller=replace(caller, working=working),
        notes=(*filter(None, [note]), *find_missing_variables(scenario, caller.environment)),
        before=describe_outcome(scenario),
    )


def _parse_scenario(run: RunRecord, scenario: ScenarioRecord) -> Scenario:
    directory = run.manifest_path.parent if run.manifest_path else run.directory
    return parse_entry(scenario.entry, directory)


def parse_entry(entry: Mapping[str, Any], directory: Path) -> Scenario:
    """Return the scenario of a recorded entry, whose relative paths start from `directory`.

    Raises:
        RecordError: if another version of isosmoke recorded it in a different format.
    """
    try:
        return Scenario.validate(entry, strict=False).place(directory)  # JSON has no dates
    except InvalidTableError as error:
        first = error.details[0]
        raise RecordError(
            "the recorded entry is of another version of isosmoke: "
            f"{first['loc'][0]}: {first['msg']}"
        ) from error


def describe_outcome(result: ScenarioRecord | Attempt) -> str:
    """Return the outcome and its reason in one line."""
    return f"{result.outcome.value}: {result.reason}" if result.reason else result.outcome.value


def find_binary(recorded_binary: BinaryRecord | None) -> tuple[str | None, str]:
    """Return the path of the binary that was tested, or of its stored copy, and a note.

    The note is empty if the binary is unchanged.

    Raises:
        BinaryError: if the binary has changed and no copy of it is stored.
    """
    if recorded_binary is None:
        return None, ""
    path, digest = Path(restore_bytes(recorded_binary.path)), recorded_binary.sha256
    if path.is_file() and files.sha256(path) == digest:
        return str(path), ""
    copy = binary.find_copy(digest)
    if copy is None:
        raise BinaryError(
            f"the binary that was tested is no longer available: {path} has changed, "
            f"and no copy of {digest[:12]} is stored",
            hint=f"build it again, or run the current binary: --binary {path}",
        )
    return str(copy), f"{path} has changed since the run: using the stored copy {digest[:12]}"


def find_missing_variables(
    scenario: ScenarioRecord, environment: Mapping[str, str]
) -> Iterator[str]:
    """Yield a note for each variable that was passed in the recorded run, but is not set now."""
    recorded_environment = scenario.attempts[-1].environment
    for name in (*scenario.entry.get("pass_env", ()), *scenario.entry.get("plain_env", ())):
        if name in recorded_environment and name not in environment:
            yield f"{name} was set in the recorded run, but is not set now: export it first"


def replace_image(case: Case, image: str) -> Case:
    """Return the case with another image."""
    try:
        scenario = Scenario.validate({**dict(case.scenario.items()), "image": image})
    except InvalidTableError as error:
        raise UsageError(f"--image: {error.details[0]['msg']}") from error
    placed = scenario.place(case.scenario.folder)
    return replace(case, request=replace(case.request, scenarios=(placed,)))
