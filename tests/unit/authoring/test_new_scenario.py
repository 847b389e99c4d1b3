"""New scenarios, in small manifests and in the largest one there is."""

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
from isosmoke.authoring.new_scenario import add, drafted
from isosmoke.errors import IsosmokeError, ManifestError, UsageError
from isosmoke.manifest import loader, parser
from isosmoke.manifest.discovery import WG_MANIFEST
from isosmoke.manifest.key_meaning import sandbox_keys
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


def draft(name: str = "new", **keys: object) -> Scenario:
    """A scenario as `isosmoke new` would ask for it."""
    return drafted(name, **{"owners": ("task",), "assertion": "It holds.", **keys})  # type: ignore[arg-type] # any key, to see what is refused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a manifest of one scenario."""
    (tmp_path / "manifest.toml").write_text(HEADER + ENTRY)
    (tmp_path / "one.sh").write_text("wg one")
    return tmp_path


def everything(folder: Path) -> Mapping[str, bytes]:
    """All files below `folder`, and folders as empty ones."""
    paths = (path for path in folder.rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in paths}


def test_the_entry_follows_what_was_there(folder: Path) -> None:
    """The manifest keeps each byte, and after an empty line has the keys that were given."""
    add(folder / "manifest.toml", draft())

    assert (folder / "manifest.toml").read_text() == f"{HEADER}{ENTRY}\n{ADDED}"


def test_the_script_can_be_run_and_fails(folder: Path) -> None:
    """A script that nobody has written yet never passes, and says so."""
    script = add(folder / "manifest.toml", draft())

    assert stat.S_IMODE(script.stat().st_mode) == 0o755
    done = subprocess.run([script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "new is not written yet" in done.stderr


def test_what_was_added_is_a_valid_manifest(folder: Path) -> None:
    """The new scenario is the last one, with what was asked for."""
    add(folder / "manifest.toml", draft(owners=("a", "b"), timeout_seconds=7, script="s/x.sh"))

    one, new = loader.load(folder / "manifest.toml").scenarios
    assert one.name == "one"
    assert (new.name, new.owners, new.assertion) == ("new", ("a", "b"), "It holds.")
    assert (new.timeout_seconds, new.script) == (7, "s/x.sh")


@pytest.mark.parametrize(
    "text",
    ['It "works" \\ here.', "Ünï 🎉", "a\x7fb", "#{[']}", "\\u0041 $(rm) `x` %s {name}"],
)
def test_any_words_come_back_as_they_were(folder: Path, text: str) -> None:
    """Whatever an assertion or an owner holds, the manifest and the script hold the same."""
    script = add(folder / "manifest.toml", draft(assertion=text, owners=(text,)))

    new = loader.load(folder / "manifest.toml").scenarios[-1]
    assert (new.assertion, new.owners) == (text, (text,))
    assert f"# Protects: {text}\n" in script.read_text()


def test_an_assertion_is_one_line(folder: Path) -> None:
    """An assertion of several lines does not become a command of the script."""
    script = add(folder / "manifest.toml", draft(assertion="It\nrm -rf /\r\nholds."))

    assert "# Protects: It rm -rf / holds.\n" in script.read_text()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ADDED),
        ("# Words.\n", f"# Words.\n\n{ADDED}"),
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
def test_any_layout_is_kept(old: str, new: str) -> None:
    """Comments, line endings, a byte order mark and tables at the end stay what they are."""
    path = Path("manifest.toml")

    assert new_scenario.grown(old.encode(), draft(), path) == new.encode()


@pytest.mark.parametrize(
    ("name", "keys", "words"),
    [
        ("-new", {}, "name: must be letters"),
        ("../new", {}, "name: must be letters"),
        ("", {}, "name: must be letters"),
        ("a b", {}, "name: must be letters"),
        ("new", {"assertion": " \n"}, "assertion: must not be blank"),
        ("new", {"owners": (" ",)}, "owners: must not be blank"),
        ("new", {"timeout_seconds": 0}, "timeout_seconds: "),
        ("new", {"script": "/etc/new.sh"}, "does not lie below"),
        ("new", {"script": "a/../../new.sh"}, "does not lie below"),
        ("new", {"script": ""}, "script: must not be blank"),
    ],
)
def test_a_bad_draft_is_refused(name: str, keys: Mapping[str, object], words: str) -> None:
    """What a manifest would refuse is refused before anything is written."""
    with pytest.raises(UsageError, match=words):
        draft(name, **keys)


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        (draft("one"), "scenario 'one' is there already"),
        (draft("zero"), "scenario 'zero' is there already"),
        (draft(script="one.sh"), r"one\.sh is there already"),
        (draft(script="one.sh/new.sh"), "one"),
    ],
)
def test_what_is_there_is_never_taken(folder: Path, scenario: Scenario, words: str) -> None:
    """A name, an old name or a script that is taken is refused, and nothing changes."""
    before = everything(folder)

    with pytest.raises(IsosmokeError, match=words):
        add(folder / "manifest.toml", scenario)

    assert everything(folder) == before


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
def test_a_manifest_that_cannot_grow_is_left_alone(folder: Path, text: str) -> None:
    """A manifest that is wrong, or would be, is told and keeps its bytes; no script is made."""
    (folder / "manifest.toml").write_text(text)
    before = everything(folder)

    with pytest.raises(ManifestError, match=r"manifest\.toml"):
        add(folder / "manifest.toml", draft())

    assert everything(folder) == before


