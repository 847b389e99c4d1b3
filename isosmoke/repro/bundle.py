"""One file that reproduces a recorded scenario on another machine: made here, opened there.

A tar.gz of `bundle.json`, `workspace/` (the files that git knows or would take, as they are now),
`binary/` (the program that was tested, by its hash) and `output.log`. Of what the scenario is
passed it has the names: no value of `pass_env`, nothing of `pass_files`, and no file in which one
of them is found.
"""

import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import mkstemp
from typing import Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from isosmoke import __version__
from isosmoke.engines import AUTO
from isosmoke.errors import BundleError, IsosmokeError
from isosmoke.execution.session import Request
from isosmoke.host import files, git, state, workspace_directories
from isosmoke.host.caller_process import Caller
from isosmoke.redaction import Redactor
from isosmoke.repro import target
from isosmoke.repro.target import Case
from isosmoke.results import repeat_command, run_record
from isosmoke.results.run_record import BinaryRecord, RecordModel, RunRecord, ScenarioRecord
from isosmoke.runner.job_builder import RunContext

MOST_BYTES = 512 * 1024**2
"""The most that the files of a workspace may have together, and the whole of a bundle opened."""

_INDEX, _WORKSPACE, _BINARY, _LOG = "bundle.json", "workspace", "binary", "output.log"
_NOBODY = {
    "GIT_AUTHOR_NAME": "isosmoke",
    "GIT_AUTHOR_EMAIL": "isosmoke@localhost",
    "GIT_COMMITTER_NAME": "isosmoke",
    "GIT_COMMITTER_EMAIL": "isosmoke@localhost",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}
"""Git's environment: who made a bundle is no part of it, nor are the settings of who opens it."""


class Index(RecordModel):
    """What a bundle says of itself; its paths start from the workspace.

    `commit` is what was checked out, empty outside a repository; `left_out` names the files that
    are not in the bundle.
    """

    schema_version: Literal[1] = 1
    isosmoke: str
    run: str
    engine: str
    command: tuple[str, ...]
    working: str
    manifest: str | None
    binary: BinaryRecord | None
    commit: str
    left_out: tuple[str, ...]
    scenario: ScenarioRecord


@dataclass(frozen=True, slots=True)
class _Place:
    """The workspace that is bundled, and what must not be told of it."""

    folder: Path
    redactor: Redactor
    passed: tuple[Path, ...]

    @property
    def is_repository(self) -> bool:
        return (self.folder / ".git").exists()

    def files(self) -> Iterator[Path]:
        """Everything that git tracks or would, else everything."""
        if self.is_repository:
            listed = git.run(self.folder, "ls-files", "-z", "-co", "--exclude-standard")
            names = os.fsdecode(listed).split("\0")
            yield from (self.folder / one for one in dict.fromkeys(names) if one)
        else:
            yield from (one for one in sorted(self.folder.rglob("*")) if not one.is_dir())

    def why_left_out(self, file: Path) -> str:
        """Why a file cannot go; empty when it can."""
        if state.IN_PROJECT in file.relative_to(self.folder).parts:
            return "isosmoke's own"
        if file.is_symlink():
            inside = file.resolve().is_relative_to(self.folder.resolve())
            return "" if inside and not file.readlink().is_absolute() else "a link that leads out"
        if not (file.is_file() and os.access(file, os.R_OK)):
            return "not a file that can be read"
        if any(file.resolve().is_relative_to(one) for one in self.passed):
            return "passed by name only"
        return "it holds a secret" if self.redactor.occurrences(file.read_bytes()) else ""


def make(run: RunRecord, told: ScenarioRecord, caller: Caller, into: Path) -> Index:
    """Write the bundle of one recorded scenario, whole or not at all.

    Raises:
        BundleError: if the script lies outside the workspace, or that is too large.
        BinaryError: if the binary that was tested is nowhere any more.
    """
    place = _place(run, told, caller)
    kept, left_out = _sorted(place)
    index = Index(
        isosmoke=__version__,
        run=run.id,
        engine=repeat_command.engine(run),
        command=run.command,
        working=_relative(Path(run.working), place),
        manifest=None
        if run.manifest is None
        else _relative(Path(run.working, run.manifest), place),
        binary=run.binary,
        commit=_head(place),
        left_out=left_out,
        scenario=told,
    )
    try:
        _write(into, index, place, kept)
    except OSError as error:
        raise BundleError(f"cannot write {into}: {error.strerror or error}") from error
    return index


