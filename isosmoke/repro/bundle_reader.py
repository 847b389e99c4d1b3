"""Open a bundle: unpack it within limits, and refuse what could act outside a sandbox."""

import lzma
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from isosmoke.engines import AUTO
from isosmoke.errors import BundleError, IsosmokeError
from isosmoke.execution.request import Request
from isosmoke.host import files, git, state, workspace_directories
from isosmoke.host.caller_process import Caller
from isosmoke.repro import target
from isosmoke.repro.bundle import BINARY, INDEX, MAX_FILES, WORKSPACE, Index, convert_errors
from isosmoke.repro.target import Case
from isosmoke.rootfs_images.archives import contained
from isosmoke.rootfs_images.archives.limits import Budget
from isosmoke.text import restore_bytes

_MAX_UNPACKED = 1
"""The maximum size of an unpacked bundle, without holes, in GiB."""

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
            workspace = directory / WORKSPACE
            _refuse_repositories(workspace, index)
            with suppress(IsosmokeError, OSError):
                _create_repository(workspace, index)
        yield _create_case(index, directory, caller, request)


def _create_case(index: Index, directory: Path, caller: Caller, request: Request) -> Case:
    top = directory / WORKSPACE
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
    binaries = tuple((directory / BINARY).glob("*"))
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
        with convert_errors(), files.open_regular(path) as file:
            contained.extract(file, directory, limits)
            contained.refuse_links_out(directory)
        return Index.model_validate_json(files.read(directory / INDEX, follow=False))
    except ValidationError as error:
        raise _create_index_error(path, error.errors()[0]) from error
    except _ARCHIVE_ERRORS as error:
        raise _create_bundle_error(path, error) from error


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
