"""Bundles: single files that reproduce a recorded scenario on another machine.

A bundle is a tar.gz of `bundle.json`, `workspace/` (the files that git tracks or would add, in
their current state), `binary/` (the program that was tested, identified by its hash) and
`output.log`. It has only the names of the variables and files that are passed to the scenario: no
value of `pass_env`, no content of `pass_files`, and no file that contains one of them.
"""

import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import mkstemp
from typing import Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from isosmoke import __version__
from isosmoke.engines import AUTO
from isosmoke.errors import BundleError, ImageError, IsosmokeError, suggest_remedy
from isosmoke.execution.session import Request
from isosmoke.host import files, git, state, workspace_directories
from isosmoke.host.caller_process import Caller
from isosmoke.redaction import Redactor
from isosmoke.repro import bundle_archive, target
from isosmoke.repro.target import Case
from isosmoke.results import repeat_command, run_record
from isosmoke.results.run_record import BinaryRecord, RecordModel, RunRecord, ScenarioRecord, Text
from isosmoke.rootfs_images.limits import Budget
from isosmoke.runner.job_builder import RunContext
from isosmoke.text import restore_bytes

MAX_BYTES = 512 * 1024**2
"""The maximum size of a workspace's files."""

MAX_FILES = 100_000
"""The maximum number of a workspace's files; an unpacked bundle may have some more."""

_MAX_UNPACKED = 1
"""The maximum size of an unpacked bundle, without holes, in GiB."""

_NOT_NEEDED = "add files that the scenario does not need to .gitignore"

_INDEX, _WORKSPACE, _BINARY, _LOG = "bundle.json", "workspace", "binary", "output.log"
_ARCHIVE_ERRORS = (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)
_GIT_VARIABLES = {
    "GIT_AUTHOR_NAME": "isosmoke",
    "GIT_AUTHOR_EMAIL": "isosmoke@localhost",
    "GIT_COMMITTER_NAME": "isosmoke",
    "GIT_COMMITTER_EMAIL": "isosmoke@localhost",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}
"""Git's environment, without the author of a bundle and the settings of the user who opens it."""


class Index(RecordModel):
    """The index of a bundle; its paths start from the workspace.

    `commit` is the commit that was checked out, empty outside a repository; `left_out` names the
    files that are not in the bundle.
    """

    schema_version: Literal[1] = 1
    isosmoke: str
    run: str
    engine: str
    command: tuple[Text, ...]
    working: Text
    manifest: Text | None
    binary: BinaryRecord | None
    commit: str
    left_out: tuple[Text, ...]
    scenario: ScenarioRecord


@dataclass(frozen=True, slots=True)
class _BundledWorkspace:
    """A workspace to be bundled, and the secrets that must stay out of the bundle."""

    directory: Path
    redactor: Redactor
    passed_files: tuple[Path, ...]

    @property
    def is_repository(self) -> bool:
        return workspace_directories.has_repository(self.directory)

    def list_files(self) -> Iterator[Path]:
        """Yield the files that git tracks or would add; outside a repository, all files."""
        if self.is_repository:
            listed = git.run(self.directory, "ls-files", "-z", "-co", "--exclude-standard")
            names = os.fsdecode(listed).split("\0")
            yield from (self.directory / name for name in dict.fromkeys(names) if name)
        else:
            yield from (path for path in sorted(self.directory.rglob("*")) if not path.is_dir())

    def find_exclusion(self, file: Path) -> str:
        """Return the reason for leaving out a file; empty if it is included."""
        if state.RECORDS_DIRECTORY in file.relative_to(self.directory).parts:
            return "it belongs to isosmoke"
        if file.is_symlink():
            inside = Path(os.path.realpath(file)).is_relative_to(self.directory.resolve())
            is_portable = inside and not file.readlink().is_absolute()
            return "" if is_portable else "its link is absolute or leaves the workspace"
        if not (file.is_file() and os.access(file, os.R_OK)):
            return "it is not a readable file"
        if any(file.resolve().is_relative_to(path) for path in self.passed_files):
            return "only its name is bundled"
        if file.stat().st_size > MAX_BYTES:
            raise _create_size_error(self)  # without reading it
        return "it contains a secret" if self.redactor.find_occurrences(file.read_bytes()) else ""


def create(run: RunRecord, scenario: ScenarioRecord, caller: Caller, output: Path) -> Index:
    """Write the bundle of a recorded scenario, completely or not at all.

    Raises:
        BundleError: if the script is outside the workspace, or the workspace is too large.
        BinaryError: if the binary that was tested is no longer available.
    """
    workspace = _find_workspace(run, scenario, caller)
    included, left_out = _select_files(workspace)
    index = Index(
        isosmoke=__version__,
        run=run.id,
        engine=repeat_command.get_engine(run),
        command=run.command,
        working=_make_relative(run.directory, workspace),
        manifest=_make_relative(run.manifest_path, workspace) if run.manifest_path else None,
        binary=run.binary,
        commit=_read_head(workspace),
        left_out=left_out,
        scenario=scenario,
    )
    try:
        _write(output, index, workspace, included)
    except OSError as error:
        message = f"cannot write {output}: {error.strerror or error}"
        raise BundleError(message, suggest_remedy(error, output.parent)) from error
    return index


