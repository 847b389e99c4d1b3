"""Programs that tests compile, to be refused by a system in one way each."""

import shutil
import subprocess
from pathlib import Path

import pytest

_MAIN = 'int puts(const char *); int main(void) { return puts("runs") < 0; }\n'


def ordinary(folder: Path, *, compiler: str = "cc", options: tuple[str, ...] = ()) -> Path:
    """A program that says `runs`, as this machine's compiler makes it by default."""
    return _compiled(folder, _MAIN, compiler, *options)


def lacking(folder: Path) -> Path:
    """One that needs a library which only `folder` has."""
    library = _library(folder, "libgone.so", "int gone(void) { return 0; }\n")
    return _compiled(folder, f"int gone(void);\n{_MAIN}", "cc", "-Wl,--no-as-needed", str(library))


def newer(folder: Path) -> Path:
    """One that was linked for a glibc 2.99: what stands in for its libc has one such symbol."""
    script = folder / "versions"
    script.write_text("GLIBC_2.99 { global: newer; };\n")
    source = "int newer(void) { return 0; }\n"
    options = ("-nostdlib", f"-Wl,--version-script={script}")
    library = _library(folder, "libc.so.6", source, *options)
    main = "int newer(void); void _start(void) { newer(); }\n"
    return _compiled(folder, main, "cc", "-nostartfiles", "-nodefaultlibs", str(library))


def _library(folder: Path, name: str, source: str, *options: str) -> Path:
    place = folder / "away"
    place.mkdir(exist_ok=True)
    named = f"-Wl,-soname,{name}"
    _compile(source, place / name, "cc", "-shared", "-fPIC", named, *options)
    return place / name


def _compiled(folder: Path, source: str, compiler: str, *options: str) -> Path:
    _compile(source, folder / "program", compiler, *options)
    return folder / "program"


def _compile(source: str, out: Path, compiler: str, *options: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    out.with_suffix(".c").write_text(source)
    command = [compiler, "-o", str(out), str(out.with_suffix(".c")), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "-static" in options and done.returncode:
        pytest.skip(f"{compiler} cannot link statically: {done.stderr}")
    assert done.returncode == 0, done.stderr
