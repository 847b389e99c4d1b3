"""The variables and files that a scenario receives in secret, on their way to a worker.

They are never part of an order: a place sends them apart, and only to workers that are pinned.
"""

import io
import json
import tarfile
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError
from isosmoke.host import state
from isosmoke.manifest.models import Scenario
from isosmoke.rootfs_images.archives import contained
from isosmoke.rootfs_images.archives.limits import Budget
from isosmoke.runner import mounts
from isosmoke.runner.job_builder import RunContext

MAX_BYTES = 16 * 1024**2
"""The maximum size of the files that a scenario receives in secret, packed."""

_CONTENT = "content"


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedSecrets:
    """Variables, and the paths on this machine with the content of the caller's files."""

    variables: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[Path, Path] = field(default_factory=dict)


def name_secrets(scenario: Scenario, context: RunContext) -> tuple[str, ...]:
    """Return the names of the secret variables that are set, and of all secret files."""
    variables = (name for name in scenario.pass_env if name in context.caller.environment)
    return tuple(dict.fromkeys((*variables, *scenario.pass_files)))


def encode(scenario: Scenario, context: RunContext) -> bytes:
    """Return the secrets of a scenario; empty if it has none.

    Raises:
        IsosmokeError: if a file cannot be read, or the files are too large.
    """
    if not name_secrets(scenario, context):
        return b""
    given = context.caller.environment
    paths = (mounts.expand_home(Path(name), context.caller.home) for name in scenario.pass_files)
    files = {str(path): _pack(path) for path in paths}
    if sum(map(len, files.values())) > MAX_BYTES:
        raise IsosmokeError(
            f"the secret files of {scenario.name} are too large for a worker: "
            f"the maximum is {MAX_BYTES >> 20} MiB",
            "name in pass_files only what is secret, or run it without --place",
        )
    values = {
        "variables": {name: given[name] for name in scenario.pass_env if name in given},
        "files": {path: b64encode(content).decode("ascii") for path, content in files.items()},
    }
    return json.dumps(values).encode("ascii")


def _pack(path: Path) -> bytes:
    """Return an archive of a file or directory; empty if it does not exist."""
    packed = io.BytesIO()
    try:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(path.resolve(strict=True), arcname=_CONTENT, filter=_keep_files)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise IsosmokeError(
            f"{path} cannot be sent to a worker: {error.strerror}", "make it readable"
        ) from error
    return packed.getvalue()


def _keep_files(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.isdev() else member


@contextmanager
def unpacked(content: bytes) -> Iterator[PassedSecrets]:
    """Yield the secrets in these bytes; their files exist during the block."""
    if not content:
        yield PassedSecrets()
        return
    values = json.loads(content)
    with state.scratch() as directory:
        sources = {}
        for number, (path, packed) in enumerate(values["files"].items()):
            sources[Path(path)] = directory / str(number) / _CONTENT
            _unpack(b64decode(packed), directory / str(number))
        yield PassedSecrets(variables=values["variables"], sources=sources)


def _unpack(content: bytes, directory: Path) -> None:
    if content:
        directory.mkdir()
        contained.extract(io.BytesIO(content), directory, Budget("the secret files of a scenario"))
