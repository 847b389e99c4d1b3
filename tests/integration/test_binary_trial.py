"""The reasons why a program cannot run in an image, from the loaders of real systems."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import pytest

from isosmoke.errors import BinaryError, EngineError
from isosmoke.execution import session
from isosmoke.execution.preflight import prepare_binary_check
from isosmoke.execution.request import Request
from isosmoke.execution.trials.binary_trial import BinaryAnswer, BinaryCheck
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Scenario
from support import available, elf_programs, root_filesystems


@pytest.fixture
def directory() -> Iterator[Path]:
    """Yield a directory with a project and the root of an image."""
    path = Path(mkdtemp(prefix="isosmoke-trial-"))
    root_filesystems.create_small(path / "system", "id")
    (path / "project").mkdir()
    yield path
    shutil.rmtree(path)


def _create_request(directory: Path, program: Path | None, image: str) -> tuple[Request, Caller]:
    scenario = Scenario(name="one", script="one.sh", image=image)
    caller = Caller(
        uid=os.getuid(),
        gid=os.getgid(),
        user="me",
        home=directory,
        working=directory / "project",
        environment={"PATH": "/nowhere"},
    )
    return Request(scenarios=(scenario,), binary=str(program or "") or None), caller


def create_check(directory: Path, program: Path | None = None, image: str = "") -> BinaryCheck:
    """Return a check of this program as the live binary in the image."""
    available.require_engine("bubblewrap")
    request, caller = _create_request(directory, program, image or f"rootfs:{directory}/system")
    return prepare_binary_check(request, caller, Interrupt())


def _create_script(directory: Path) -> Path:
    program = directory / "script"
    program.write_text("#!/no/such/interpreter -e\n")
    program.chmod(0o755)
    return program


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "newer glibc": (elf_programs.compile_for_newer_libc, "it needs glibc 2.99, the image has 2."),
    "missing library": (elf_programs.compile_with_missing_library, "the image lacks libgone.so"),
    "missing interpreter": (
        _create_script,
        "interpreter /no/such/interpreter -e does not exist in the image",
    ),
    "other libc": (
        lambda directory: elf_programs.compile_ordinary(directory, compiler="musl-gcc"),
        "linked for musl, whose loader /lib/ld-musl-x86_64.so.1 does not exist; the image has",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_incompatibility_has_a_reason(name: str, directory: Path) -> None:
    """The reason names the program's requirement and the image's library in a single line."""
    create_program, reason = REFUSED[name]
    assert reason in create_check(directory, create_program(directory)).ask().problem


def test_run_is_refused_with_the_same_reason(directory: Path) -> None:
    """No scenario is started if the binary cannot run."""
    available.require_engine("bubblewrap")
    request, caller = _create_request(
        directory,
        elf_programs.compile_with_missing_library(directory),
        f"rootfs:{directory}/system",
    )
    with pytest.raises(BinaryError, match=r"cannot run in image .* the image lacks libgone\.so"):
        session.execute(request, caller, notify=lambda _: None, interrupt=Interrupt())


@pytest.mark.parametrize("options", [(), ("-static",)])
def test_compatible_program_is_not_refused(options: tuple[str, ...], directory: Path) -> None:
    """A compatible program has no reason, and its version and C library are known."""
    check = create_check(directory, elf_programs.compile_ordinary(directory, options=options))
    assert check.ask() == BinaryAnswer(line="runs")
    assert check.libc().startswith("glibc 2.")


def test_image_without_c_library_is_reported(directory: Path) -> None:
    """An image of static programs has no C library."""
    shutil.rmtree(directory / "system/usr")
    (directory / "system/usr/bin").mkdir(parents=True)
    check = create_check(directory, elf_programs.compile_ordinary(directory))
    assert check.libc() == ""
    assert check.ask().problem.endswith("does not exist; the image has no C library")
    assert check.find_missing(("bash",)) == ("/bin/sh", "bash")


def test_missing_commands_are_reported(directory: Path) -> None:
    """Commands are searched by a shell in the image."""
    (directory / "system/usr/bin/sh").symlink_to("bash")
    assert create_check(directory).find_missing(("id", "no-such", "bash", "jq")) == (
        "no-such",
        "jq",
    )


def test_missing_image_is_an_error(directory: Path) -> None:
    """A missing image is an error, which says nothing about the binary."""
    available.require_engine("bubblewrap")
    request, caller = _create_request(directory, None, "nowhere:1")
    check = prepare_binary_check(replace(request, engine="bubblewrap"), caller, Interrupt())
    with pytest.raises(EngineError, match="image import"):
        check.libc()
