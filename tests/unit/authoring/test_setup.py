"""Setup of new and existing repositories."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from isosmoke.authoring import agent_rules
from isosmoke.authoring.setup import carry_out, plan
from isosmoke.errors import IsosmokeError, ManifestError, UsageError
from isosmoke.manifest import loader
from support.git_repositories import Git

ENTRY = '# Mine.\n[[scenario]]\nname = "one"\nscript = "one.sh"\n'

SKILL_ADDED = ".agents/skills/isosmoke/SKILL.md: skill added"


def set_up(top: Path) -> list[str]:
    """Set the repository up and return the descriptions of the steps."""
    steps = plan(top)
    carry_out(steps)
    return [f"{step.path.relative_to(top)}: {step.description}" for step in steps]


def read_tree(top: Path) -> Mapping[Path, tuple[int, bytes]]:
    """Return the modification time and content of each file."""
    files = (path for path in top.rglob("*") if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def write_manifest(
    top: Path, location: str = "tests/smoke/manifest.toml", text: str = ENTRY
) -> Path:
    """Write a manifest with its script, as it existed before isosmoke."""
    path = top / location
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    (path.parent / "one.sh").write_text("wg one")
    return path


def test_empty_repository_gets_all_files(tmp_path: Path) -> None:
    """An empty repository gets a manifest, an executable scenario and the rules in AGENTS.md."""
    assert set_up(tmp_path) == [
        f"tests/smoke/scenarios/{tmp_path.name}_starts.sh: created",
        f"tests/smoke/manifest.toml: created with scenario '{tmp_path.name}_starts'",
        "AGENTS.md: rules for agents added",
        SKILL_ADDED,
    ]
    loaded = loader.load(tmp_path / "tests/smoke/manifest.toml")
    assert "Grow-only" in loaded.path.read_text()
    assert os.access(loaded.scenarios[0].script_path, os.X_OK)
    assert agent_rules.read_rules() in (tmp_path / "AGENTS.md").read_text()


def test_second_setup_changes_nothing(tmp_path: Path) -> None:
    """A second setup writes nothing and says so."""
    set_up(tmp_path)
    before = read_tree(tmp_path)

    assert set_up(tmp_path) == [
        "tests/smoke/manifest.toml: adopted unchanged, 1 scenario",
        "AGENTS.md: up to date",
        ".agents/skills/isosmoke/SKILL.md: up to date",
    ]
    assert read_tree(tmp_path) == before


@pytest.mark.parametrize("location", ["tests/smoke/manifest.toml", "manifest.toml"])
def test_existing_manifest_is_adopted(tmp_path: Path, location: str) -> None:
    """An existing manifest is neither replaced nor hidden by a second one."""
    path = write_manifest(tmp_path, location, ENTRY + ENTRY.replace("one", "two", 1))
    before = path.read_bytes()

    assert set_up(tmp_path)[0] == f"{location}: adopted unchanged, 2 scenarios"
    assert path.read_bytes() == before
    assert [*tmp_path.rglob("manifest.toml")] == [path]


def test_unrelated_manifest_is_ignored(tmp_path: Path) -> None:
    """A `manifest.toml` without scenarios at the top is not changed."""
    (tmp_path / "manifest.toml").write_text("[package]\n")

    assert f"tests/smoke/manifest.toml: created with scenario '{tmp_path.name}_starts'" in set_up(
        tmp_path
    )
    assert (tmp_path / "manifest.toml").read_text() == "[package]\n"


def test_manifest_without_scenarios_is_extended(tmp_path: Path) -> None:
    """The comments of an empty manifest are kept, and a first scenario is appended."""
    path = write_manifest(tmp_path, text="# Mine.\n")

    assert f"tests/smoke/manifest.toml: extended by scenario '{tmp_path.name}_starts'" in set_up(
        tmp_path
    )
    assert path.read_text().startswith("# Mine.\n\n[[scenario]]\n")


def test_existing_script_is_kept(tmp_path: Path) -> None:
    """An existing script with the name of the first scenario is not overwritten."""
    script = tmp_path / f"tests/smoke/scenarios/{tmp_path.name}_starts.sh"
    script.parent.mkdir(parents=True)
    script.write_text("mine")

    assert set_up(tmp_path)[0] == f"tests/smoke/scenarios/{tmp_path.name}_starts.sh: unchanged"
    assert script.read_text() == "mine"


@pytest.mark.parametrize(
    ("version", "code"),
    [("echo wg 1.0", 0), ("exit 3", 3), (":", 1)],
)
def test_the_first_scenario_has_teeth(tmp_path: Path, version: str, code: int) -> None:
    """The first scenario passes with a working binary and fails with a broken one."""
    set_up(tmp_path)
    binary = tmp_path / "wg"
    binary.write_text(f"#!/bin/sh\n{version}\n")
    binary.chmod(0o755)

    script = tmp_path / f"tests/smoke/scenarios/{tmp_path.name}_starts.sh"
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    assert subprocess.run([script], env=path, capture_output=True, check=False).returncode == code


@pytest.mark.parametrize("names", [["CLAUDE.md"], ["AGENTS.md"], ["CLAUDE.md", "AGENTS.md"]])
def test_rules_are_added_to_existing_agent_files(tmp_path: Path, names: list[str]) -> None:
    """Each existing file for agents gets the rules, and no other is created."""
    for name in names:
        (tmp_path / name).write_text("# Mine\n")

    rules = [line for line in set_up(tmp_path)[2:] if "skill" not in line]
    assert rules == [f"{name}: rules for agents added" for name in names]
    assert sorted(path.name for path in tmp_path.glob("*.md")) == sorted(names)
    assert all((tmp_path / name).read_text().startswith("# Mine\n") for name in names)


def test_linked_agent_file_gets_rules_once(tmp_path: Path) -> None:
    """A link from one name to the other stays a link, and the rules are added once."""
    (tmp_path / "AGENTS.md").write_text("# Mine\n")
    (tmp_path / "CLAUDE.md").symlink_to("AGENTS.md")

    assert sum("rules for agents" in line for line in set_up(tmp_path)) == 1
    assert (tmp_path / "CLAUDE.md").is_symlink()
    assert (tmp_path / "AGENTS.md").read_text().count(agent_rules.BEGIN) == 1


def test_old_rules_are_updated_in_place(tmp_path: Path) -> None:
    """The text between the markers is replaced; the text around them is kept."""
    (tmp_path / "AGENTS.md").write_text(
        f"before\n{agent_rules.BEGIN}\nold\n{agent_rules.END}\nafter\n"
    )

    assert "AGENTS.md: rules for agents updated" in set_up(tmp_path)
    text = (tmp_path / "AGENTS.md").read_text()
    assert (
        text == f"before\n{agent_rules.BEGIN}\n{agent_rules.read_rules()}{agent_rules.END}\nafter\n"
    )


def test_invalid_manifest_stops_setup(tmp_path: Path) -> None:
    """An invalid manifest is reported with its line, and nothing is written."""
    write_manifest(tmp_path, text="# Mine.\n[[scenario]]\nnme = 'x'\n")
    before = read_tree(tmp_path)

    with pytest.raises(ManifestError, match=r"manifest\.toml:3"):
        set_up(tmp_path)

    assert read_tree(tmp_path) == before


@pytest.mark.parametrize("content", [agent_rules.BEGIN.encode(), b"\xff"])
def test_invalid_agent_file_stops_setup(tmp_path: Path, content: bytes) -> None:
    """An invalid file for agents is named, and nothing is written."""
    (tmp_path / "CLAUDE.md").write_bytes(content)

    with pytest.raises(UsageError, match=r"CLAUDE\.md"):
        set_up(tmp_path)

    assert [*tmp_path.iterdir()] == [tmp_path / "CLAUDE.md"]


def test_unwritable_path_is_an_error(tmp_path: Path) -> None:
    """A file in place of a directory is reported without a traceback."""
    (tmp_path / "tests").write_text("a file")

    with pytest.raises(IsosmokeError, match="tests"):
        set_up(tmp_path)


@pytest.mark.parametrize(
    ("directory", "name"),
    [("project", "project_starts"), ("My App.v2", "my_app_v2_starts"), ("日本", "binary_starts")],
)
def test_first_scenario_is_named_after_the_project(
    tmp_path: Path, directory: str, name: str
) -> None:
    """The first scenario has the project's name, so that those of two projects differ."""
    (tmp_path / directory).mkdir()

    set_up(tmp_path / directory)

    (first,) = loader.load(tmp_path / directory / "tests/smoke/manifest.toml").scenarios
    assert (first.name, first.script) == (name, f"scenarios/{name}.sh")