def _write(into: Path, index: Index, place: _Place, kept: list[Path]) -> None:
    """Write beside `into` under a name that nobody can have prepared, and rename it at the end."""
    handle, name = mkstemp(prefix=f".{into.name}.", dir=into.parent)
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            _fill(archive, index, place, kept)
        unfinished.chmod(0o644)
        unfinished.rename(into)
    finally:
        unfinished.unlink(missing_ok=True)


def _place(run: RunRecord, told: ScenarioRecord, caller: Caller) -> _Place:
    working = Path(run.working)
    if not working.is_dir():
        raise BundleError(f"{working}, where it ran, is gone")
    manifest = Path(run.working, run.manifest).parent if run.manifest else None
    found = workspace_directories.find(working, manifest, home=caller.home)
    scenario = target.parsed(told.entry, manifest or working)
    around = RunContext(caller=caller, workspace=found, binary=None)
    passed = tuple(Path(one).expanduser().resolve() for one in scenario.pass_files)
    folder = workspace_directories.git_top(working) or manifest or working
    place = _Place(folder.resolve(), around.redactor(scenario), passed)
    if not run.command:
        _relative(scenario.script_path, place)
    return place


def _relative(path: Path, place: _Place) -> str:
    if not path.resolve().is_relative_to(place.folder):
        raise BundleError(
            f"{path} lies outside of {place.folder}",
            hint="run it in the repository of its script, and bundle that run",
        )
    return str(path.resolve().relative_to(place.folder))


def _sorted(place: _Place) -> tuple[list[Path], tuple[str, ...]]:
    """What goes in, and what is left out with the reason."""
    kept, left_out, size = [], [], 0
    for file in place.files():
        if not os.path.lexists(file):
            continue  # removed, and not yet for git
        why = place.why_left_out(file)
        if why:
            left_out.append(f"{file.relative_to(place.folder)}: {why}")
            continue
        kept.append(file)
        size += file.lstat().st_size
        if size > MOST_BYTES:
            raise BundleError(
                f"the files of {place.folder} have more than {MOST_BYTES >> 20} MiB",
                hint="let git ignore what the scenario does not need",
            )
    return kept, tuple(left_out)


def _fill(archive: tarfile.TarFile, index: Index, place: _Place, kept: list[Path]) -> None:
    _add(archive, _INDEX, run_record.render(index).encode())
    for file in kept:
        name = PurePosixPath(_WORKSPACE, file.relative_to(place.folder))
        archive.add(file, str(name), recursive=False, filter=_nobodys)
    tested, _ = target.tested(index.binary)
    if tested and index.binary:
        name = PurePosixPath(_BINARY, Path(index.binary.path).name)
        archive.add(Path(tested).resolve(), str(name), recursive=False, filter=_nobodys)
    log = index.scenario.output.log
    if log and Path(log).is_file():
        archive.add(log, _LOG, recursive=False, filter=_nobodys)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whose the files are here says nothing there."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


@contextmanager
def opened(path: Path, caller: Caller, request: Request) -> Iterator[Case]:
    """The case of a bundle, unpacked for as long as the block lasts.

    What `request` names is taken in place of what was. `BundleError` when it is no bundle.
    """
    with state.scratch() as folder:
        index = _unpacked(path, folder)
        place = folder / _WORKSPACE
        _refuse_repositories(place, index)
        with suppress(IsosmokeError, OSError):
            _settle(place, index)
        yield _case(index, folder, caller, request)