def test_a_manifest_that_is_no_text_is_left_alone(folder: Path) -> None:
    """Bytes that are not UTF-8 are an error with the file in it."""
    (folder / "manifest.toml").write_bytes(b"# \xff\n")

    with pytest.raises(ManifestError, match="UTF-8"):
        add(folder / "manifest.toml", draft())


def test_a_manifest_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """Nothing is made for a manifest that is not there."""
    with pytest.raises(IsosmokeError, match=r"manifest\.toml: no such file"):
        add(tmp_path / "manifest.toml", draft())

    assert everything(tmp_path) == {}


def test_a_script_is_taken_back_if_the_manifest_cannot_be_written(
    folder: Path, ordinary: Ordinary
) -> None:
    """Of two files, none is left where one failed; new folders go too."""
    (folder / "open").mkdir()
    folder.chmod(0o555)
    before = everything(folder)

    words = ordinary(_ADD, folder / "manifest.toml", "open/a/b/new.sh")

    assert "permission denied" in words
    assert everything(folder) == before


_ADD = """
import sys
from pathlib import Path
from isosmoke.authoring.new_scenario import add, drafted
from isosmoke.errors import IsosmokeError
try:
    add(Path(sys.argv[1]), drafted("new", owners=("a",), assertion="b", script=sys.argv[2]))
except IsosmokeError as error:
    print(error)
"""


def test_a_write_that_fails_leaves_the_old_content(folder: Path) -> None:
    """Nothing is left beside a file that could not be replaced."""
    (folder / "taken").mkdir()
    before = everything(folder)

    with pytest.raises(OSError, match="taken"):
        new_scenario.replace(folder / "taken", b"new")

    assert everything(folder) == before


def test_a_link_and_a_mode_stay(folder: Path) -> None:
    """What a symbolic link leads to is written, with the mode that it had."""
    (folder / "real").mkdir()
    real = (folder / "manifest.toml").rename(folder / "real/manifest.toml")
    real.chmod(0o640)
    (folder / "manifest.toml").symlink_to(real)

    add(folder / "manifest.toml", draft())

    assert (folder / "manifest.toml").is_symlink()
    assert real.read_text().endswith(ADDED)
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_agents_that_add_at_once_lose_nothing(folder: Path) -> None:
    """Each of many scenarios that are added at the same time is there in the end."""
    names = [f"new_{number}" for number in range(12)]
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        list(pool.map(lambda name: add(folder / "manifest.toml", draft(name)), names))

    scenarios = loader.load(folder / "manifest.toml").scenarios
    assert {one.name for one in scenarios} == {"one", *names}


def test_wg_s_own_manifest_grows_by_an_entry_only(tmp_path: Path) -> None:
    """The largest manifest there is keeps every byte, and every scenario."""
    source = os.environ.get("ISOSMOKE_WG_SOURCE")
    if not source:
        pytest.skip("set ISOSMOKE_WG_SOURCE to a checkout of wg to let its manifest grow")
    path = tmp_path / "manifest.toml"
    before = (Path(source) / WG_MANIFEST).read_bytes()
    path.write_bytes(before)
    known = parser.parse(before.decode(), path).scenarios

    add(path, draft())

    assert path.read_bytes() == before + f"\n{ADDED}".encode()
    assert parser.parse(path.read_text(), path).scenarios[:-1] == known


