"""The fuzz targets, replayed on their seeds and on every input that once found a fault."""

import importlib
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from isosmoke.keeper.build import SOURCE
from support.paths import ROOT, TESTS

FUZZ = TESTS / "fuzz"
CORPUS = FUZZ / "corpus"
DRIVERS = {"atheris_driver", "replay"}
PYTHON_TARGETS = sorted(path.stem for path in FUZZ.glob("*.py") if path.stem not in DRIVERS)
C_TARGETS = sorted(path.stem for path in FUZZ.glob("*.c") if path.stem not in DRIVERS)
INPUTS = [path for name in PYTHON_TARGETS for path in sorted((CORPUS / name).iterdir())]
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
MAX_SIZE = 64 * 1024
"""The maximum size of the committed inputs, in bytes."""

MUTANTS = {
    "an overflow": ("processes.h", "size >= (int)sizeof entry || ", "", "AddressSanitizer"),
    "memory that is not freed": (
        "keeper.c",
        "\tfree(payload);\n",
        "",
        "it does not free its memory",
    ),
    "a descriptor that stays open": (
        *("keeper.c", "\tclose(start_error[1]);\n", ""),
        "it leaves a descriptor open",
    ),
    "a signal to every process": (
        *("keeper.c", "kill(-1, SIGCONT)", "kill(-1, SIGKILL)"),
        "it ends every process",
    ),
}
"""Faults of a keeper: a file and a text in it, the replacement, and the report of a target."""


@cache
def get_sanitizers(compiler: str) -> Sequence[str]:
    """Return the options for the sanitizers, none if the compiler lacks their libraries."""
    command = [compiler, *SANITIZERS, "-x", "c", "-", "-o", "/dev/null"]
    program = "int main(void) { return 0; }"
    result = subprocess.run(command, input=program, text=True, capture_output=True, check=False)
    return SANITIZERS if result.returncode == 0 else ()


def copy_sources(directory: Path) -> Path:
    """Copy the sources of the keeper into a new directory, and return it."""
    directory.mkdir()
    for path in (*SOURCE.parent.glob("*.c"), *SOURCE.parent.glob("*.h")):
        shutil.copy(path, directory)
    return directory


def compile_target(name: str, program: Path, keeper: Path = SOURCE.parent) -> Path:
    """Compile a C target with the keeper in a directory, or skip the test without a compiler."""
    compiler = shutil.which("clang") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler found, which the fuzz targets of keeper.c need")
    sources = (str(FUZZ / f"{name}.c"), str(FUZZ / "replay.c"))
    include = ("-iquote", str(keeper))
    options = ("-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", *get_sanitizers(compiler))
    subprocess.run([compiler, *options, *include, "-o", str(program), *sources], check=True)
    return program


def replay(program: Path, name: str) -> "subprocess.CompletedProcess[str]":
    """Run a compiled target on its corpus."""
    inputs = sorted(map(str, (CORPUS / name).iterdir()))
    return subprocess.run([program, *inputs], capture_output=True, text=True, check=False)


def test_each_target_has_a_corpus() -> None:
    """Every target has inputs, every corpus has a target, and all of them are small."""
    assert sorted(path.name for path in CORPUS.iterdir()) == sorted((*PYTHON_TARGETS, *C_TARGETS))
    assert all(any(directory.iterdir()) for directory in CORPUS.iterdir())
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) <= MAX_SIZE


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_python_target_accepts_input(path: Path) -> None:
    """A target of Python code raises nothing for an input of its corpus."""
    importlib.import_module(f"fuzz.{path.parent.name}").run(path.read_bytes())


@pytest.mark.parametrize("name", C_TARGETS)
def test_c_target_accepts_its_corpus(name: str, tmp_path: Path) -> None:
    """A target of keeper.c reports nothing for its corpus."""
    result = replay(compile_target(name, tmp_path / name), name)

    assert result.returncode == 0, result.stderr
    assert result.stderr.count("input: ") == len(list((CORPUS / name).iterdir()))


@pytest.mark.parametrize("fault", MUTANTS)
def test_faulty_keeper_is_reported(fault: str, tmp_path: Path) -> None:
    """The corpus of a target finds a fault that is put into keeper.c."""
    name, text, replacement, report = MUTANTS[fault]
    copies = copy_sources(tmp_path / "keeper")
    source = (copies / name).read_text()
    assert source.count(text) == 1
    (copies / name).write_text(source.replace(text, replacement))
    if "Sanitizer" in report and not get_sanitizers(shutil.which("clang") or "cc"):
        pytest.skip("the C compiler has no sanitizers")

    results: list[str] = []
    for target in C_TARGETS:
        results.append(replay(compile_target(target, tmp_path / target, copies), target).stderr)
        if report in results[-1]:
            return
    pytest.fail(f"no target reports {report}: {results}")


def test_development_command_lists_every_target() -> None:
    """`sh dev fuzz` without a target names all of them."""
    result = subprocess.run(
        ["sh", "dev", "fuzz"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert result.returncode != 0
    assert all(name in result.stderr for name in (*PYTHON_TARGETS, *C_TARGETS)), result.stderr
