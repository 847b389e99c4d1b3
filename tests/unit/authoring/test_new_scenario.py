"""New scenarios in small manifests and in the manifest of wg."""

import json
import os
import stat
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from isosmoke.authoring import new_scenario
from isosmoke.authoring.new_scenario import add, draft_scenario
from isosmoke.errors import IsosmokeError, ManifestError, UsageError
from isosmoke.manifest import loader, parser
from isosmoke.manifest.discovery import WG_MANIFEST
from isosmoke.manifest.key_meaning import list_sandbox_keys
from isosmoke.manifest.models import Scenario
from support.fixture_types import Ordinary

HEADER = "# A header.\n\n"
ENTRY = '[[scenario]]   # odd layout\nname="one"\nscript = "one.sh"\naliases = ["zero"]\n'

ADDED = """[[scenario]]
name = "new"
script = "scenarios/new.sh"
owners = ["task"]
assertion = "It holds."
"""


def create_draft(name: str = "new", **keys: object) -> Scenario:
    """Create a scenario as `isosmoke new` does."""
    return draft_scenario(name, **{"owners": ("task",), "assertion": "It holds.", **keys})  # type: ignore[arg-type] # the tests pass invalid keys too


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Create a directory with a manifest of one scenario."""
    (tmp_path / "manifest.toml").write_text(HEADER + ENTRY)
    (tmp_path / "one.sh").write_text("wg one")
    return tmp_path


def read_tree(directory: Path) -> Mapping[str, bytes]:
    """Return the content of all files below `directory`, and directories as empty files."""
    paths = (path for path in directory.rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in paths}


def test_entry_is_appended(directory: Path) -> None:
    """The manifest keeps its bytes, followed by an empty line and the new entry."""
    add(directory / "manifest.toml", create_draft())

    assert (directory / "manifest.toml").read_text() == f"{HEADER}{ENTRY}\n{ADDED}"


def test_new_script_is_executable_and_fails(directory: Path) -> None:
    """A script that is not written yet fails and says so."""
    script = add(directory / "manifest.toml", create_draft())

    assert stat.S_IMODE(script.stat().st_mode) == 0o755
    done = subprocess.run([script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "new is not written yet" in done.stderr


def test_extended_manifest_is_valid(directory: Path) -> None:
    """The new scenario is the last one and has the given values."""
    add(
        directory / "manifest.toml",
        create_draft(owners=("a", "b"), timeout_seconds=7, script="s/x.sh"),
    )

    existing, new = loader.load(directory / "manifest.toml").scenarios
    assert existing.name == "one"
    assert (new.name, new.owners, new.assertion) == ("new", ("a", "b"), "It holds.")
    assert (new.timeout_seconds, new.script) == (7, "s/x.sh")


@pytest.mark.parametrize(
    "text",
    ['It "works" \\ here.', "Ünï 🎉", "a\x7fb", "#{[']}", "\\u0041 $(rm) `x` %s {name}"],
)
def test_any_text_is_preserved(directory: Path, text: str) -> None:
    """Any assertion and owner is preserved in the manifest and in the script."""
    script = add(directory / "manifest.toml", create_draft(assertion=text, owners=(text,)))

    new = loader.load(directory / "manifest.toml").scenarios[-1]
    assert (new.assertion, new.owners) == (text, (text,))
    assert f"# Protects: {text}\n" in script.read_text()


def test_assertion_is_one_line(directory: Path) -> None:
    """An assertion of several lines does not become a command of the script."""
    script = add(directory / "manifest.toml", create_draft(assertion="It\nrm -rf /\r\nholds."))

    assert "# Protects: It rm -rf / holds.\n" in script.read_text()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ADDED),
        ("# Text.\n", f"# Text.\n\n{ADDED}"),
        (ENTRY.rstrip("\n"), f"{ENTRY}\n{ADDED}"),
        (f"{ENTRY}\n\n", f"{ENTRY}\n\n\n{ADDED}"),
        (f"{ENTRY}[gate]\nmax_skips = 1\n", f"{ENTRY}[gate]\nmax_skips = 1\n\n{ADDED}"),
        (
            f"{ENTRY}[scenario.limits]\nprocesses = 9\n",
            f"{ENTRY}[scenario.limits]\nprocesses = 9\n\n{ADDED}",
        ),
        (ENTRY.replace("\n", "\r\n"), f"{ENTRY}\n{ADDED}".replace("\n", "\r\n")),
        (f"\ufeff{ENTRY}", f"\ufeff{ENTRY}\n{ADDED}"),
    ],
)
def test_layout_is_kept(old: str, new: str) -> None:
    """Comments, line endings, a byte order mark and tables at the end are kept."""
    path = Path("manifest.toml")

    assert new_scenario.append_entry(old.encode(), create_draft(), path) == new.encode()


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("-new", {}, "name: must consist of letters"),
        ("../new", {}, "name: must consist of letters"),
        ("", {}, "name: must consist of letters"),
        ("a b", {}, "name: must consist of letters"),
        ("new", {"assertion": " \n"}, "assertion: must not be blank"),
        ("new", {"owners": (" ",)}, "owners: must not be blank"),
        ("new", {"timeout_seconds": 0}, "timeout_seconds: "),
        ("new", {"script": "/etc/new.sh"}, "is not below"),
        ("new", {"script": "a/../../new.sh"}, "is not below"),
        ("new", {"script": ""}, "script: must not be blank"),
    ],
)
def test_invalid_draft_is_refused(name: str, keys: Mapping[str, object], message: str) -> None:
    """An invalid scenario is refused before anything is written."""
    with pytest.raises(UsageError, match=message):
        create_draft(name, **keys)


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        (create_draft("one"), "scenario 'one' already exists"),
        (create_draft("zero"), "scenario 'zero' already exists"),
        (create_draft(script="one.sh"), r"one\.sh already exists"),
        (create_draft(script="one.sh/new.sh"), "one"),
    ],
)
def test_existing_name_or_script_is_refused(
    directory: Path, scenario: Scenario, message: str
) -> None:
    """An existing name, alias or script is refused, and nothing changes."""
    before = read_tree(directory)

    with pytest.raises(IsosmokeError, match=message):
        add(directory / "manifest.toml", scenario)

    assert read_tree(directory) == before


@pytest.mark.parametrize(
    "text",
    [
        ENTRY + ENTRY,
        ENTRY + "[[scenario",
        "scenario = []\n",
        "[scenario]\nname = 'x'\n",
        'scenario = [{ name = "one", script = "one.sh" }]\n',
        ENTRY + "unknown = 1\n",
    ],
)
def test_manifest_that_cannot_be_extended_is_unchanged(directory: Path, text: str) -> None:
    """If the manifest is or would be invalid, it is unchanged and no script is created."""
    (directory / "manifest.toml").write_text(text)
    before = read_tree(directory)

    with pytest.raises(ManifestError, match=r"manifest\.toml"):
        add(directory / "manifest.toml", create_draft())

    assert read_tree(directory) == before


def test_manifest_that_is_not_utf8_is_an_error(directory: Path) -> None:
    """A manifest that is not UTF-8 is an error."""
    (directory / "manifest.toml").write_bytes(b"# \xff\n")

    with pytest.raises(ManifestError, match="UTF-8"):
        add(directory / "manifest.toml", create_draft())


def test_missing_manifest_is_an_error(tmp_path: Path) -> None:
    """Nothing is created if the manifest does not exist."""
    with pytest.raises(IsosmokeError, match=r"manifest\.toml: no such file"):
        add(tmp_path / "manifest.toml", create_draft())

    assert read_tree(tmp_path) == {}


def test_script_is_removed_if_manifest_cannot_be_written(
    directory: Path, ordinary: Ordinary
) -> None:
    """If the manifest cannot be written, the script and its new directories are removed."""
    (directory / "open").mkdir()
    directory.chmod(0o555)
    before = read_tree(directory)

    output = ordinary(_ADD_SCRIPT, directory / "manifest.toml", "open/a/b/new.sh")

    assert "permission denied" in output
    assert read_tree(directory) == before


_ADD_SCRIPT = """
import sys
from pathlib import Path
from isosmoke.authoring.new_scenario import add
from isosmoke.errors import IsosmokeError
from isosmoke.manifest.models import Scenario
try:
    add(Path(sys.argv[1]), Scenario.validate({"name": "new", "script": sys.argv[2]}))
