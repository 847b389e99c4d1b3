"""Mirror manifests for wg."""

import tomllib
from pathlib import Path

import pytest

from isosmoke.errors import ManifestError, UsageError
from isosmoke.manifest import loader
from isosmoke.manifest.mirrors import mirror_text
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.wg_bridge import mirror_manifest


def create_manifest(*scenarios: Scenario) -> Manifest:
    """Return a manifest of these scenarios."""
    return Manifest(path=Path("/a place/manifest.toml"), scenarios=scenarios)


EDITS = {
    "an owner": ('owners = ["a"]', 'owners = ["b"]'),
    "a shim": ("bridge.sh", "other.sh"),
    "a scenario fewer": ("[[scenario]]", "[[other]]"),
    "a comment": ("# Written", "# Edited\n# Written"),
    "a source": ("/manifest.toml", "/gone.toml"),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return the path of a manifest on disk."""
    (tmp_path / "one.sh").write_text("exit 0\n")
    path = tmp_path / "manifest.toml"
    path.write_text('[[scenario]]\nname = "one"\nscript = "one.sh"\nowners = ["a"]\n')
    return path


def test_mirror_has_what_wg_reads() -> None:
    """Names and owners are the same, in the same order, and every script is the shim."""
    first = Scenario(name="one", script="x.sh", owners=("a", 'b "c" \\ \x7f ä'))
    second = Scenario(name="two", script="y.sh")

    mirror = tomllib.loads(mirror_text.render(create_manifest(first, second), "shim.sh"))

    assert [entry["name"] for entry in mirror["scenario"]] == ["one", "two"]
    assert [entry["owners"] for entry in mirror["scenario"]] == [list(first.owners), []]
    assert {entry["script"] for entry in mirror["scenario"]} == {"shim.sh"}
    assert mirror["bridge"] == {"source": "/a place/manifest.toml"}


def test_deadline_bounds_a_whole_run() -> None:
    """Each deadline exceeds the time of all scenarios in sequence, each retried and repeated."""
    slow = Scenario(name="slow", script="x.sh", timeout_seconds=600, retries=2)
    quick = Scenario(name="quick", script="y.sh", timeout_seconds=5)

    mirror = tomllib.loads(mirror_text.render(create_manifest(slow, quick), "shim.sh"))

    deadlines = {entry["timeout_seconds"] for entry in mirror["scenario"]}
    assert deadlines == {mirror_text.compute_max_run_seconds((slow, quick))}
    assert min(deadlines) > 4 * 600 + 2 * 5


def test_loading_a_mirror_returns_its_source(source: Path, tmp_path: Path) -> None:
    """A reader of a mirror never sees the shims."""
    written = tmp_path / "elsewhere" / "bridge.toml"
    mirror_manifest.write_mirror(loader.load(source), written, tmp_path)

    assert loader.load(written) == loader.load(source)
    assert loader.load(written).path == source


def test_mirror_of_a_mirror_has_the_same_source(source: Path, tmp_path: Path) -> None:
    """Mirroring the mirror in `WG_SMOKE_MANIFEST` adds no indirection."""
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    mirror_manifest.write_mirror(loader.load(source), first, tmp_path)
    mirror_manifest.write_mirror(loader.load(first), second, tmp_path)

    assert loader.load(second).path == source


def test_changed_source_is_an_error(source: Path, tmp_path: Path) -> None:
    """The hint is the command that updates the mirror."""
    written = tmp_path / "bridge.toml"
    mirror_manifest.write_mirror(loader.load(source), written, tmp_path)
    source.write_text(source.read_text().replace('"a"', '"a", "b"'))

    with pytest.raises(ManifestError, match="no longer mirrors") as raised:
        loader.load(written)
    assert raised.value.hint.startswith("isosmoke bridge --manifest ")


@pytest.mark.parametrize(("old", "new"), EDITS.values(), ids=EDITS)
def test_edited_mirror_is_not_followed(source: Path, tmp_path: Path, old: str, new: str) -> None:
    """A mirror that differs in any way from the one that `bridge` would write is an error."""
    written = tmp_path / "bridge.toml"
    mirror_manifest.write_mirror(loader.load(source), written, tmp_path)
    assert old in written.read_text()
    written.write_text(written.read_text().replace(old, new))

    with pytest.raises(ManifestError):
        loader.load(written)


def test_foreign_files_are_not_replaced(source: Path, tmp_path: Path) -> None:
    """A manifest or a script not written by isosmoke is unchanged."""
    loaded, script = loader.load(source), tmp_path / "bridge.sh"
    script.write_text("echo mine\n")
    before = source.read_text()

    for output in (source, tmp_path / "bridge.toml"):
        with pytest.raises(UsageError, match="not a mirror"):
            mirror_manifest.write_mirror(loaded, output, tmp_path)

    assert source.read_text() == before
    assert script.read_text() == "echo mine\n"
