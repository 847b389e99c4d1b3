"""Every check of the public contract, on every engine that can be used here."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.engines.base import Engine, EngineInfo, Sandbox
from isosmoke.keeper.exchange import Channel
from isosmoke.results.outcome import Exited
from isosmoke.sandbox.spec import CopyOnWrite, Fresh, ReadOnly, SandboxSpec
from isosmoke.testing import CONTRACT, Bench, contract
from isosmoke.testing.bench import run
from isosmoke.testing.contract import Check
from support import available


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_engine_keeps_the_contract(name: str, check: Check, tmp_path: Path) -> None:
    """An engine passes each check."""
    check(available.require_engine(name), Bench(tmp_path))


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_engine_keeps_the_contract_for_an_ordinary_user(name: str) -> None:
    """The contract also holds for a user without privileges."""
    user = available.ordinary_user()
    user.require_engine(name)
    done = user.pytest(__file__, "-k", f"test_engine_keeps_the_contract and {name}")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


class _ModifyingEngine:
    """A correct engine that receives a modified specification."""

    def __init__(self, good: Engine, modify: Callable[[SandboxSpec], SandboxSpec]) -> None:
        self._good, self._modify = good, modify
        self.name = self.description = "modifying"
        self.is_local = good.is_local

    def preflight(self) -> None:
        self._good.preflight()

    def facts(self) -> EngineInfo:
        return self._good.facts()

    def image_digest(self, image: str) -> str:
        return self._good.image_digest(image)

    def sandbox(self, spec: SandboxSpec) -> AbstractContextManager[Sandbox]:
        return self._good.sandbox(self._modify(spec))

    def sweep(self) -> tuple[str, ...]:
        return ()


def _make_writable(spec: SandboxSpec) -> SandboxSpec:
    mounts = [
        CopyOnWrite(mount.source)
        if isinstance(mount, ReadOnly) and mount.source.name == "fixed"
        else mount
        for mount in spec.mounts
    ]
    return replace(spec, mounts=tuple(mounts))


def _mount_live(spec: SandboxSpec) -> SandboxSpec:
    mounts = [
        ReadOnly(mount.source, mount.target) if isinstance(mount, CopyOnWrite) else mount
        for mount in spec.mounts
    ]
    return replace(spec, mounts=tuple(mounts))


def _mount_parent(spec: SandboxSpec) -> SandboxSpec:
    directory = next(mount.source.parent for mount in spec.mounts if isinstance(mount, CopyOnWrite))
    return replace(spec, mounts=(*spec.mounts, CopyOnWrite(directory)))


def _remove_fresh(spec: SandboxSpec) -> SandboxSpec:
    others = [mount for mount in spec.mounts if not isinstance(mount, Fresh)]
    return replace(spec, mounts=tuple(others))


def _remove_above(spec: SandboxSpec) -> SandboxSpec:
    mounts = [
        replace(mount, above=None) if isinstance(mount, CopyOnWrite) else mount
        for mount in spec.mounts
    ]
    return replace(spec, mounts=tuple(mounts))


VIOLATIONS: dict[Check, Callable[[SandboxSpec], SandboxSpec]] = {
    contract.a_read_only_mount_cannot_be_written: _make_writable,
    contract.a_socket_in_the_workspace_cannot_be_reached: _mount_live,
    contract.copy_on_write_does_not_change_the_host: _mount_live,
    contract.a_file_outside_the_specification_is_invisible: _mount_parent,
    contract.an_isolated_network_reaches_nothing: lambda spec: replace(spec, network="host"),
    contract.the_host_network_is_the_hosts: lambda spec: replace(spec, network="isolated"),
    contract.each_sandbox_is_fresh: _remove_fresh,
    contract.a_layer_above_covers_its_source: _remove_above,
}


@pytest.mark.parametrize("check", VIOLATIONS, ids=lambda check: check.__name__)
def test_check_fails_on_a_violating_engine(check: Check, tmp_path: Path) -> None:
    """A check fails with a message on an engine that violates it."""
    engine = _ModifyingEngine(available.require_engine("bubblewrap"), VIOLATIONS[check])
    with pytest.raises(AssertionError, match=r"\w+ \w+"):
        check(engine, Bench(tmp_path))


class _WrongChangesEngine:
    """A correct engine whose sandboxes report an empty directory of changes."""

    name = description = "wrong-changes"
    is_local = False

    def __init__(self, good: Engine, empty: Path) -> None:
        self._good, self._empty = good, empty

    def preflight(self) -> None:
        self._good.preflight()

    def facts(self) -> EngineInfo:
        return self._good.facts()

    def image_digest(self, image: str) -> str:
        return self._good.image_digest(image)

    @contextmanager
    def sandbox(self, spec: SandboxSpec) -> Iterator[Sandbox]:
        with self._good.sandbox(spec) as sandbox:
            changes = {mount.target: self._empty for mount in spec.mounts}
            yield _WrongChangesSandbox(sandbox.channel, changes)

    def sweep(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class _WrongChangesSandbox:
    channel: Channel
    changes: Mapping[PurePosixPath, Path]

    def peaks(self) -> Mapping[str, int]:
        return {}

    def find_reached_limits(self) -> frozenset[str]:
        return frozenset()


def test_check_fails_on_a_wrong_directory_of_changes(tmp_path: Path) -> None:
    """An engine that reports the wrong directory of changes fails the check."""
    empty = tmp_path / "empty"
    empty.mkdir()
    engine = _WrongChangesEngine(available.require_engine("bubblewrap"), empty)
    with pytest.raises(AssertionError, match="a file written in"):
        contract.changes_of_a_script_are_found(engine, Bench(tmp_path))


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_changes_on_disk_are_reported(name: str, tmp_path: Path) -> None:
    """Each engine reports a directory for every copy and for every fresh directory on disk."""
    spec = Bench(tmp_path).shell("true").spec
    expected = {
        mount.target
        for mount in spec.mounts
        if isinstance(mount, CopyOnWrite) or (isinstance(mount, Fresh) and mount.on_disk)
    }
    engine = available.require_engine(name)
    if "in memory" in engine.description:
        available.skip_engine(name, "no overlay on disk here")
    with engine.sandbox(spec) as sandbox:
        assert set(sandbox.changes) == expected


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_copies_replace_the_files_of_the_host(name: str, tmp_path: Path) -> None:
    """Files and links of `copies` are in front of those of the host, and are as writable."""
    bench, copies = Bench(tmp_path), tmp_path / "copies"
    for top, text in ((bench.workspace, "live"), (copies, "copy")):
        (top / "inner").mkdir(parents=True)
        (top / "inner/file").write_text(f"{text}\n")
        (top / "inner/link").symlink_to(f"{text}.txt")
    (bench.workspace / "inner/other").write_text("other\n")
    line = "cat inner/file inner/other && readlink inner/link && rm -r inner && ! test -e inner"
    job = bench.shell(line)
    mounts = tuple(
        replace(mount, copies=copies) if isinstance(mount, CopyOnWrite) else mount
        for mount in job.spec.mounts
    )

    result = run(
        available.require_engine(name), replace(job, spec=replace(job.spec, mounts=mounts))
    )

    assert (result.ending, result.output) == (Exited(0), b"copy\nother\ncopy.txt\n")
    assert (copies / "inner/file").read_text() == "copy\n"
    assert (bench.workspace / "inner/file").read_text() == "live\n"
