"""Repositories that are set up for the first time, and again."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from isosmoke.authoring import agent_rules
from isosmoke.authoring.setup import carry_out, plan
from isosmoke.errors import IsosmokeError, ManifestError, UsageError
from isosmoke.manifest import loader

ENTRY = '# Mine.\n[[scenario]]\nname = "one"\nscript = "one.sh"\n'


def told(top: Path) -> list[str]:
    """Set the repository up, and say what was done."""
    steps = plan(top)
    carry_out(steps)
    return [f"{one.path.relative_to(top)}: {one.words}" for one in steps]


def everything(top: Path) -> Mapping[Path, tuple[int, bytes]]:
    """All files, and when they were written."""
    files = (path for path in top.rglob("*") if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def adopted(top: Path, place: str = "tests/smoke/manifest.toml", text: str = ENTRY) -> Path:
    """A manifest that was there before isosmoke, with its script."""
    path = top / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    (path.parent / "one.sh").write_text("wg one")
    return path


def test_an_empty_repository_gets_all_there_is(tmp_path: Path) -> None:
    """A manifest, a scenario that can be run, and the rule in AGENTS.md."""
    assert told(tmp_path) == [
        "tests/smoke/scenarios/binary_starts.sh: made",
        "tests/smoke/manifest.toml: made, with scenario 'binary_starts'",
        "AGENTS.md: the agents' rule added",
    ]
    loaded = loader.load(tmp_path / "tests/smoke/manifest.toml")
    assert "Grow-only" in loaded.path.read_text()
    assert os.access(loaded.scenarios[0].script_path, os.X_OK)
    assert agent_rules.text() in (tmp_path / "AGENTS.md").read_text()


def test_twice_is_once(tmp_path: Path) -> None:
    """Run again, nothing is written, and that is said."""
    told(tmp_path)
    before = everything(tmp_path)

    assert told(tmp_path) == [
        "tests/smoke/manifest.toml: adopted as it is, 1 scenario",
        "AGENTS.md: up to date",
    ]
    assert everything(tmp_path) == before


@pytest.mark.parametrize("place", ["tests/smoke/manifest.toml", "manifest.toml"])
def test_a_manifest_is_adopted_as_it_is(tmp_path: Path, place: str) -> None:
    """What wg gates with today is neither replaced nor hidden by a second manifest."""
    path = adopted(tmp_path, place, ENTRY + ENTRY.replace("one", "two", 1))
    before = path.read_bytes()

    assert told(tmp_path)[0] == f"{place}: adopted as it is, 2 scenarios"
    assert path.read_bytes() == before
    assert [*tmp_path.rglob("manifest.toml")] == [path]


def test_a_manifest_of_something_else_is_none_of_ours(tmp_path: Path) -> None:
    """A `manifest.toml` at the top without scenarios is left alone."""
    (tmp_path / "manifest.toml").write_text("[package]\n")

    assert "tests/smoke/manifest.toml: made, with scenario 'binary_starts'" in told(tmp_path)
    assert (tmp_path / "manifest.toml").read_text() == "[package]\n"


def test_a_manifest_without_a_scenario_is_extended(tmp_path: Path) -> None:
    """Comments of a manifest that is still empty stay, and a first scenario follows."""
    path = adopted(tmp_path, text="# Mine.\n")

    assert "tests/smoke/manifest.toml: extended by scenario 'binary_starts'" in told(tmp_path)
    assert path.read_text().startswith("# Mine.\n\n[[scenario]]\n")


def test_a_script_that_is_there_is_kept(tmp_path: Path) -> None:
    """A file of the first scenario's name is somebody's work."""
    script = tmp_path / "tests/smoke/scenarios/binary_starts.sh"
    script.parent.mkdir(parents=True)
    script.write_text("mine")

    assert told(tmp_path)[0] == "tests/smoke/scenarios/binary_starts.sh: kept as it is"
    assert script.read_text() == "mine"


@pytest.mark.parametrize(
    ("version", "code"),
    [("echo wg 1.0", 0), ("exit 3", 3), (":", 1)],
)
def test_the_first_scenario_has_teeth(tmp_path: Path, version: str, code: int) -> None:
    """It passes with a binary that says its version, and fails with one that is broken."""
    told(tmp_path)
    binary = tmp_path / "wg"
    binary.write_text(f"#!/bin/sh\n{version}\n")
    binary.chmod(0o755)

    script = tmp_path / "tests/smoke/scenarios/binary_starts.sh"
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    assert subprocess.run([script], env=path, capture_output=True, check=False).returncode == code


@pytest.mark.parametrize("names", [["CLAUDE.md"], ["AGENTS.md"], ["CLAUDE.md", "AGENTS.md"]])
def test_the_rule_goes_where_agents_look(tmp_path: Path, names: list[str]) -> None:
    """Each file for agents that is there gets the rule, and no other is made."""
    for name in names:
        (tmp_path / name).write_text("# Mine\n")

    assert told(tmp_path)[2:] == [f"{name}: the agents' rule added" for name in names]
    assert sorted(path.name for path in tmp_path.glob("*.md")) == sorted(names)
    assert all((tmp_path / name).read_text().startswith("# Mine\n") for name in names)


def test_a_file_under_two_names_gets_the_rule_once(tmp_path: Path) -> None:
    """A link from one name to the other stays a link."""
    (tmp_path / "AGENTS.md").write_text("# Mine\n")
    (tmp_path / "CLAUDE.md").symlink_to("AGENTS.md")

    assert len(told(tmp_path)) == 3
    assert (tmp_path / "CLAUDE.md").is_symlink()
    assert (tmp_path / "AGENTS.md").read_text().count(agent_rules.BEGIN) == 1


def test_an_old_rule_is_updated_in_place(tmp_path: Path) -> None:
    """What stands between the markers is ours; what stands around them is not."""
    (tmp_path / "AGENTS.md").write_text(
        f"before\n{agent_rules.BEGIN}\nold\n{agent_rules.END}\nafter\n"
    )

    assert told(tmp_path)[-1] == "AGENTS.md: the agents' rule updated"
    text = (tmp_path / "AGENTS.md").read_text()
    assert text == f"before\n{agent_rules.BEGIN}\n{agent_rules.text()}{agent_rules.END}\nafter\n"


def test_a_wrong_manifest_stops_it_before_anything_is_written(tmp_path: Path) -> None:
    """A mistake is told with its line, and the agents' files are as they were."""
    adopted(tmp_path, text="# Mine.\n[[scenario]]\nnme = 'x'\n")
    before = everything(tmp_path)

    with pytest.raises(ManifestError, match=r"manifest\.toml:3"):
        told(tmp_path)

    assert everything(tmp_path) == before


@pytest.mark.parametrize("content", [agent_rules.BEGIN.encode(), b"\xff"])
def test_an_odd_file_for_agents_stops_it_too(tmp_path: Path, content: bytes) -> None:
    """Where it is not clear what to replace, nothing is written, and the file is named."""
    (tmp_path / "CLAUDE.md").write_bytes(content)

    with pytest.raises(UsageError, match=r"CLAUDE\.md"):
        told(tmp_path)

    assert [*tmp_path.iterdir()] == [tmp_path / "CLAUDE.md"]


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A file where a folder should be is told, without a traceback."""
    (tmp_path / "tests").write_text("a file")

    with pytest.raises(IsosmokeError, match="tests"):
        told(tmp_path)
