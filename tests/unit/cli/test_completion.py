"""Completion as a shell asks for it: which words are offered, and how little is imported."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from isosmoke.cli import commands
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
    """A folder with a manifest that has a mistake, another manifest, and two runs on record."""
    (tmp_path / "manifest.toml").write_text(MANIFEST)
    (tmp_path / "other.toml").write_text('[[scenario]]\nname = "elsewhere"\n')
    for run in RUNS:
        folder = layout.homes(tmp_path)[0] / layout.RUNS / run
        folder.mkdir(parents=True)
        (folder / layout.HEADER).write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WG_SMOKE_MANIFEST", raising=False)
    return tmp_path


def asked(line: str, *python: str) -> "subprocess.CompletedProcess[str]":
    """What a shell runs when TAB is pressed at the end of this line."""
    words = shlex.split(line) + ([""] if line.endswith(" ") else [])
    environment = {
        **os.environ,
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_ISOSMOKE_COMPLETE": "bash_complete",
    }
    return subprocess.run(
        [sys.executable, *python, "-m", "isosmoke"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )


def offered(line: str) -> list[str]:
    """The words that are offered; `file` stands for those of the file system."""
    kinds = (one.split(",", 1) for one in asked(line).stdout.split())
    return [word if kind == "plain" else kind for kind, word in kinds]


OFFERED = {
    "isosmoke r": [one for one in commands() if one.startswith("r")],
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
    "isosmoke repro d": ["daemon"],
    "isosmoke done fix-c": ["fix-chat"],
    "isosmoke run --fail": ["--fail-fast"],
    "isosmoke run --keep": ["--keep-going"],
    "isosmoke run -- c": ["file"],
    "isosmoke receipt ver": ["verify"],
    "isosmoke completion ": ["bash", "zsh", "fish"],
    "isosmoke fly me": [],
}


@pytest.mark.parametrize(("line", "expected"), OFFERED.items(), ids=OFFERED)
def test_these_words_are_offered(line: str, expected: list[str]) -> None:
    """By what can stand there: of the manifest that would be read, of the runs on record."""
    assert offered(line) == expected


def test_a_mirror_offers_what_it_mirrors(project: Path) -> None:
    """A manifest that isosmoke wrote for wg stands for the one it was made from."""
    (project / "mirror.toml").write_text(f'[bridge]\nsource = "{project}/other.toml"\n')

    assert offered("isosmoke run --manifest mirror.toml ") == ["elsewhere"]


def test_a_manifest_that_is_no_toml_is_passed_over_in_silence(project: Path) -> None:
    """Nobody wants an error while typing."""
    (project / "manifest.toml").write_text("[[scenario")
    done = asked("isosmoke run ")

    assert (done.stdout, done.stderr) == ("\n", "")


@pytest.mark.parametrize(
    "line", ["isosmoke ", "isosmoke run c", "isosmoke show ", "isosmoke gate "]
)
def test_nothing_heavy_is_imported_for_it(line: str) -> None:
    """What a command's words are is kept, so only the first time imports what it does."""
    first = asked(line)
    again = asked(line, "-X", "importtime")

    imported = {one.rpartition("|")[2].strip() for one in again.stderr.splitlines()}
    assert again.stdout == first.stdout
    assert "isosmoke.cli" in imported
    assert not imported & HEAVY


def test_another_edition_is_looked_at_again(state_folder: Path) -> None:
    """What was kept of other sources, or is broken, is not believed."""
    before = offered("isosmoke run --fail")
    (kept,) = (state_folder / "completion").iterdir()
    kept.write_text(
        kept.read_text().replace('"edition": "', '"edition": "older ').replace("fail", "x")
    )
    after = offered("isosmoke run --fail")
    kept.write_text("{")

    assert before == after == offered("isosmoke run --fail") == ["--fail-fast"]


def test_where_nothing_can_be_kept_words_are_offered_all_the_same(
    state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It only takes longer."""
    (state_folder / "file").write_text("")
    monkeypatch.setenv("ISOSMOKE_STATE", str(state_folder / "file"))

    assert offered("isosmoke run --fail") == ["--fail-fast"]


@pytest.fixture
def programs(project: Path) -> Path:
    """A folder for PATH with a program isosmoke."""
    folder = project / "programs"
    folder.mkdir()
    (folder / "isosmoke").write_text(f'#!/bin/sh\nexec {sys.executable} -m isosmoke "$@"\n')
    (folder / "isosmoke").chmod(0o755)
    return folder


def test_bash_completes_with_the_script(programs: Path) -> None:
    """A real bash that took the script fills the line."""
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
def test_the_script_is_one_of_its_shell(shell: str) -> None:
    """It is printed, and the shell takes it where it is there to be asked."""
    done = subprocess.run(
        [sys.executable, "-m", "isosmoke", "completion", shell],
        capture_output=True,
        text=True,
        check=True,
    )

    assert f"_ISOSMOKE_COMPLETE={shell}_complete" in done.stdout
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here to take it")
    subprocess.run([shell, "-n"], input=done.stdout, text=True, check=True)
