"""A manifest that was valid before is loaded again without validation, and never a stale one."""

import os
from pathlib import Path

import pytest

from isosmoke.errors import ManifestError
from isosmoke.host.learned import store
from isosmoke.manifest import loader, parser, validated_cache
from isosmoke.manifest.models import Manifest
from support.paths import ROOT

TEXT = """\
[defaults]
image = "clean"
limits = { memory = "2G" }
[gate]
max_skips = 3
[record]
keep_days = 4
[[scenario]]
name = "one"
script = "one.sh"
owners = ["task "]
settle_seconds = 3
env = { table = "x", date = "y" }
leaks = { allow = [{ command = "a.*", reason = "b", until = 2031-02-03 }] }
services = [{ name = "db", image = "db", ports = [5432], wait = { port = 5432 } }]
[[scenario]]
name = "two"
script = "one.sh"
network = "isolated"
"""


@pytest.fixture(autouse=True)
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a manifest and its script; use a new state directory."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "state"))
    (tmp_path / "one.sh").touch()
    path = tmp_path / "manifest.toml"
    path.write_text(TEXT)
    return path


def plant(path: Path) -> Manifest:
    """Keep another manifest for the present content of `path`, which shows whether it is used."""
    other = parser.parse('[[scenario]]\nname = "planted"\nscript = "one.sh"', path)
    validated_cache.keep(other, path.read_bytes())
    return other


@pytest.mark.parametrize("path", ["manifest.toml", "tests/corpus/manifest.toml"])
def test_kept_manifest_is_equal(path: str) -> None:
    """The manifest that was kept is equal to the validated one, in each key of each table."""
    loaded = loader.load(ROOT / path)
    content = (ROOT / path).read_bytes()
    validated_cache.keep(loaded, content)

    assert validated_cache.find(ROOT / path, content) == loaded


def test_all_kinds_of_values_are_kept(manifest: Path) -> None:
    """Tables, lists, dates, numbers and variables named like marks are the same when found."""
    loaded = loader.load_again(manifest)

    found = validated_cache.find(manifest, manifest.read_bytes())
    assert found == loaded == loader.load(manifest)
    assert found is not None
    assert [scenario.script_path for scenario in found.scenarios] == [
        manifest.parent / "one.sh"
    ] * 2
    assert found.scenarios[0].to_json() == loaded.scenarios[0].to_json()


def test_kept_manifest_is_used_again(manifest: Path) -> None:
    """A command loads the kept manifest; the gate validates the file."""
    planted = plant(manifest)

    assert loader.load_again(manifest) == planted
    assert [scenario.name for scenario in loader.load(manifest).scenarios] == ["one", "two"]


def test_changed_content_is_validated(manifest: Path) -> None:
    """After a change of the file, what was kept is not used."""
    plant(manifest)
    status = manifest.stat()
    manifest.write_text(TEXT.replace('"two"', '"six"'))
    os.utime(manifest, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert [scenario.name for scenario in loader.load_again(manifest).scenarios] == ["one", "six"]


def test_other_code_validates_again(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another version of isosmoke or of its libraries, what was kept is not used."""
    plant(manifest)
    monkeypatch.setattr(validated_cache, "_identify_code", lambda: ["another version"])

    assert [scenario.name for scenario in loader.load_again(manifest).scenarios] == ["one", "two"]


def test_missing_script_is_an_error_again(manifest: Path) -> None:
    """A script that was removed is reported although the manifest is the same."""
    loader.load_again(manifest)
    (manifest.parent / "one.sh").unlink()

    with pytest.raises(ManifestError, match=r"manifest\.toml:10: scenario 'one'.*no such file"):
        loader.load_again(manifest)


def test_moved_manifest_has_scripts_in_its_new_directory(manifest: Path, tmp_path: Path) -> None:
    """The same content at another path has other scripts."""
    loader.load_again(manifest)
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "one.sh").touch()
    manifest.rename(moved / "manifest.toml")

    loaded = loader.load_again(moved / "manifest.toml")
    assert loaded.scenarios[0].script_path == moved / "one.sh"


def test_unknown_data_is_ignored(manifest: Path) -> None:
    """Data of another structure, with the right digest, is ignored."""
    content = manifest.read_bytes()
    basis = validated_cache._build_basis(content)  # noqa: SLF001 - to write what no version writes
    for tables in (1, {"tables": 1}, {"tables": {"scenarios": [{"table": "Other", "keys": {}}]}}):
        store.save("manifests", str(manifest), basis, tables)

        assert [scenario.name for scenario in loader.load_again(manifest).scenarios] == [
            "one",
            "two",
        ]