def test_work_tree_of_an_agent_has_the_name_of_its_project(tmp_path: Path) -> None:
    """The directory of a linked work tree is not the project's name."""
    git = Git(tmp_path / "project")
    git.commit("base")
    git("worktree", "add", "-q", "-b", "agent", str(tmp_path / "agent-7"))

    set_up(tmp_path / "agent-7")

    (first,) = loader.load(tmp_path / "agent-7/tests/smoke/manifest.toml").scenarios
    assert first.name == "project_starts"


@pytest.mark.parametrize("sign", [".claude/settings.json", "CLAUDE.md"])
def test_claude_code_gets_its_own_skill(tmp_path: Path, sign: str) -> None:
    """The skill is also where Claude Code looks for it, if the project uses it."""
    (tmp_path / sign).parent.mkdir(exist_ok=True)
    (tmp_path / sign).write_text("{}\n")

    steps = set_up(tmp_path)
    skills = [tmp_path / name / "skills/isosmoke/SKILL.md" for name in (".agents", ".claude")]

    assert {SKILL_ADDED, SKILL_ADDED.replace(".agents", ".claude")} <= {*steps}
    assert skills[0].read_text() == skills[1].read_text() == agent_rules.build_skill()


def test_skill_has_the_format_of_agent_skills() -> None:
    """The front matter is first, and name and description keep the limits of agentskills.io."""
    start, name, description, end, *_ = agent_rules.build_skill().splitlines()

    assert (start, end, name) == ("---", "---", "name: isosmoke")
    assert 0 < len(description.removeprefix("description: ")) <= 1024
    assert ": " not in description.removeprefix("description: ")  # YAML without quotes
    assert agent_rules.read_rules() in agent_rules.build_skill()