def _write(output: Path, index: Index, workspace: _BundledWorkspace, included: list[Path]) -> None:
    """Write to an unpredictable name in the directory of `output`, and rename it at the end."""
    handle, name = mkstemp(prefix=f".{output.name}.", dir=output.parent)
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            _add_members(archive, index, workspace, included)
        unfinished.chmod(0o644)
        unfinished.rename(output)
    finally:
        unfinished.unlink(missing_ok=True)


def _find_workspace(
    run: RunRecord, recorded_scenario: ScenarioRecord, caller: Caller
) -> _BundledWorkspace:
    working = run.directory
    if not working.is_dir():
        raise BundleError(f"working directory {working} of the run no longer exists")
    manifest = run.manifest_path and run.manifest_path.parent
    directories = workspace_directories.find_workspace(working, manifest, home=caller.home)
    scenario = target.parse_entry(recorded_scenario.entry, manifest or working)
    context = RunContext(caller=caller, workspace=directories, binary=None)
    passed_files = tuple(Path(path).expanduser().resolve() for path in scenario.pass_files)
    top = workspace_directories.git_top(working) or manifest or working
    workspace = _BundledWorkspace(top.resolve(), context.redactor(scenario), passed_files)
    if not run.command:
        _make_relative(scenario.script_path, workspace)
    return workspace


def _make_relative(path: Path, workspace: _BundledWorkspace) -> str:
    if not path.resolve().is_relative_to(workspace.directory):
        raise BundleError(
            f"{path} is outside of {workspace.directory}",
            hint="run the scenario in the repository of its script, and bundle that run",
        )
    return str(path.resolve().relative_to(workspace.directory))


def _select_files(workspace: _BundledWorkspace) -> tuple[list[Path], tuple[str, ...]]:
    """Return the files to include, and the names of the others with the reason."""
    included, left_out, size = [], [], 0
    budget = Budget(workspace.directory, max_entries=MAX_FILES, entries_hint=_NOT_NEEDED)
    for file in workspace.list_files():
        if not os.path.lexists(file):
            continue  # removed, but still in git's index
        reason = workspace.find_exclusion(file)
        if reason:
            left_out.append(f"{file.relative_to(workspace.directory)}: {reason}")
            continue
        with _bundle_errors():
            budget.add_entry(PurePosixPath(file.relative_to(workspace.directory)))
        included.append(file)
        size += file.lstat().st_size
        if size > MAX_BYTES:
            raise _create_size_error(workspace)
    return included, tuple(left_out)


def _create_size_error(workspace: _BundledWorkspace) -> BundleError:
    message = f"the files of {workspace.directory} exceed {MAX_BYTES >> 20} MiB"
    return BundleError(message, hint=_NOT_NEEDED)


def _add_members(
    archive: tarfile.TarFile, index: Index, workspace: _BundledWorkspace, included: list[Path]
) -> None:
    _add_content(archive, _INDEX, run_record.render(index).encode())
    for file in included:
        name = PurePosixPath(_WORKSPACE, file.relative_to(workspace.directory))
        archive.add(file, str(name), recursive=False, filter=_remove_owner)
    binary, _ = target.find_binary(index.binary)
    if binary and index.binary:
        name = PurePosixPath(_BINARY, Path(index.binary.path).name)
        archive.add(Path(binary).resolve(), str(name), recursive=False, filter=_remove_owner)
    log = index.scenario.output.log
    if log and Path(restore_bytes(log)).is_file():
        archive.add(restore_bytes(log), _LOG, recursive=False, filter=_remove_owner)


