"""The directories of sandboxes on disk, which serve one sandbox after another."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.engines.bubblewrap import scratch
from isosmoke.engines.bubblewrap.scratch import ScratchPool
from isosmoke.sandbox.spec import CopyOnWrite, Fresh, SandboxSpec

HOME = PurePosixPath("/home/tester")


def test_each_copied_directory_has_its_own_layer(tmp_path: Path) -> None:
    """Each overlay has two directories on one file system, which are removed after the block."""
    directories = (tmp_path / "a", tmp_path / "b")
    spec = SandboxSpec(
        label="one",
        image="host",
        mounts=(*map(CopyOnWrite, directories), Fresh(PurePosixPath("/run"), 0o755)),
        uid=0,
        gid=0,
        network="host",
    )
    with scratch.layers(spec) as layers:
        layer_directories = [
            directory for layer in layers.values() for directory in (layer.upper, layer.work)
        ]

        assert set(layers) == {PurePosixPath(directory) for directory in directories}
        assert len(set(layer_directories)) == 4
        assert all(
            directory.is_dir() and not list(directory.iterdir()) for directory in layer_directories
        )
        assert len({directory.stat().st_dev for directory in layer_directories}) == 1

    assert not any(directory.exists() for directory in layer_directories)


def build_spec(directory: Path) -> SandboxSpec:
    """Return a sandbox with a copied directory and a fresh one on disk."""
    return SandboxSpec(
        label="one",
        image="host",
        mounts=(CopyOnWrite(directory), Fresh(HOME, 0o700, on_disk=True)),
        uid=1,
        gid=1,
        network="host",
    )


def test_only_directories_that_a_script_changed_are_replaced(tmp_path: Path) -> None:
    """The next sandbox has the same directories, in the state in which they were created."""
    pool, spec = ScratchPool(), build_spec(tmp_path)
    with pool.reusing():
        with pool.take(spec, layers_on_disk=True) as first:
            home, copy = first.layers[HOME].upper, first.layers[PurePosixPath(tmp_path)].upper
            (home / "mount-point").mkdir()
            first.seal()
            numbers = [path.stat().st_ino for path in (home, copy)]
            (copy / "file").touch()
            copy.chmod(0o777)
        with pool.take(spec, layers_on_disk=True) as second:
            assert second is first
            assert (home / "mount-point").is_dir()
            assert list(copy.iterdir()) == []
            assert copy.stat().st_mode & 0o777 == 0o755
            assert home.stat().st_ino == numbers[0]

    assert not home.exists()


CHANGES: Mapping[str, Callable[[Path], object]] = {
    "a file was added": lambda home: (home / "file").touch(),
    "a file was moved, and back": lambda home: (
        (home / "point").rename(home / "x").rename(home / "point")
    ),
    "a file has content": lambda home: (home / "point").write_text("x"),
    "a mode was changed": lambda home: (home / "point").chmod(0o600),
    "a mount point was removed": lambda home: (home / "point").unlink(),
    "a link was added": lambda home: (home.parent / "x").hardlink_to(home / "point"),
    "it has an attribute": lambda home: os.setxattr(home / "point", "user.name", b""),
    "it is gone": lambda home: home.rename(home.parent / "moved"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_is_found(tmp_path: Path, change: Callable[[Path], object]) -> None:
    """A directory is replaced if anything in it differs, including files without a name."""
    pool, spec = ScratchPool(), build_spec(tmp_path)
    with pool.reusing():
        with pool.take(spec, layers_on_disk=True) as first:
            home = first.layers[HOME].upper
            (home / "point").touch()
            first.seal()
            change(home)
        with pool.take(spec, layers_on_disk=True) as second:
            assert list(second.layers[HOME].upper.iterdir()) == []


def test_directories_of_a_sandbox_that_did_not_start_are_removed(tmp_path: Path) -> None:
    """Without the state before the script, nothing shows what was changed."""
    pool, spec = ScratchPool(), build_spec(tmp_path)
    with pool.reusing():
        with pool.take(spec, layers_on_disk=True) as scratch:
            pass
        assert not scratch.directory.exists()


def test_different_sandboxes_have_different_directories(tmp_path: Path) -> None:
    """Mount points of one sandbox are not visible in another one with other mounts."""
    pool, spec = ScratchPool(), build_spec(tmp_path)
    with pool.reusing():
        with pool.take(spec, layers_on_disk=True) as first:
            first.seal()
        other = replace(spec, mounts=spec.mounts[1:])
        with pool.take(other, layers_on_disk=True) as second:
            assert second.directory != first.directory


def test_outside_of_the_block_directories_are_removed(tmp_path: Path) -> None:
    """A single sandbox leaves nothing, and a run that is over neither."""
    pool, spec = ScratchPool(), build_spec(tmp_path)
    with pool.take(spec, layers_on_disk=True) as alone:
        alone.seal()
    assert not alone.directory.exists()

    with pool.reusing(), pool.take(spec, layers_on_disk=True) as last:
        last.seal()
    assert not last.directory.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root's sandboxes have their own devices")
def test_changed_devices_are_not_used_again(tmp_path: Path) -> None:
    """A script of root owns its device nodes and can change their modes."""
    pool, spec = ScratchPool(), replace(build_spec(tmp_path), uid=0, gid=0)
    with pool.reusing():
        with pool.take(spec, layers_on_disk=True) as first:
            first.seal()
            assert first.devices is not None
            (first.devices / "null").chmod(0o600)
        with pool.take(spec, layers_on_disk=True) as second:
            assert second.devices is not None
            assert (second.devices / "null").stat().st_mode & 0o777 == 0o666