def _case(index: Index, folder: Path, caller: Caller, request: Request) -> Case:
    place = folder / _WORKSPACE
    working = place / index.working
    manifest = place / index.manifest if index.manifest is not None else None
    scenario = target.parsed(index.scenario.entry, manifest.parent if manifest else place)
    found = workspace_directories.find(working, manifest and manifest.parent, home=caller.home)
    scripts = () if index.command else (scenario.script_path,)
    _refuse_outside(folder, (working, *scripts, *found.folders, *found.borrowed))
    binaries = tuple((folder / _BINARY).glob("*"))
    tested = request.binary or (str(_same(binaries[0], index)) if binaries else None)
    again = replace(
        request,
        scenarios=(scenario,),
        manifest=manifest,
        argv=index.command,
        binary=tested,
        engine=(index.engine or AUTO) if request.engine == AUTO else request.engine,
    )
    return Case(
        request=again,
        caller=replace(caller, working=working),
        notes=tuple(_notes(index, caller.environment)),
        before=target.outcome(index.scenario),
    )


def _same(copy: Path, index: Index) -> Path:
    if index.binary is None or files.sha256(copy) != index.binary.sha256:
        raise BundleError(f"the bundle's {copy.name} is not the program that was tested")
    return copy


def _notes(index: Index, environment: Mapping[str, str]) -> Iterator[str]:
    yield from target.missing(index.scenario, environment)
    yield from (f"its script gets your {one}" for one in _given(index, environment))
    for one in index.left_out:
        yield f"not in the bundle: {one}"


def _given(index: Index, environment: Mapping[str, str]) -> Iterator[str]:
    """What of those who open a bundle is passed to a script that may be somebody else's."""
    entry = index.scenario.entry
    yield from (name for name in entry.get("pass_env", ()) if name in environment)
    yield from (file for file in entry.get("pass_files", ()) if Path(file).expanduser().exists())


def _unpacked(path: Path, folder: Path) -> Index:
    """Nothing gets out of `folder`, whatever the archive says (tarfile, the filter "data")."""
    try:
        with tarfile.open(path) as archive:
            if sum(one.size for one in archive) > 2 * MOST_BYTES:
                raise BundleError(f"{path}: it is too large when unpacked")
            archive.extractall(folder, filter="data")
        return Index.model_validate_json((folder / _INDEX).read_bytes())
    except ValidationError as error:
        raise _refused(path, error.errors()[0]) from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise _no_bundle(path, error) from error


def _refused(path: Path, wrong: ErrorDetails) -> BundleError:
    """What is wrong with what a bundle says of itself."""
    if wrong["loc"] == ("schema_version",):
        return BundleError(f"{path} was written by a later isosmoke", hint="update isosmoke")
    place = ".".join(map(str, wrong["loc"]))
    return _no_bundle(path, f"{place}: {wrong['msg']}")


def _no_bundle(path: Path, why: object) -> BundleError:
    return BundleError(f"{path} is no bundle: {why}", hint="make one with isosmoke bundle")


def _refuse_repositories(place: Path, index: Index) -> None:
    """Git would do outside of any sandbox what the settings of one that came along say."""
    if index.commit and any(place.rglob(".git")):
        raise BundleError("the bundle has a repository of its own, as isosmoke makes none")


def _refuse_outside(folder: Path, shown: Iterable[Path]) -> None:
    """What is `shown` in the sandbox as the workspace must have come with the bundle.

    The index may name any path, and a repository may keep its parts elsewhere.
    """
    for one in shown:
        if not one.resolve().is_relative_to(folder.resolve()):
            raise BundleError(f"the bundle leads out of itself, to {one}")


def _settle(place: Path, index: Index) -> None:
    """A repository again, where it was one: with one commit, of the files that came."""
    place.mkdir(exist_ok=True)
    if index.commit and git.find_program(place, os.environ):
        git.run(place, "init", "--quiet", variables=_NOBODY)
        git.run(place, "add", "--all", "--force", variables=_NOBODY)
        message = f"As bundled, from {index.commit}"
        git.run(place, "commit", "--quiet", "--message", message, variables=_NOBODY)


def _head(place: _Place) -> str:
    """The commit that is checked out; empty outside a repository, and before its first commit."""
    if not place.is_repository:
        return ""
    return git.read_head(place.folder, os.environ)
