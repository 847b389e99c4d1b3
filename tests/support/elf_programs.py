"""Programs that tests compile, each refused by a system in one way."""

import shutil
import subprocess
from pathlib import Path

import pytest

_MAIN = 'int puts(const char *); int main(void) { return puts("runs") < 0; }\n'


def compile_ordinary(folder: Path, *, compiler: str = "cc", options: tuple[str, ...] = ()) -> Path:
    """Compile a program that prints `runs`, by default with this machine's compiler."""
    return _compile_program(folder, _MAIN, compiler, *options)


def compile_with_missing_library(folder: Path) -> Path:
    """Compile a program that needs a library which exists only in `folder`."""
    library = _compile_library(folder, "libgone.so", "int gone(void) { return 0; }\n")
    return _compile_program(
        folder, f"int gone(void);\n{_MAIN}", "cc", "-Wl,--no-as-needed", str(library)
    )


def compile_for_newer_libc(folder: Path) -> Path:
    """Compile a program for glibc 2.99, with a substitute libc that has one such symbol."""
    script = folder / "versions"
    script.write_text("GLIBC_2.99 { global: newer; };\n")
    source = "int newer(void) { return 0; }\n"
    options = ("-nostdlib", f"-Wl,--version-script={script}")
    library = _compile_library(folder, "libc.so.6", source, *options)
    main = "int newer(void); void _start(void) { newer(); }\n"
    return _compile_program(folder, main, "cc", "-nostartfiles", "-nodefaultlibs", str(library))


def _compile_library(folder: Path, name: str, source: str, *options: str) -> Path:
    directory = folder / "away"
    directory.mkdir(exist_ok=True)
    soname = f"-Wl,-soname,{name}"
    _compile(source, directory / name, "cc", "-shared", "-fPIC", soname, *options)
    return directory / name


def _compile_program(folder: Path, source: str, compiler: str, *options: str) -> Path:
    _compile(source, folder / "program", compiler, *options)
    return folder / "program"


def _compile(source: str, out: Path, compiler: str, *options: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    out.with_suffix(".c").write_text(source)
    command = [compiler, "-o", str(out), str(out.with_suffix(".c")), *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if "-static" in options and result.returncode:
        pytest.skip(f"{compiler} cannot link statically: {result.stderr}")
    assert result.returncode == 0, result.stderr
