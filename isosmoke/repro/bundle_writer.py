"""Write a bundle: the files of a workspace, the binary and the log, without any secret."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from tempfile import mkstemp

from isosmoke import __version__
from isosmoke.dataclass import dataclass
from isosmoke.errors import BundleError, suggest_remedy
from isosmoke.host import git, state, workspace_directories
from isosmoke.host.caller_process import Caller
from isosmoke.redaction import Redactor
from isosmoke.repro import target
from isosmoke.repro.bundle import (
    BINARY,
    INDEX,
    LOG,
    MAX_FILES,
    WORKSPACE,
    Index,
    convert_errors,
)
from isosmoke.results import repeat_command
from isosmoke.results.records.record_base import render_json
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.rootfs_images.archives.limits import Budget
from isosmoke.runner.job_builder import RunContext
from isosmoke.text import restore_bytes

MAX_BYTES = 512 * 1024**2
"""The maximum size of a workspace's files."""

_NOT_NEEDED = "add files that the scenario does not need to .gitignore"


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
        with convert_errors():
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
    _add_content(archive, INDEX, render_json(index).encode())
    for file in included:
        name = PurePosixPath(WORKSPACE, file.relative_to(workspace.directory))
        archive.add(file, str(name), recursive=False, filter=_remove_owner)
    binary, _ = target.find_binary(index.binary)
    if binary and index.binary:
        name = PurePosixPath(BINARY, Path(index.binary.path).name)
        archive.add(Path(binary).resolve(), str(name), recursive=False, filter=_remove_owner)
    log = index.scenario.output.log
    if log and Path(restore_bytes(log)).is_file():
        archive.add(restore_bytes(log), LOG, recursive=False, filter=_remove_owner)


def _add_content(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _remove_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Remove the owner of a file, which has no meaning on another machine."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _read_head(workspace: _BundledWorkspace) -> str:
    """Return the checked-out commit; empty outside a repository or before its first commit."""
    if not workspace.is_repository:
        return ""
    return git.read_head(workspace.directory, os.environ)