except IsosmokeError as error:
    print(error)
"""


def test_failed_write_leaves_no_files(directory: Path) -> None:
    """A failed replacement leaves no temporary file."""
    (directory / "taken").mkdir()
    before = read_tree(directory)

    with pytest.raises(OSError, match="taken"):
        new_scenario.replace(directory / "taken", b"new")

    assert read_tree(directory) == before


def test_link_and_mode_are_kept(directory: Path) -> None:
    """The target of a symbolic link is written, and its mode is kept."""
    (directory / "real").mkdir()
    real = (directory / "manifest.toml").rename(directory / "real/manifest.toml")
    real.chmod(0o640)
    (directory / "manifest.toml").symlink_to(real)

    add(directory / "manifest.toml", create_draft())

    assert (directory / "manifest.toml").is_symlink()
    assert real.read_text().endswith(ADDED)
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_concurrent_additions_are_all_kept(directory: Path) -> None:
    """All scenarios that are added concurrently are in the manifest."""
    names = [f"new_{number}" for number in range(12)]
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        list(pool.map(lambda name: add(directory / "manifest.toml", create_draft(name)), names))

    scenarios = loader.load(directory / "manifest.toml").scenarios
    assert {scenario.name for scenario in scenarios} == {"one", *names}


def test_manifest_of_wg_is_extended(tmp_path: Path) -> None:
    """The manifest of wg keeps its bytes and scenarios."""
    source = os.environ.get("ISOSMOKE_WG_SOURCE")
    if not source:
        pytest.skip("set ISOSMOKE_WG_SOURCE to a checkout of wg to extend its manifest")
    path = tmp_path / "manifest.toml"
    before = (Path(source) / WG_MANIFEST).read_bytes()
    path.write_bytes(before)
    known = parser.parse(before.decode(), path).scenarios

    add(path, create_draft())

    assert path.read_bytes() == before + f"\n{ADDED}".encode()
    assert parser.parse(path.read_text(), path).scenarios[:-1] == known


def test_simple_toml_values_are_json() -> None:
    """An entry of strings, numbers and lists is valid JSON as well."""
    lines = new_scenario.render_entry(create_draft(timeout_seconds=5)).splitlines()[1:]

    assert [json.loads(line.partition(" = ")[2]) for line in lines] == [
        "new",
        "scenarios/new.sh",
        ["task"],
        "It holds.",
        5,
    ]


RICH = {
    "timeout_seconds": 7,
    "image": "debian",
    "requires": {"commands": ["tmux"], "endpoints": ["http://127.0.0.1:9"]},
    "services": [
        {"name": "db", "image": "a", "env": {"A": "$"}, "ports": [5], "wait": {"port": 5}}
    ],
    "locks": ["one"],
    "weight": 2,
    "env": {"A": 'x "y"'},
    "pass_env": ["B"],
    "pass_files": ["~/x"],
    "plain_env": ["C"],
    "plain_files": ["~/y"],
    "settle_seconds": 3.5,
    "grace_seconds": 1,
    "limits": {"open_files": 77, "memory": 1024},
    "capabilities": ["IPC_LOCK"],
    "cache": ["cargo"],
    "new_namespaces": True,
}
"""Each key that affects the sandbox except `network`, with a value other than the default."""


def save(directory: Path, scenario: Scenario) -> Scenario:
    """Add a scenario with the sandbox settings of `scenario` and return it as loaded."""
    keys: dict[str, Any] = new_scenario.select_sandbox_settings(scenario)
    add(directory / "manifest.toml", create_draft(**keys))
    return loader.load(directory / "manifest.toml").scenarios[-1]


def test_cases_cover_every_sandbox_key() -> None:
    """Each key that affects the sandbox is in `RICH`."""
    assert RICH.keys() | {"network"} == set(list_sandbox_keys(Scenario))


@pytest.mark.parametrize("keys", [RICH, {"network": "isolated", "capabilities": ["NET_ADMIN"]}, {}])
@pytest.mark.parametrize(
    "defaults",
    [
        "",
        'image = "fedora"\nlocks = ["z"]\ntimeout_seconds = 9\nlimits = { output = 5 }',
        'limits = { open_files = 77 }\nservices = [{ name = "x", image = "y" }]\ngrace_seconds = 5',
    ],
)
def test_sandbox_settings_are_preserved_with_any_defaults(
    directory: Path, keys: Mapping[str, object], defaults: str
) -> None:
    """A saved scenario has the sandbox of its source, not of the defaults."""
    path = directory / "manifest.toml"
    path.write_text(f"[defaults]\n{defaults}\n{ENTRY}")
    if keys != RICH and "open_files" in defaults:
        keys = {**keys, "limits": {"open_files": 77}}  # An entry cannot remove a default limit.
    scenario = Scenario.validate({"name": "x", "script": "x", **keys})

    assert new_scenario.select_sandbox_settings(
        save(directory, scenario)
    ) == new_scenario.select_sandbox_settings(scenario)


def test_default_values_are_not_written(directory: Path) -> None:
    """An entry and its services have no redundant keys."""
    service = {"name": "db", "image": "a"}
    keys = {"limits": {"open_files": 77}, "services": [service], "timeout_seconds": 180}
    save(directory, Scenario.validate({"name": "x", "script": "x", **keys}))

    assert (directory / "manifest.toml").read_text() == (
        f"{HEADER}{ENTRY}\n{ADDED}"
        'services = [{ name = "db", image = "a" }]\nlimits = { open_files = 77 }\n'
    )


@pytest.mark.parametrize("defaults", ["limits = { memory = 9 }", 'env = { A = "1" }'])
def test_defaults_that_cannot_be_undone_are_refused(directory: Path, defaults: str) -> None:
    """A default limit or variable that an entry cannot remove is refused."""
    (directory / "manifest.toml").write_text(f"[defaults]\n{defaults}\n{ENTRY}")
    before = read_tree(directory)

    with pytest.raises(
        UsageError,
        match=rf"\[defaults\] conflicts with this scenario in {defaults.split(maxsplit=1)[0]}",
    ):
        save(directory, Scenario(name="x", script="x"))

    assert read_tree(directory) == before


def test_defaults_apply_to_unset_keys(directory: Path) -> None:
    """A new scenario without sandbox keys has the defaults of the manifest."""
    (directory / "manifest.toml").write_text(f"[defaults]\nlimits = {{ memory = 9 }}\n{ENTRY}")
    add(directory / "manifest.toml", create_draft())

    assert loader.load(directory / "manifest.toml").scenarios[-1].limits.memory == 9