def _add_content(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _remove_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Remove the owner of a file, which has no meaning on another machine."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


@contextmanager
def opened(
    path: Path,
    caller: Caller,
    request: Request,
    guard: AbstractContextManager[None] | None = None,
) -> Iterator[Case]:
    """Unpack a bundle for the block, and yield its case.

    Values in `request` replace the recorded ones. `guard` is entered while the bundle is unpacked,
    and may raise an exception at any time: everything is removed then.

    Raises:
        BundleError: if the file is not a bundle, or its content is refused.
    """
    with state.scratch() as directory:
        with guard or nullcontext():
            index = _unpack(path, directory)
            workspace = directory / _WORKSPACE
            _refuse_repositories(workspace, index)
            with suppress(IsosmokeError, OSError):
                _create_repository(workspace, index)
        yield _create_case(index, directory, caller, request)


def _create_case(index: Index, directory: Path, caller: Caller, request: Request) -> Case:
    top = directory / _WORKSPACE
    working = top / restore_bytes(index.working)
    manifest = top / restore_bytes(index.manifest) if index.manifest is not None else None
    scenario = target.parse_entry(index.scenario.entry, manifest.parent if manifest else top)
    workspace = workspace_directories.find_workspace(
        working, manifest and manifest.parent, home=caller.home
    )
    scripts = () if index.command else (scenario.script_path,)
    _refuse_outside(
        directory, (working, *scripts, *workspace.directories, *workspace.borrowed_objects)
    )
    binaries = tuple((directory / _BINARY).glob("*"))
    binary = request.binary or (str(_verify_binary(binaries[0], index)) if binaries else None)
    recorded_request = replace(
        request,
        scenarios=(scenario,),
        manifest=manifest,
        argv=tuple(map(restore_bytes, index.command)),
        binary=binary,
        engine=(index.engine or AUTO) if request.engine == AUTO else request.engine,
    )
    return Case(
        request=recorded_request,
        caller=replace(caller, working=working),
        notes=tuple(_list_notes(index, caller.environment)),
        before=target.describe_outcome(index.scenario),
    )


def _verify_binary(copy: Path, index: Index) -> Path:
    """Return `copy`.

    Raises:
        BundleError: if it is not the program that was tested.
    """
    if index.binary is None or files.sha256(copy) != index.binary.sha256:
        raise BundleError(f"the bundle's {copy.name} is not the program that was tested")
    return copy


def _list_notes(index: Index, environment: Mapping[str, str]) -> Iterator[str]:
    yield from target.find_missing_variables(index.scenario, environment)
    yield from (f"its script receives your {name}" for name in _list_passed(index, environment))
    for file in index.left_out:
        yield f"not in the bundle: {file}"


def _list_passed(index: Index, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the user's variables and files that are passed to a script of unknown origin."""
    entry = index.scenario.entry
    for key in ("pass_env", "plain_env"):
        yield from (name for name in entry.get(key, ()) if name in environment)
    for key in ("pass_files", "plain_files"):
        yield from (file for file in entry.get(key, ()) if Path(file).expanduser().exists())


def _unpack(path: Path, directory: Path) -> Index:
    """Unpack a bundle, and return its index."""
    hint = "create a bundle of a smaller workspace with isosmoke bundle"
    limits = Budget(path, _MAX_UNPACKED, 2 * MAX_FILES, size_hint=hint, entries_hint=hint)
    try:
        with _bundle_errors(), files.open_regular(path) as file:
            bundle_archive.extract(file, directory, limits)
        return Index.model_validate_json(files.read(directory / _INDEX, follow=False))
    except ValidationError as error:
        raise _create_index_error(path, error.errors()[0]) from error
    except _ARCHIVE_ERRORS as error:
        raise _create_bundle_error(path, error) from error


@contextmanager
def _bundle_errors() -> Iterator[None]:
    """Convert the error of an exceeded limit, which is also one of images."""
    try:
        yield
    except ImageError as error:
        raise BundleError(error.message, error.hint) from error


def _create_index_error(path: Path, details: ErrorDetails) -> BundleError:
    if details["loc"] == ("schema_version",):
        return BundleError(
            f"{path} was written by a later version of isosmoke", hint="update isosmoke"
        )
    location = ".".join(map(str, details["loc"]))
    return _create_bundle_error(path, f"{location}: {details['msg']}")


def _create_bundle_error(path: Path, reason: object) -> BundleError:
    return BundleError(f"{path} is not a bundle: {reason}", hint="create one with isosmoke bundle")


def _refuse_repositories(workspace: Path, index: Index) -> None:
    """Refuse a bundled repository, whose settings could make git run programs outside a sandbox."""
    if index.commit and any(workspace.rglob(".git")):
        raise BundleError("the bundle contains a git repository, which isosmoke never bundles")


def _refuse_outside(directory: Path, paths: Iterable[Path]) -> None:
    """Refuse paths outside of `directory`, so that the sandbox shows only what was bundled.

    The index may name any path, and a repository may have parts elsewhere.
    """
    for path in paths:
        if not path.resolve().is_relative_to(directory.resolve()):
            raise BundleError(f"the bundle refers to a path outside of it: {path}")


def _create_repository(workspace: Path, index: Index) -> None:
    """Create a repository with one commit of the unpacked files, if the workspace was one."""
    workspace.mkdir(exist_ok=True)
    if index.commit and git.find_program(workspace, os.environ):
        git.run(workspace, "init", "--quiet", variables=_GIT_VARIABLES)
        git.run(workspace, "add", "--all", "--force", variables=_GIT_VARIABLES)
        message = f"As bundled, from {index.commit}"
        git.run(workspace, "commit", "--quiet", "--message", message, variables=_GIT_VARIABLES)


def _read_head(workspace: _BundledWorkspace) -> str:
    """Return the checked-out commit; empty outside a repository or before its first commit."""
    if not workspace.is_repository:
        return ""
    return git.read_head(workspace.directory, os.environ)
