"""Images that are kept by name: what they hold, how they come, change and go."""

import threading
from pathlib import Path

import pytest

from isosmoke.errors import ImageError, UsageError
from isosmoke.host import files, state
from isosmoke.rootfs_images import importer, store


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """The least that is a system, to be imported."""
    folder = tmp_path / "system"
    (folder / "usr/bin").mkdir(parents=True)
    (folder / "usr/bin/tool").write_text("one")
    return folder


def tool(image: str) -> str:
    """What the image holds in its only program."""
    found = store.root(image, Path("/nowhere"))
    assert found
    return (found / "usr/bin/tool").read_text()


def trees() -> set[str]:
    """The digests of what is kept."""
    return {one.name for one in state.kept("rootfs").iterdir()}


def test_imported_image_is_found_by_its_name(system: Path) -> None:
    """Whatever is in the name, and however the folder that it came from changes later."""
    for name in ("debian", "example.org/team/debian:12", "Ünïcode", ".."):
        image, changes = importer.add(system, name, replace=False)
        assert changes == ()
        assert store.digest(name, Path("/nowhere")) == image.digest
    (system / "usr/bin/tool").write_text("two")
    assert tool("debian") == "one"
    assert [one.name for one in store.kept()] == sorted(
        ("debian", "example.org/team/debian:12", "Ünïcode", "..")
    )
    assert len(trees()) == 1


@pytest.mark.parametrize("name", ["host", "rootfs:x", "", " ", "x" * 81])
def test_name_that_means_something_else_is_refused(name: str, system: Path) -> None:
    """The host's own system keeps its name, and a folder is named by its path."""
    with pytest.raises(UsageError):
        importer.add(system, name, replace=False)


def test_same_content_again_changes_nothing(system: Path) -> None:
    """It needs no leave to be replaced by itself."""
    before, _ = importer.add(system, "one", replace=False)
    again, changes = importer.add(system, "one", replace=False)
    assert (again.digest, changes) == (before.digest, ())


def test_other_content_needs_leave_and_is_told(system: Path) -> None:
    """What differs is said either way, and nothing of the old stays once it is replaced."""
    importer.add(system, "one", replace=False)
    (system / "usr/bin/tool").write_text("two")
    (system / "usr/more").touch()
    with pytest.raises(ImageError, match=r"\+1 -0 ~1: ~ usr/bin/tool, \+ usr/more") as caught:
        importer.add(system, "one", replace=False)
    assert "--replace" in caught.value.hint
    assert tool("one") == "one"
    image, changes = importer.add(system, "one", replace=True)
    assert changes == ("~ usr/bin/tool", "+ usr/more")
    assert tool("one") == "two"
    assert trees() == {image.digest}


def test_removed_image_is_gone_unless_another_name_has_it(system: Path) -> None:
    """What two names stand for goes with the second."""
    image, _ = importer.add(system, "one", replace=False)
    importer.add(system, "two", replace=False)
    importer.remove("one")
    assert store.named("one") is None
    assert tool("two") == "one"
    importer.remove("two")
    assert not trees()
    with pytest.raises(ImageError, match="no image 'two'"):
        importer.remove("two")
    assert image.digest


def test_image_in_use_is_neither_removed_nor_replaced(system: Path) -> None:
    """A run keeps what it uses until it ends."""
    importer.add(system, "one", replace=False)
    (system / "usr/bin/tool").write_text("two")
    with store.held(["host", "one", "not-here"]):
        for act in (
            lambda: importer.remove("one"),
            lambda: importer.add(system, "one", replace=True),
        ):
            with pytest.raises(ImageError, match="is used by a run"):
                act()
        assert tool("one") == "one"
    importer.remove("one")


def test_image_whose_content_was_lost_can_be_had_again(system: Path) -> None:
    """It is named as what is wrong, and both importing and removing mend it."""
    image, _ = importer.add(system, "one", replace=False)
    files.remove(image.folder)
    with pytest.raises(ImageError, match="no root filesystem"), store.held(["one"]):
        pass
    importer.add(system, "one", replace=False)
    assert tool("one") == "one"
    files.remove(image.folder)
    importer.remove("one")
    assert store.kept() == ()


def test_failed_import_leaves_nothing(tmp_path: Path) -> None:
    """Neither a name nor a part of what was unpacked."""
    (tmp_path / "bad.tar").write_bytes(b"\0" * 100)
    (tmp_path / "empty").mkdir()
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers/manifest.json").touch()
    for source, words in (
        (tmp_path / "bad.tar", "no whole archive|no root filesystem"),
        (tmp_path / "empty", "no root filesystem"),
        (tmp_path / "layers", "docker save"),
        (tmp_path / "missing", "No such file"),
    ):
        with pytest.raises(ImageError, match=words):
            importer.add(source, "one", replace=False)
    assert store.kept() == ()
    assert not any(state.kept("scratch").iterdir())


def test_imports_at_the_same_time_are_both_whole(system: Path) -> None:
    """Whichever is first, each name stands for a system."""
    workers = [
        threading.Thread(target=importer.add, args=(system, f"n{number}"), kwargs={"replace": True})
        for number in range(4)
    ]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert {tool(f"n{number}") for number in range(4)} == {"one"}
    assert len(trees()) == 1


def test_damaged_record_is_named(system: Path) -> None:
    """With the command that mends it."""
    importer.add(system, "one", replace=False)
    store.record("one").write_text("{")
    with pytest.raises(ImageError, match="is damaged") as caught:
        store.named("one")
    assert str(store.record("one")) in caught.value.hint
