"""Named images: their content, import, replacement and removal."""

import threading
from pathlib import Path

import pytest

from isosmoke.errors import ImageError, UsageError
from isosmoke.host import state
from isosmoke.host.files import trees
from isosmoke.rootfs_images import image_kinds, importer
from support.fixture_types import Ordinary


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """Return a minimal system to import."""
    directory = tmp_path / "system"
    (directory / "usr/bin").mkdir(parents=True)
    (directory / "usr/bin/tool").write_text("one")
    return directory


def read_tool(image: str) -> str:
    """Return the content of the image's only program."""
    root = image_kinds.find_root(image, Path("/nowhere"))
    assert root
    return (root / "usr/bin/tool").read_text()


def list_digests() -> set[str]:
    """Return the digests of the stored root filesystems."""
    return {path.name for path in state.ensure_directory("rootfs").iterdir()}


def test_imported_image_is_found_by_its_name(system: Path) -> None:
    """Any name works, and later changes of the source directory have no effect."""
    for name in ("debian", "example.org/team/debian:12", "Ünïcode", ".."):
        image, changes = importer.add(system, name, replace=False)
        assert changes == ()
        assert image_kinds.digest(name, Path("/nowhere")) == image.digest
    (system / "usr/bin/tool").write_text("two")
    assert read_tool("debian") == "one"
    assert [listed.name for listed in image_kinds.list_images()] == sorted(
        ("debian", "example.org/team/debian:12", "Ünïcode", "..")
    )
    assert len(list_digests()) == 1


@pytest.mark.parametrize("name", ["host", "rootfs:x", "", " ", "x" * 81])
def test_reserved_or_invalid_name_is_refused(name: str, system: Path) -> None:
    """The host's name, the prefix of paths, and empty or long names are refused."""
    with pytest.raises(UsageError):
        importer.add(system, name, replace=False)


def test_identical_import_changes_nothing(system: Path) -> None:
    """Importing identical content under the same name does not require `replace`."""
    before, _ = importer.add(system, "one", replace=False)
    again, changes = importer.add(system, "one", replace=False)
    assert (again.digest, changes) == (before.digest, ())


def test_replacement_needs_permission_and_reports_changes(system: Path) -> None:
    """The differences are reported in both cases, and the old content is removed once replaced."""
    importer.add(system, "one", replace=False)
    (system / "usr/bin/tool").write_text("two")
    (system / "usr/more").touch()
    with pytest.raises(ImageError, match=r"\+1 -0 ~1: ~ usr/bin/tool, \+ usr/more") as caught:
        importer.add(system, "one", replace=False)
    assert "--replace" in caught.value.hint
    assert read_tool("one") == "one"
    image, changes = importer.add(system, "one", replace=True)
    assert changes == ("~ usr/bin/tool", "+ usr/more")
    assert read_tool("one") == "two"
    assert list_digests() == {image.digest}


def test_content_is_removed_with_its_last_name(system: Path) -> None:
    """Content with two names is removed with the second name."""
    image, _ = importer.add(system, "one", replace=False)
    importer.add(system, "two", replace=False)
    importer.remove("one")
    assert image_kinds.find_image("one") is None
    assert read_tool("two") == "one"
    importer.remove("two")
    assert not list_digests()
    with pytest.raises(ImageError, match="no imported image 'two'"):
        importer.remove("two")
    assert image.digest


def test_image_in_use_is_neither_removed_nor_replaced(system: Path) -> None:
    """An image is protected until the run that uses it ends."""
    importer.add(system, "one", replace=False)
    (system / "usr/bin/tool").write_text("two")
    with image_kinds.images_in_use(["host", "one", "not-here"]):
        for attempt in (
            lambda: importer.remove("one"),
            lambda: importer.add(system, "one", replace=True),
        ):
            with pytest.raises(ImageError, match="is in use by a run"):
                attempt()
        assert read_tool("one") == "one"
    importer.remove("one")


def test_image_with_lost_content_can_be_imported_or_removed(system: Path) -> None:
    """The missing content is reported, and both an import and a removal fix it."""
    image, _ = importer.add(system, "one", replace=False)
    trees.remove(image.folder)
    with pytest.raises(ImageError, match="no root filesystem"), image_kinds.images_in_use(["one"]):
        pass
    importer.add(system, "one", replace=False)
    assert read_tool("one") == "one"
    trees.remove(image.folder)
    importer.remove("one")
    assert image_kinds.list_images() == ()


def test_failed_import_leaves_nothing(tmp_path: Path) -> None:
    """A failed import leaves neither a name nor a partial directory."""
    (tmp_path / "bad.tar").write_bytes(b"\0" * 100)
    (tmp_path / "empty").mkdir()
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers/manifest.json").touch()
    for source, error in (
        (tmp_path / "bad.tar", "not a complete archive|no root filesystem"),
        (tmp_path / "empty", "no root filesystem"),
        (tmp_path / "layers", "docker save"),
        (tmp_path / "missing", "No such file"),
    ):
        with pytest.raises(ImageError, match=error):
            importer.add(source, "one", replace=False)
    assert image_kinds.list_images() == ()
    assert not any(state.ensure_directory("scratch").iterdir())


def test_concurrent_imports_are_complete(system: Path) -> None:
    """Each of several concurrent imports creates a complete image."""
    workers = [
        threading.Thread(target=importer.add, args=(system, f"n{number}"), kwargs={"replace": True})
        for number in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert {read_tool(f"n{number}") for number in range(4)} == {"one"}
    assert len(list_digests()) == 1


def test_damaged_record_is_named(system: Path) -> None:
    """The hint contains the path of the damaged record."""
    importer.add(system, "one", replace=False)
    image_kinds.get_record_path("one").write_text("{")
    with pytest.raises(ImageError, match="is damaged") as caught:
        image_kinds.find_image("one")
    assert str(image_kinds.get_record_path("one")) in caught.value.hint


UNREADABLE = """
import os, sys
from pathlib import Path
os.environ["ISOSMOKE_STATE"] = sys.argv[1]
from isosmoke.errors import ImageError
from isosmoke.rootfs_images import importer, image_kinds
(Path(sys.argv[1]) / "images").chmod(0)
for read in (image_kinds.list_images, lambda: image_kinds.find_image("one")):
    try:
        print(read())
    except (ImageError, OSError) as error:
        print(error)
"""


def test_unreadable_records_are_not_taken_for_none(ordinary: Ordinary, tmp_path: Path) -> None:
    """Otherwise the content of an image with two names would be removed with the first one."""
    (tmp_path / "images").mkdir(mode=0o700)
    (tmp_path / "images/one.json").write_text("{}")

    listed, found = ordinary(UNREADABLE, tmp_path).splitlines()

    assert "Permission denied" in listed
    assert found.startswith("cannot read ")
