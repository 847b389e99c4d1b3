"""Programs that tests compile, each refused by a system in one way."""

import shutil
import subprocess
from pathlib import Path

import pytest

_MAIN = 'int puts(const char *); int main(void) { return puts("runs") < 0; }\n'


def compile_ordinary(
    directory: Path, *, compiler: str = "cc", options: tuple[str, ...] = ()
) -> Path:
    """Compile a program that prints `runs`, by default with this machine's compiler."""
    return _compile_program(directory, _MAIN, compiler, *options)


def compile_with_missing_library(directory: Path) -> Path:
    """Compile a program that needs a library which exists only in `directory`."""
    library = _compile_library(directory, "libgone.so", "int gone(void) { return 0; }\n")
    return _compile_program(
        directory, f"int gone(void);\n{_MAIN}", "cc", "-Wl,--no-as-needed", str(library)
    )


def compile_for_newer_libc(directory: Path) -> Path:
    """Compile a program for glibc 2.99, with a substitute libc that has one such symbol."""
    script = directory / "versions"
    script.write_text("GLIBC_2.99 { global: newer; };\n")
    source = "int newer(void) { return 0; }\n"
    options = ("-nostdlib", f"-Wl,--version-script={script}")
    library = _compile_library(directory, "libc.so.6", source, *options)
    main = "int newer(void); void _start(void) { newer(); }\n"
    return _compile_program(directory, main, "cc", "-nostartfiles", "-nodefaultlibs", str(library))


def _compile_library(directory: Path, name: str, source: str, *options: str) -> Path:
    directory = directory / "away"
    directory.mkdir(exist_ok=True)
    soname = f"-Wl,-soname,{name}"
    _compile(source, directory / name, "cc", "-shared", "-fPIC", soname, *options)
    return directory / name


def _compile_program(directory: Path, source: str, compiler: str, *options: str) -> Path:
    _compile(source, directory / "program", compiler, *options)
    return directory / "program"


def _compile(source: str, out: Path, compiler: str, *options: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    out.with_suffix(".c").write_text(source)
    command = [compiler, "-o", str(out), str(out.with_suffix(".c")), *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if "-static" in options and result.returncode:
        pytest.skip(f"{compiler} cannot link statically: {result.stderr}")
    assert result.returncode == 0, result.stderr
