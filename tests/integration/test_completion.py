"""Shell completion: the offered candidates, and the modules imported for them."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from isosmoke.cli import find_commands
from isosmoke.history import layout

MANIFEST = """
[[scenario]]
name = "chat_start"
script = "a.sh"
owners = ["fix-chat", " fix-tui "]
assertion = "The chat starts."

[[scenario]]
name = "chat_stop"
script = "b.sh"
owners = ["fix-chat"]

[[scenario]]
name = "daemon"
script = 7
"""

RUNS = ("20260101-120000-0000", "20260102-120000-0000")
HEAVY = {
    "pydantic",
    "rich",
    "docker",
    "httpx",
    "testcontainers",
    "jinja2",
    "isosmoke.cli.scenarios.run",
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with an invalid manifest, another manifest, and two recorded runs."""
    (tmp_path / "manifest.toml").write_text(MANIFEST)
    (tmp_path / "other.toml").write_text('[[scenario]]\nname = "elsewhere"\n')
    for run in RUNS:
        directory = layout.list_homes(tmp_path)[0] / layout.RUNS / run
        directory.mkdir(parents=True)
        (directory / layout.HEADER).write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WG_SMOKE_MANIFEST", raising=False)
    return tmp_path


def press_tab(line: str, *python_options: str) -> "subprocess.CompletedProcess[str]":
    """Run the command that a shell runs when TAB is pressed at the end of a line."""
    arguments = shlex.split(line) + ([""] if line.endswith(" ") else [])
    environment = {
        **os.environ,
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(arguments) - 1),
        "_ISOSMOKE_COMPLETE": "bash_complete",
    }
    return subprocess.run(
        [sys.executable, *python_options, "-m", "isosmoke"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )


def complete(line: str) -> list[str]:
    """Return the candidates for the end of a line; `file` stands for names of files."""
    items = (item.split(",", 1) for item in press_tab(line).stdout.split())
    return [value if kind == "plain" else kind for kind, value in items]


CANDIDATES = {
    "isosmoke r": [name for name in find_commands() if name.startswith("r")],
    "isosmoke run ": ["chat_start", "chat_stop", "daemon"],
    "isosmoke run chat_start c": ["chat_stop"],
    "isosmoke list -E 'all()' d": ["daemon"],
    "isosmoke run --manifest other.toml ": ["elsewhere"],
    "isosmoke run --manifest missing.toml ": [],
    "isosmoke run --manifest o": ["file"],
    "isosmoke run --owner ": ["fix-chat", "fix-tui"],
    "isosmoke gate fix-t": ["fix-tui"],
    "isosmoke run --engine b": ["bubblewrap"],
    "isosmoke run --rerun ": [RUNS[1], RUNS[0]],
    "isosmoke report 20260101": [RUNS[0]],
    "isosmoke show ": [RUNS[1], RUNS[0], "chat_start", "chat_stop", "daemon"],
    "isosmoke logs chat_sta": ["chat_start"],
    "isosmoke history d": ["daemon"],
    "isosmoke stress d": ["daemon"],
    "isosmoke prove d": ["daemon"],
    "isosmoke bisect d": ["daemon"],
    "isosmoke repro d": ["daemon"],
    "isosmoke done fix-c": ["fix-chat"],
    "isosmoke run --fail": ["--fail-fast"],
    "isosmoke run --keep": ["--keep-going", "--keep-cache"],
    "isosmoke run -- c": ["file"],
    "isosmoke receipt ver": ["verify"],
    "isosmoke completion ": ["bash", "zsh", "fish"],
    "isosmoke fly me": [],
}


@pytest.mark.parametrize(("line", "expected"), CANDIDATES.items(), ids=CANDIDATES)
def test_candidates_fit_the_argument(line: str, expected: list[str]) -> None:
    """Candidates come from the manifest that the command would read, or from recorded runs."""
    assert complete(line) == expected


def test_mirror_is_completed_from_its_source(project: Path) -> None:
    """A mirror written for wg offers the scenarios of the mirrored manifest."""
    (project / "mirror.toml").write_text(f'[bridge]\nsource = "{project}/other.toml"\n')

    assert complete("isosmoke run --manifest mirror.toml ") == ["elsewhere"]


def test_invalid_toml_is_ignored(project: Path) -> None:
    """Completion prints no error for a manifest that is not TOML."""
    (project / "manifest.toml").write_text("[[scenario")
    done = press_tab("isosmoke run ")

    assert (done.stdout, done.stderr) == ("\n", "")


@pytest.mark.parametrize(
    "line", ["isosmoke ", "isosmoke run c", "isosmoke show ", "isosmoke gate "]
)
def test_completion_imports_no_heavy_module(line: str) -> None:
    """Only the first completion of a command imports its implementation."""
    first = press_tab(line)
    second = press_tab(line, "-X", "importtime")

    imported = {row.rpartition("|")[2].strip() for row in second.stderr.splitlines()}
    assert second.stdout == first.stdout
    assert "isosmoke.cli" in imported
    assert not imported & HEAVY


def test_stale_cache_is_discarded(state_folder: Path) -> None:
    """A cache of another edition, or a broken one, is not used."""
    before = complete("isosmoke run --fail")
    (cache,) = (state_folder / "completion").iterdir()
    cache.write_text(
        cache.read_text().replace('"edition": "', '"edition": "older ').replace("fail", "x")
    )
    after = complete("isosmoke run --fail")
    cache.write_text("{")

    assert before == after == complete("isosmoke run --fail") == ["--fail-fast"]


def test_completion_works_without_a_cache(
    state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unusable state directory only makes completion slower."""
    (state_folder / "file").write_text("")
    monkeypatch.setenv("ISOSMOKE_STATE", str(state_folder / "file"))

    assert complete("isosmoke run --fail") == ["--fail-fast"]


@pytest.fixture
def programs(project: Path) -> Path:
    """Return a directory for PATH that contains an `isosmoke` program."""
    directory = project / "programs"
    directory.mkdir()
    (directory / "isosmoke").write_text(f'#!/bin/sh\nexec {sys.executable} -m isosmoke "$@"\n')
    (directory / "isosmoke").chmod(0o755)
    return directory


def test_bash_completes_with_the_script(programs: Path) -> None:
    """A real bash that has sourced the script completes the line."""
    script = """
        source <(isosmoke completion bash)
        COMP_WORDS=(isosmoke run chat_) COMP_CWORD=2
        "$(complete -p isosmoke | sed 's/.*-F //; s/ .*//')" isosmoke
        echo "${COMPREPLY[*]}"
    """
    environment = {**os.environ, "PATH": f"{programs}:/usr/bin:/bin"}

    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=True
    )

    assert (done.stdout, done.stderr) == ("chat_start chat_stop\n", "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_script_is_valid_in_its_shell(shell: str) -> None:
    """The script is printed, and the shell accepts it if it is installed."""
    done = subprocess.run(
        [sys.executable, "-m", "isosmoke", "completion", shell],
        capture_output=True,
        text=True,
        check=True,
    )

    assert f"_ISOSMOKE_COMPLETE={shell}_complete" in done.stdout
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n"], input=done.stdout, text=True, check=True)
