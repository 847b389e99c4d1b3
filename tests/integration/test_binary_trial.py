"""Why a program cannot run in an image, as real loaders of real systems have it."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import pytest

from isosmoke.errors import BinaryError, EngineError
from isosmoke.execution import session
from isosmoke.execution.binary_trial import BinaryCheck
from isosmoke.execution.session import Request
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Scenario
from support import available, elf_programs, root_filesystems


@pytest.fixture
def place() -> Iterator[Path]:
    """A project, and a system beside it."""
    folder = Path(mkdtemp(prefix="isosmoke-trial-"))
    root_filesystems.small(folder / "system", "id")
    (folder / "project").mkdir()
    yield folder
    shutil.rmtree(folder)


def _request(place: Path, program: Path | None, image: str) -> tuple[Request, Caller]:
    scenario = Scenario(name="one", script="one.sh", image=image)
    caller = Caller(
        uid=os.getuid(),
        gid=os.getgid(),
        user="me",
        home=place,
        working=place / "project",
        environment={"PATH": "/nowhere"},
    )
    return Request(scenarios=(scenario,), binary=str(program or "") or None), caller


def trial(place: Path, program: Path | None = None, image: str = "") -> BinaryCheck:
    """The system, with this program as the live binary."""
    available.engine("bubblewrap")
    request, caller = _request(place, program, image or f"rootfs:{place}/system")
    return session.prepare_binary_check(request, caller, Interrupt())


def _script(folder: Path) -> Path:
    program = folder / "script"
    program.write_text("#!/no/such/interpreter -e\n")
    program.chmod(0o755)
    return program


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "newer glibc": (elf_programs.newer, "it needs glibc 2.99, the image has 2."),
    "missing library": (elf_programs.lacking, "the image lacks libgone.so"),
    "missing interpreter": (_script, "/no/such/interpreter -e, which its first line names"),
    "other libc": (
        lambda folder: elf_programs.ordinary(folder, compiler="musl-gcc"),
        "linked for musl, whose loader /lib/ld-musl-x86_64.so.1 does not exist; the image has",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_says_what_is_wrong(name: str, place: Path) -> None:
    """In one line that names what the program needs and what the image has."""
    make, words = REFUSED[name]
    assert words in trial(place, make(place)).incompatibility()


def test_run_is_refused_in_the_same_words(place: Path) -> None:
    """Nothing is started where the binary cannot be."""
    available.engine("bubblewrap")
    request, caller = _request(place, elf_programs.lacking(place), f"rootfs:{place}/system")
    with pytest.raises(BinaryError, match=r"cannot run in image .* the image lacks libgone\.so"):
        session.execute(request, caller, notify=lambda _: None, interrupt=Interrupt())


@pytest.mark.parametrize("options", [(), ("-static",)])
def test_program_that_fits_is_not_refused(options: tuple[str, ...], place: Path) -> None:
    """And what it says of itself is known."""
    looked = trial(place, elf_programs.ordinary(place, options=options))
    assert looked.incompatibility() == ""
    assert looked.version() == "runs"
    assert looked.libc().startswith("glibc 2.")


def test_system_without_a_c_library_is_told(place: Path) -> None:
    """As an image of static programs is."""
    shutil.rmtree(place / "system/usr")
    (place / "system/usr/bin").mkdir(parents=True)
    looked = trial(place, elf_programs.ordinary(place))
    assert looked.libc() == ""
    assert looked.incompatibility().endswith("does not exist; the image has no C library")
    assert looked.find_missing(("bash",)) == ("/bin/sh", "bash")


def test_missing_commands_are_named(place: Path) -> None:
    """As a shell in there finds them."""
    (place / "system/usr/bin/sh").symlink_to("bash")
    assert trial(place).find_missing(("id", "no-such", "bash", "jq")) == ("no-such", "jq")


def test_image_that_is_not_here_is_no_refusal(place: Path) -> None:
    """It says nothing of the binary."""
    available.engine("bubblewrap")
    request, caller = _request(place, None, "nowhere:1")
    looked = session.prepare_binary_check(
        replace(request, engine="bubblewrap"), caller, Interrupt()
    )
    with pytest.raises(EngineError, match="image import"):
        looked.libc()