def test_skill_of_the_user_is_kept(tmp_path: Path) -> None:
    """A skill without the markers is the user's; around the markers, their text is kept."""
    path = tmp_path / ".agents/skills/isosmoke/SKILL.md"
    path.parent.mkdir(parents=True)
    path.write_text("mine\n")

    assert ".agents/skills/isosmoke/SKILL.md: unchanged: it is not written by isosmoke" in set_up(
        tmp_path
    )
    assert path.read_text() == "mine\n"
    path.write_text(
        f"---\nname: isosmoke\n---\n{agent_rules.BEGIN}\nold\n{agent_rules.END}\nmine\n"
    )
    assert ".agents/skills/isosmoke/SKILL.md: skill updated" in set_up(tmp_path)
    text = path.read_text()
    assert text.startswith("---\nname: isosmoke\n---\n")
    assert text.endswith(f"{agent_rules.read_rules()}{agent_rules.END}\nmine\n")


def test_skill_that_leads_out_of_the_project_is_refused(tmp_path: Path) -> None:
    """A link in a repository cannot make `init` write elsewhere."""
    project, outside = tmp_path / "project", tmp_path / "outside"
    project.mkdir()
    outside.mkdir()
    (project / ".agents").symlink_to(outside)

    with pytest.raises(UsageError):
        set_up(project)

    assert not [*outside.iterdir()]
