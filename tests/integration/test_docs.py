"""The examples in the documentation work as described."""

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from runpy import run_path

import pytest

from isosmoke import cli
from isosmoke.cli.project import schema
from support import available, docker_images
from support.paths import ROOT
from support.project import Project

PAGE = ROOT / "docs/testing.md"
API_PAGE = ROOT / "docs/python-api.md"


README = ROOT / "README.md"
PAGES = (
    README,
    ROOT / "SECURITY.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
)
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)|\b(?:src|srcset)=\"()([^\"]+)\"")

EXIT_CODES = {"isosmoke run -- bash smoke.sh": 1}
"""The exit codes of commands in the README other than 0."""


def find_examples(page: Path) -> list[str]:
    """Return the Python examples of a page."""
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


CONTAINER, CONTRACT, FAKE = find_examples(PAGE)


def run_example(
    directory: Path, example: str, *arguments: str, **variables: str
) -> Mapping[str, str]:
    """Return the result of each test of an example, by name."""
    (directory / "test_example.py").write_text(example)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *arguments],
        cwd=directory,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    matches = re.findall(r"::(\w+)(?:\[(\w+)\])? (PASSED|FAILED|ERROR)", result.stdout)
    assert matches, result.stdout + result.stderr
    return {check or test: outcome for test, check, outcome in matches}


def test_container_example_finds_leak(tmp_path: Path) -> None:
    """The first example passes, and its fixture raises an error after a leak."""
    available.require_engine("docker")
    wg = docker_images.compile_companion(tmp_path / "wg")
    with docker_images.imported_image(tmp_path) as image:
        example = CONTAINER.replace("debian:12", image)
        assert example != CONTAINER
        outcomes = run_example(tmp_path, example, ISOSMOKE_WG=str(wg))

    assert outcomes == {"test_wg_prints_its_version": "PASSED", "test_leak_is_reported": "ERROR"}


def test_engine_example_runs_contract(tmp_path: Path) -> None:
    """The second example runs the checks over its engine."""
    available.require_engine("bubblewrap")
    outcomes = run_example(tmp_path, CONTRACT, "-k", "fresh or another_script or nothing_survives")

    assert outcomes == dict.fromkeys(
        (
            "each_sandbox_is_fresh",
            "a_fresh_sandbox_has_only_its_script",
            "another_script_may_follow",
            "nothing_survives_the_end",
        ),
        "PASSED",
    )


def test_fake_example_passes(tmp_path: Path) -> None:
    """The third example needs no process."""
    assert run_example(tmp_path, FAKE) == {"test_exit_code_is_returned": "PASSED"}


def test_api_examples_have_their_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of the page on the Python API prints what the page shows."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path)
    monkeypatch.chdir(project.top)
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    text = "\n".join(find_examples(API_PAGE))
    examples = doctest.DocTestParser().get_doctest(text, {}, API_PAGE.name, str(API_PAGE), 0)
    report: list[str] = []
    result = doctest.DocTestRunner().run(examples, out=report.append)

    assert result.attempted > 10
    assert result.failed == 0, "".join(report)


def find_commands(page: Path) -> list[str]:
    """Return the commands of a page, without the comments after them."""
    lines = re.findall(r"^    (\S.*)$", page.read_text(), re.MULTILINE)
    return [re.split(r" {2,}#", line)[0].strip() for line in lines]


def test_commands_of_the_readme_work(tmp_path: Path) -> None:
    """Each command does what the README says; CI runs those that install isosmoke."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path, "")
    project.manifest.unlink()
    project.path("smoke.sh").write_text("sleep 600 &\n")
    subprocess.run(["git", "init", "--quiet", project.top], check=True)
    commands = find_commands(README)
    installing = [line for line in commands if re.match(r"(pipx|uv|python3 -m venv) .* \.$", line)]
    own = [line for line in commands if line.startswith("isosmoke ")]

    assert len(installing) == 3
    assert len(own) > 3
    assert set(commands) - {*installing, *own} == {
        "make run",
        "export PATH=$PWD/.venv/commands:$PATH",
    }
    assert "sh dev $@" in (ROOT / "Makefile").read_text()
    for command in own:
        done = project.run(*command.split()[1:])
        assert done.returncode == EXIT_CODES.get(command, 0), f"{command}: {done.stderr}"


def test_own_commands_shadow_nothing() -> None:
    """The directory that the README puts on PATH has isosmoke's commands only."""
    directory = Path(sys.prefix) / "commands"

    assert sorted(path.name for path in directory.iterdir()) == ["isosmoke", "isosmoke-exec"]
    assert all(os.access(path, os.X_OK) for path in directory.iterdir())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    """Each relative link names a file, and each fragment a heading of it."""
    broken = [
        match[0]
        for match in LINK.finditer(page.read_text())
        if not _exists(page, match[1] or match[4] or "", match[2] or "")
    ]

    assert broken == []


def _exists(page: Path, path: str, heading: str) -> bool:
    target = page.parent / path if path else page
    return target.is_file() and (not heading or heading in _list_headings(target))


def _list_headings(page: Path) -> set[str]:
    """Return the fragments of the headings of a page, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}


def test_picture_shows_what_isosmoke_prints(tmp_path: Path) -> None:
    """A new recording has the lines of the picture, apart from numbers; both schemes agree."""
    available.require_engine("bubblewrap")
    recorder = run_path(str(ROOT / "docs/pictures/record.py"))
    lines = recorder["record_session"](tmp_path, Path(sys.prefix) / "commands/isosmoke")
    pictures = [
        [recorder["read_line"](line) for line in path.read_text().splitlines()]
        for path in (ROOT / "docs/pictures").glob("leak-*.svg")
    ]

    def list_facts(texts: list[str]) -> list[str]:
        facts = [
            text for text in texts if re.match(r"\$|LEAK|  because|  leaked|  repeat|\d", text)
        ]
        numbered = [re.sub(r"[\d.]+", "N", text.partition("  in")[0]) for text in facts]
        return [re.sub(r" [RSD] Ns ", " S Ns ", text) for text in numbered]  # as the server waits

    recorded = list_facts([recorder["strip_colours"](line.text) for line in lines])
    assert len(recorded) > 6
    assert [list_facts(picture) for picture in pictures] == [recorded, recorded]


def test_reference_has_every_command_and_document() -> None:
    """The pages come from the commands and the schemas; each command has a man page."""
    reference = run_path(str(ROOT / "docs/site/reference.py"))
    commands, documents = reference["render_command_page"](), reference["render_document_page"]()
    contexts = list(reference["list_commands"](reference["open_root"]()))
    pages = [reference["render_man_page"](context) for context in contexts]

    names = [context.command_path for context in contexts]
    assert {f"isosmoke {name}" for name in cli.find_commands()} <= set(names)
    assert re.findall(r"^## `(.+)`$", commands, re.MULTILINE) == names
    assert "--network [host|isolated]" in commands
    assert re.findall(r"^## (.+)$", documents, re.MULTILINE) == list(schema.find_documents())
    for name, page in zip(names, pages, strict=True):
        assert page.startswith(f'.TH "{name.replace(" ", "-").upper()}" "1"')
        assert "\n.SH NAME\n" in page