def test_toml_values_are_json_values_too() -> None:
    """An entry has no more than strings, numbers and lists of strings, which both write alike."""
    lines = new_scenario.entry(draft(timeout_seconds=5)).splitlines()[1:]

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
    "env": {"A": 'x "y"'},
    "pass_env": ["B"],
    "pass_files": ["~/x"],
    "settle_seconds": 3.5,
    "grace_seconds": 1,
    "limits": {"open_files": 77, "memory": 1024},
    "capabilities": ["IPC_LOCK"],
    "new_namespaces": True,
}
"""Every key that makes a sandbox, not as usual; `network` excludes some of the others."""


def saved(folder: Path, scenario: Scenario) -> Scenario:
    """The scenario that is in the manifest once one with these surroundings was added."""
    keys: dict[str, Any] = new_scenario.surroundings(scenario)
    add(folder / "manifest.toml", draft(**keys))
    return loader.load(folder / "manifest.toml").scenarios[-1]


def test_cases_have_every_key_that_makes_a_sandbox() -> None:
    """A key that is added to the sandbox is tried here as well."""
    assert RICH.keys() | {"network"} == set(sandbox_keys(Scenario))


@pytest.mark.parametrize("keys", [RICH, {"network": "isolated", "capabilities": ["NET_ADMIN"]}, {}])
@pytest.mark.parametrize(
    "defaults",
    [
        "",
        'image = "fedora"\nlocks = ["z"]\ntimeout_seconds = 9\nlimits = { output = 5 }',
        'limits = { open_files = 77 }\nservices = [{ name = "x", image = "y" }]\ngrace_seconds = 5',
    ],
)
def test_surroundings_come_back_whatever_the_defaults(
    folder: Path, keys: Mapping[str, object], defaults: str
) -> None:
    """A saved scenario has the sandbox of the one that it was made from, not of the defaults."""
    path = folder / "manifest.toml"
    path.write_text(f"[defaults]\n{defaults}\n{ENTRY}")
    if keys != RICH and "open_files" in defaults:
        keys = {**keys, "limits": {"open_files": 77}}  # no entry can take that back
    scenario = Scenario.model_validate({"name": "x", "script": "x", **keys})

    assert new_scenario.surroundings(saved(folder, scenario)) == new_scenario.surroundings(scenario)


def test_what_is_as_usual_is_not_written(folder: Path) -> None:
    """An entry has no more keys than it needs, and a service no more either."""
    service = {"name": "db", "image": "a"}
    keys = {"limits": {"open_files": 77}, "services": [service], "timeout_seconds": 180}
    saved(folder, Scenario.model_validate({"name": "x", "script": "x", **keys}))

    assert (folder / "manifest.toml").read_text() == (
        f"{HEADER}{ENTRY}\n{ADDED}"
        'services = [{ name = "db", image = "a" }]\nlimits = { open_files = 77 }\n'
    )


@pytest.mark.parametrize("defaults", ["limits = { memory = 9 }", 'env = { A = "1" }'])
def test_what_no_entry_can_take_back_is_refused(folder: Path, defaults: str) -> None:
    """A limit or a variable of the defaults stays in force: the sandbox would be another one."""
    (folder / "manifest.toml").write_text(f"[defaults]\n{defaults}\n{ENTRY}")
    before = everything(folder)

    with pytest.raises(UsageError, match=rf"\[defaults\] sets {defaults.split(maxsplit=1)[0]}"):
        saved(folder, Scenario(name="x", script="x"))

    assert everything(folder) == before


def test_defaults_hold_for_what_was_not_asked_for(folder: Path) -> None:
    """A new scenario that says nothing of its sandbox has that of the manifest."""
    (folder / "manifest.toml").write_text(f"[defaults]\nlimits = {{ memory = 9 }}\n{ENTRY}")
    add(folder / "manifest.toml", draft())

    assert loader.load(folder / "manifest.toml").scenarios[-1].limits.memory == 9
