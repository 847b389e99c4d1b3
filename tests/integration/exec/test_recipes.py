"""Every recipe of docs/existing-suites.md on a tiny real suite with one test that leaves a process.

A recipe is skipped, with a reason, if its tool is not installed. Those marked `slow` compile; they
run here only with ISOSMOKE_SLOW_RECIPES=1, which `sh dev nightly` sets.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from isosmoke.leak_log import leak_summary, log_reader
from support.exec_runs import EXEC, LEAVE_ONE, SECONDS, build_environment

LEAVES = f"#!/bin/sh\n{LEAVE_ONE}\n"
"""The program that the leaking test of each suite starts."""


def require(*tools: str, is_slow: bool = False) -> None:
    """Skip without these tools, or if this is slow and slow recipes are not wanted."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if is_slow and not os.environ.get("ISOSMOKE_SLOW_RECIPES"):
        pytest.skip("compiles for long: set ISOSMOKE_SLOW_RECIPES=1, as `sh dev nightly` does")


def write_suite(directory: Path, suite: Mapping[str, str]) -> None:
    """Write the files of a suite, and the program `leaves`; scripts are executable."""
    for name, text in {"leaves": LEAVES, **suite}.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if text.startswith("#!") else 0o644)


def run_suite(
    directory: Path, *commands: tuple[str, ...], variables: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run commands, the last of which runs the suite; return the summary of the log by test."""
    log = directory / "leaks.jsonl"
    environment = {
        **build_environment(log, SETTLE="0"),
        "PATH": f"{Path(EXEC).parent}:{os.environ['PATH']}",
        **(variables or {}),
    }
    for command in commands:
        done = subprocess.run(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SECONDS * 5,
        )
        assert done.returncode == 0, done.stdout
    document = leak_summary.summarize(log_reader.parse(log.read_bytes()))
    assert document.unwatched == ()
    assert all("sleep" in leak.process for leak in document.leaks)
    leaking = {leak.test for leak in document.leaks}
    return {test: test in leaking for test in document.tests}


def test_make(tmp_path: Path) -> None:
    """Make: one verdict per recipe line."""
    require("make")
    shell = "SHELL = isosmoke-exec\n.SHELLFLAGS = sh -c\n"
    makefile = f"{shell}all: one two\none:\n\t./leaves\ntwo:\n\ttrue x\n"
    write_suite(tmp_path, {"Makefile": makefile})

    assert run_suite(tmp_path, ("make",)) == {"sh -c ./leaves": True, "sh -c 'true x'": False}


def test_node(tmp_path: Path) -> None:
    """`node --test`: one verdict per file."""
    require("node")
    leaky = "require('node:test')('a', () => { require('child_process').execFileSync('./leaves') })"
    clean = "require('node:test')('b', () => {})"
    write_suite(tmp_path, {"a.test.js": leaky, "b.test.js": clean})
    loop = 'for file in *.test.js; do isosmoke-exec node --test "$file" || exit; done'

    assert run_suite(tmp_path, ("sh", "-c", loop)) == {
        "node --test a.test.js": True,
        "node --test b.test.js": False,
    }


def test_ctest(tmp_path: Path) -> None:
    """CTest: one verdict per test, with the launcher of CMake 3.29 or the emulator before."""
    require("cmake", "ctest", "cc")
    lists = (
        "cmake_minimum_required(VERSION 3.14)\nproject(suite C)\nenable_testing()\n"
        "set(CMAKE_TEST_LAUNCHER isosmoke-exec)\nset(CMAKE_CROSSCOMPILING_EMULATOR isosmoke-exec)\n"
        "add_executable(unit unit.c)\n"
        "add_test(NAME leaky COMMAND unit leaky)\nadd_test(NAME clean COMMAND unit)\n"
    )
    unit = (
        "#include <stdlib.h>\n"
        'int main(int argc, char *argv[]) { return argc > 1 && argv ? system("../leaves") : 0; }\n'
    )
    write_suite(tmp_path, {"CMakeLists.txt": lists, "unit.c": unit})
    commands = (
        ("cmake", "-B", "build"),
        ("cmake", "--build", "build"),
        ("ctest", "--test-dir", "build"),
    )

    assert run_suite(tmp_path, *commands) == {"unit leaky": True, "unit": False}


def test_meson(tmp_path: Path) -> None:
    """Meson: one verdict per test, which is one run of a program."""
    require("meson", "ninja", "cc")
    build = (
        "project('suite', 'c')\n"
        "test('leaky', find_program('./leaves'))\ntest('clean', find_program('./clean'))\n"
    )
    write_suite(tmp_path, {"meson.build": build, "clean": "#!/bin/sh\nexit 0\n"})
    commands = (
        ("meson", "setup", "build"),
        ("meson", "test", "-C", "build", "--wrapper", "isosmoke-exec"),
    )

    assert run_suite(tmp_path, *commands) == {"leaves": True, "clean": False}


def test_bats(tmp_path: Path) -> None:
    """Bats: one verdict per file, or per test with a loop over their names."""
    require("bats")
    tests = '@test "leaky" { ./leaves 3>&-; }\n@test "clean" { true; }\n'
    write_suite(tmp_path, {"suite.bats": tests})
    loop = (
        "for name in leaky clean; do "
        'isosmoke-exec --name "$name" bats --filter "^$name\\$" suite.bats || exit; done'
    )

    assert run_suite(tmp_path, ("sh", "-c", loop)) == {"leaky": True, "clean": False}


def test_go(tmp_path: Path) -> None:
    """`go test -exec`: one verdict per package."""
    require("go", is_slow=True)
    leaky = (
        'package a\nimport ("os/exec"; "testing")\n'
        'func TestA(t *testing.T) { if exec.Command("../leaves").Run() != nil { t.Fail() } }\n'
    )
    clean = 'package b\nimport "testing"\nfunc TestB(t *testing.T) {}\n'
    suite = {"go.mod": "module suite\n", "a/a_test.go": leaky, "b/b_test.go": clean}
    write_suite(tmp_path, suite)

    assert run_suite(tmp_path, ("go", "test", "-exec", "isosmoke-exec", "./...")) == {
        "a.test": True,
        "b.test": False,
    }


CARGO = {
    "Cargo.toml": '[package]\nname = "suite"\nversion = "0.1.0"\nedition = "2021"\n',
    "src/lib.rs": (
        "#[test] fn leaky() { assert!(std::process::Command::new("
        '"./leaves").status().unwrap().success()); }\n#[test] fn clean() {}\n'
    ),
}


def find_runner_variable() -> str:
    """Return the name of cargo's variable for the runner of this machine's target."""
    done = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True)
    (host,) = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("host:")]
    return f"CARGO_TARGET_{host.upper().replace('-', '_')}_RUNNER"


def test_cargo(tmp_path: Path) -> None:
    """`cargo test`: one verdict per test binary."""
    require("cargo", "rustc", is_slow=True)
    write_suite(tmp_path, CARGO)
    runner = {find_runner_variable(): "isosmoke-exec"}

    tests = run_suite(tmp_path, ("cargo", "test", "--offline", "--lib"), variables=runner)
    assert tests == {"suite": True}


def test_nextest(tmp_path: Path) -> None:
    """cargo-nextest: one verdict per test, by the names that nextest gives."""
    require("cargo", "rustc", "cargo-nextest", is_slow=True)
    configuration = (
        'experimental = ["wrapper-scripts"]\n'
        "[scripts.wrapper.isosmoke]\ncommand = 'isosmoke-exec'\n"
        "[[profile.default.scripts]]\nfilter = 'all()'\nrun-wrapper = 'isosmoke'\n"
    )
    write_suite(tmp_path, {**CARGO, ".config/nextest.toml": configuration})

    tests = run_suite(tmp_path, ("cargo", "nextest", "run", "--offline"))
    assert tests == {"suite leaky": True, "suite clean": False}


def test_pytest_as_a_whole(tmp_path: Path) -> None:
    """pytest: one verdict per session."""
    require("pytest")
    test = "import subprocess\ndef test_leaky(): subprocess.check_call('./leaves')\n"
    write_suite(tmp_path, {"test_a.py": test, "pytest.ini": "[pytest]\n"})

    tests = run_suite(tmp_path, ("isosmoke-exec", "pytest", "-q", "-p", "no:cacheprovider"))
    assert tests == {"pytest -q -p no:cacheprovider": True}
