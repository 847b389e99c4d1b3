"""A root filesystem arrives as it is: owners, modes, links, attributes, holes and special files."""

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from isosmoke.cluster.content import exact_trees, tree_files, trees
from isosmoke.cluster.content.trees import Catalog, TreeEntry, TreeError
from isosmoke.errors import IsosmokeError

HOLE = 8 << 20


def send(root: Path, target: Path) -> Path:
    """Create the root filesystem again from its listing and its blobs alone."""
    catalog = Catalog()
    digest = catalog.add(root, tuple(exact_trees.describe(root, ("dev",))))
    listing = trees.decode(bytes(catalog.blobs[digest]))

    def find_blob(digest: str) -> Path:
        blob = catalog.blobs[digest]
        assert isinstance(blob, Path)
        return blob

    tree_files.create(listing, target, find_blob)
    assert tree_files.is_intact(listing, target)
    return target


def describe(root: Path) -> dict[str, tuple[object, ...]]:
    """Return what a program can see of each path: type, mode, owner, time, links and attributes."""
    found: dict[str, tuple[object, ...]] = {}
    for parent, directories, names in os.walk(root):
        for path in (Path(parent), *(Path(parent, name) for name in (*directories, *names))):
            status = path.lstat()
            content = path.readlink() if path.is_symlink() else None
            attributes = {
                name: os.getxattr(path, name, follow_symlinks=False)
                for name in os.listxattr(path, follow_symlinks=False)
                if name.startswith("user.")
            }
            is_file = stat.S_ISREG(status.st_mode)
            found[str(path.relative_to(root))] = (
                *(status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns),
                *(content, attributes, path.read_bytes() if is_file else None),
                None if stat.S_ISDIR(status.st_mode) else status.st_nlink,
            )
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root filesystem with one of everything that can be created here."""
    top = tmp_path / "root"
    create_links(top)
    create_properties(top)
    create_special_files(top)
    os.utime(top / "etc/file", ns=(10**18, 10**18 + 7))
    (top / "etc/closed").chmod(0o500)
    return top


def create_links(top: Path) -> None:
    """Create files with several names, links, and a name that is no text."""
    (top / "etc/closed").mkdir(parents=True)
    (top / "etc/file").write_text("text")
    (top / "etc/again").hardlink_to(top / "etc/file")
    (top / "etc/link").symlink_to("file")
    os.link(top / "etc/link", top / "etc/same-link", follow_symlinks=False)
    (top / "etc/nowhere").symlink_to("/no/such")
    (top / os.fsdecode(b"etc/\xff")).write_bytes(b"\0")


def create_properties(top: Path) -> None:
    """Create files with special modes, and with attributes and other owners where possible."""
    (top / "etc/setuid").write_text("x")
    (top / "etc/setuid").chmod(0o4755)
    (top / "etc/secret").write_text("x")
    with suppress(OSError):  # a file system without attributes
        os.setxattr(top / "etc/secret", "user.origin", b"\0here")
        os.setxattr(top / "etc/closed", "user.origin", b"there")
    (top / "etc/secret").chmod(0o400)
    (top / "etc/sticky").mkdir()
    (top / "etc/sticky").chmod(0o1777)
    if os.getuid() == 0:
        os.chown(top / "etc/setuid", 1234, 5678)
        (top / "etc/setuid").chmod(0o6755)
        os.chown(top / "etc/nowhere", 1234, 5678, follow_symlinks=False)
        os.chown(top / "etc/sticky", 1234, 0)


def create_special_files(top: Path) -> None:
    """Create a file that is mostly a hole, a pipe and a socket."""
    with (top / "etc/holes").open("wb") as file:
        file.seek(HOLE)
        file.write(b"end")
        file.truncate(2 * HOLE)
    os.mkfifo(top / "etc/fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(top / "s"))


def test_root_arrives_as_it_is(root: Path, tmp_path: Path) -> None:
    """Everything that a program can see is the same, and a hole needs no space."""
    target = send(root, tmp_path / "target")

    assert describe(target) == describe(root)
    assert (target / "etc/file").samefile(target / "etc/again")
    assert (target / "etc/holes").stat().st_blocks * 512 < HOLE


def test_recreated_directories_are_empty(root: Path, tmp_path: Path) -> None:
    """A directory that no sandbox shows is sent without its content, such as devices."""
    (root / "dev").mkdir()
    (root / "dev/shown-nowhere").write_text("x")
    target = send(root, tmp_path / "target")

    assert list((target / "dev").iterdir()) == []


def test_owners_are_not_sent_on_request(root: Path) -> None:
    """Without owners, a worker that is not root can have the files of other users too."""
    owners = {(entry.uid, entry.gid) for entry in exact_trees.describe(root, owners=False)}

    assert owners == {(-1, -1)}


def test_device_is_refused(root: Path) -> None:
    """A device elsewhere cannot be sent, and the message names it."""
    if os.getuid() != 0:
        pytest.skip("only root can create a device")
    os.mknod(root / "etc/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with pytest.raises(IsosmokeError, match="etc/null is a device, which cannot be sent"):
        list(exact_trees.describe(root))


def test_changed_mode_is_no_intact_tree(root: Path, tmp_path: Path) -> None:
    """A tree whose file has another mode, or is no longer the same as another, is noticed."""
    target = send(root, tmp_path / "target")
    listing = tuple(exact_trees.describe(root))
    (target / "etc/setuid").chmod(0o755)
    assert not tree_files.is_intact(listing, target)
    (target / "etc/setuid").chmod((root / "etc/setuid").stat().st_mode)
    assert tree_files.is_intact(listing, target)
    (target / "etc/again").unlink()
    (target / "etc/again").write_text("text")
    assert not tree_files.is_intact(listing, target)


TOP = TreeEntry("", "directory", 0o755, 0, 0, "")
LINK = TreeEntry("out", "link", 0, 0, 0, "/etc")


@pytest.mark.parametrize(
    "entries",
    [
        [TreeEntry("../x", "fifo", 0o600, 0, 0, "")],
        [TreeEntry("/x", "fifo", 0o600, 0, 0, "")],
        [TreeEntry("a/x", "fifo", 0o600, 0, 0, "")],
        [TreeEntry("..", "directory", 0o700, 0, 0, "")],
        [LINK, TreeEntry("out/x", "fifo", 0o600, 0, 0, "")],
        [LINK, TreeEntry("out", "fifo", 0o600, 0, 0, "")],
        [TreeEntry("x", "hardlink", 0, 0, 0, "/etc/passwd")],
        [TreeEntry("x", "hardlink", 0, 0, 0, "../x")],
        [TreeEntry("x", "device", 0o600, 0, 0, "")],
        [TreeEntry("x", "file", 0o600, 0, 0, "../x")],
    ],
)
def test_listing_that_leads_out_is_refused(entries: list[TreeEntry]) -> None:
    """No entry is outside of the tree, or below a link of it."""
    with pytest.raises(TreeError):
        trees.decode(trees.encode([TOP, *entries]))
