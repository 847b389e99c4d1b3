"""A program is known to start only while all that its start depends on is the same."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import time  # noqa: TID251 - compared with file times, which are wall clock

import pytest

from isosmoke.host.learned import identities
from isosmoke.rootfs_images import known_starts
from isosmoke.rootfs_images.known_starts import ProgramStart
from isosmoke.sandbox.spec import SandboxSpec

VERSION = "ls 9.1"
SPEC = SandboxSpec(label="", image="host", mounts=(), uid=0, gid=0, network="host")


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProgramStart:
    """Return a start of a program that is kept, with a stand-in for the loader's cache."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "state"))
    later = time() + 60
    monkeypatch.setattr(identities, "time", lambda: later)
    (tmp_path / "cache").write_text("one")
    loader_files = (tmp_path / "cache", tmp_path / "preload")
    monkeypatch.setattr(known_starts, "_LOADER_FILES", loader_files)
    program = tmp_path / "wg"
    shutil.copy("/bin/ls", program)
    start = ProgramStart(program, SPEC, {"HOME": "/root"})
    known_starts.keep(start, VERSION)
    assert known_starts.recall(start) == VERSION
    return start


def test_library_of_the_program_is_part_of_the_result(start: ProgramStart) -> None:
    """The result has the loader and the C library, with their identities."""
    (file,) = start.program.with_name("state").glob("learned-starts/*")
    known = json.loads(file.read_text().partition("\n")[2])["result"]["files"]

    assert any("/ld-" in path for path in known)
    assert any("/libc.so" in path for path in known)
    assert all(identity for path, identity in known.items() if not path.endswith("preload"))


def _rebuild(start: ProgramStart) -> ProgramStart:
    shutil.copy("/bin/cat", start.program)
    return start


def _update_loader_cache(start: ProgramStart) -> ProgramStart:
    start.program.with_name("cache").write_text("two")
    return start


def _preload(start: ProgramStart) -> ProgramStart:
    start.program.with_name("preload").touch()
    return start


def _isolate(start: ProgramStart) -> ProgramStart:
    return replace(start, spec=replace(SPEC, network="isolated"))


def _set_variable(start: ProgramStart) -> ProgramStart:
    return replace(start, environment={"HOME": "/home/me"})


@pytest.mark.parametrize(
    "change", [_rebuild, _update_loader_cache, _preload, _isolate, _set_variable]
)
def test_start_is_unknown_after_a_change(
    start: ProgramStart, change: Callable[[ProgramStart], ProgramStart]
) -> None:
    """Another program, library, sandbox or environment has to be tried."""
    assert known_starts.recall(change(start)) is None


@pytest.mark.parametrize(
    ("content", "variables"),
    [(b"#!/bin/sh\n", {}), (Path("/bin/ls").read_bytes(), {"LD_LIBRARY_PATH": "/lib"})],
    ids=["script", "path of libraries"],
)
def test_start_with_unknown_needs_is_not_kept(
    start: ProgramStart, content: bytes, variables: dict[str, str]
) -> None:
    """The needs of a script are unknown, and a variable can select other libraries later."""
    start.program.write_bytes(content)
    other = replace(start, environment=variables)

    known_starts.keep(other, VERSION)

    assert known_starts.recall(other) is None


def test_start_of_a_new_program_is_not_kept(
    start: ProgramStart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A further change of a file that was just written could have the same time."""
    os.utime(start.program)
    monkeypatch.setattr(identities, "time", lambda: start.program.stat().st_ctime + 1)

    known_starts.keep(start, VERSION)

    assert known_starts.recall(start) is None
