"""A sandbox resolves names as its system does, and `localhost` in any case."""

from pathlib import Path, PurePosixPath

import pytest

from isosmoke.sandbox.added import name_lookup
from isosmoke.sandbox.spec import CopyOnWrite, Mount, ReadOnly

ETC = PurePosixPath("/etc")
HOSTS = ETC / "hosts"


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty directory in the place of the host's `/etc`."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "state"))
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc"


def find_hosts(mounts: tuple[Mount, ...]) -> str:
    """Return the content of `/etc/hosts` in a sandbox; empty without a mount for it."""
    found = [mount for mount in mounts if mount.target == HOSTS]
    if not found:
        return ""
    (mount,) = found
    assert isinstance(mount, ReadOnly)
    return mount.source.read_text()


def test_host_with_names_is_shown_as_it_is(etc: Path) -> None:
    """Nothing is mounted over the file of an ordinary host."""
    (etc / "hosts").write_text("127.0.0.1 localhost\n")
    given = (ReadOnly(etc, ETC), ReadOnly(Path("/usr"), PurePosixPath("/usr")))
    assert tuple(name_lookup.complete_host_mounts(given, etc)) == given


@pytest.mark.parametrize("text", ["", "\n# nothing\n"])
def test_file_without_names_is_replaced(etc: Path, text: str) -> None:
    """The file of an exported container is empty."""
    (etc / "hosts").write_text(text)
    mounts = tuple(name_lookup.complete_host_mounts((ReadOnly(etc, ETC),), etc))
    assert mounts[0] == ReadOnly(etc, ETC)
    assert "127.0.0.1\tlocalhost" in find_hosts(mounts)


@pytest.mark.parametrize("is_dangling", [True, False])
def test_missing_file_is_added_to_the_directory(etc: Path, *, is_dangling: bool) -> None:
    """A system from debootstrap has none; a read-only directory gets no new mount point."""
    if is_dangling:
        (etc / "hosts").symlink_to("nowhere")
    (mount,) = name_lookup.complete_host_mounts((ReadOnly(etc, ETC),), etc)
    assert isinstance(mount, CopyOnWrite)
    assert (mount.source, mount.target) == (etc, ETC)
    assert mount.above is not None
    assert [path.name for path in mount.above.iterdir()] == ["hosts"]
    assert mount.above.stat().st_mode & 0o777 == 0o755
    assert (mount.above / "hosts").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("network", "texts", "seen"),
    [
        ("host", ("10.0.0.1 shop", "10.0.0.2 other"), "10.0.0.1 shop"),
        ("host", ("", "10.0.0.2 other"), "127.0.0.1\tlocalhost"),
        ("host", (None, "10.0.0.2 other"), ""),
        ("host", (None, None), "127.0.0.1\tlocalhost"),
        ("isolated", ("10.0.0.1 shop", "10.0.0.2 other"), ""),
        ("isolated", ("10.0.0.1 shop", ""), "127.0.0.1\tlocalhost"),
        ("isolated", ("10.0.0.1 shop", None), "127.0.0.1\tlocalhost"),
    ],
)
def test_file_for_a_root_filesystem(
    etc: Path, network: str, texts: tuple[str | None, str | None], seen: str
) -> None:
    """On the host's network it is the host's file, the first one; an empty one is replaced."""
    (etc / "resolv.conf").write_text("nameserver 10.0.0.9\n")
    own = etc.parent / "hosts"
    for path, text in zip((etc / "hosts", own), texts, strict=True):
        if text is not None:
            path.write_text(text)
    mounts = tuple(name_lookup.list_rootfs_mounts(own if own.exists() else None, network, etc))
    content = find_hosts(mounts)
    assert content.startswith(seen) if seen else not content
    targets = {mount.target for mount in mounts}
    assert (ETC / "resolv.conf" in targets) == (network == "host")
