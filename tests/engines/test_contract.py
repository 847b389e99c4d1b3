"""Every check of the public contract, on every engine that can be used here."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.engines.base import Engine, Facts, Sandbox
from isosmoke.keeper.client import Channel
from isosmoke.sandbox.spec import CopyOnWrite, Fresh, ReadOnly, SandboxSpec
from isosmoke.testing import CONTRACT, Bench, contract
from isosmoke.testing.contract import Check
from support import available


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", available.NAMES)
def test_engine_keeps_the_contract(name: str, check: Check, tmp_path: Path) -> None:
    """An engine holds to each check."""
    check(available.engine(name), Bench(tmp_path))


@pytest.mark.parametrize("name", available.NAMES)
def test_engine_keeps_the_contract_for_an_ordinary_user(name: str) -> None:
    """What holds for root holds for somebody without any privilege."""
    user = available.somebody()
    user.must_have(name)
    done = user.pytest(__file__, "-k", f"test_engine_keeps_the_contract and {name}")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


class _SpoiltEngine:
    """A good engine that was misled about what to make."""

    def __init__(self, good: Engine, spoil: Callable[[SandboxSpec], SandboxSpec]) -> None:
        self._good, self._spoil = good, spoil
        self.name = self.description = "spoilt"

    def preflight(self) -> None:
        self._good.preflight()

    def facts(self) -> Facts:
        return self._good.facts()

    def image_digest(self, image: str) -> str:
        return self._good.image_digest(image)

    def sandbox(self, spec: SandboxSpec) -> AbstractContextManager[Sandbox]:
        return self._good.sandbox(self._spoil(spec))

    def sweep(self) -> tuple[str, ...]:
        return ()


def _writable(spec: SandboxSpec) -> SandboxSpec:
    mounts = [
        CopyOnWrite(one.source) if isinstance(one, ReadOnly) and one.source.name == "fixed" else one
        for one in spec.mounts
    ]
    return replace(spec, mounts=tuple(mounts))


def _live(spec: SandboxSpec) -> SandboxSpec:
    mounts = [
        ReadOnly(one.source, one.target) if isinstance(one, CopyOnWrite) else one
        for one in spec.mounts
    ]
    return replace(spec, mounts=tuple(mounts))


def _wide_open(spec: SandboxSpec) -> SandboxSpec:
    folder = next(one.source.parent for one in spec.mounts if isinstance(one, CopyOnWrite))
    return replace(spec, mounts=(*spec.mounts, CopyOnWrite(folder)))


def _without_home(spec: SandboxSpec) -> SandboxSpec:
    kept = [one for one in spec.mounts if not isinstance(one, Fresh)]
    return replace(spec, mounts=tuple(kept))


SPOILT: dict[Check, Callable[[SandboxSpec], SandboxSpec]] = {
    contract.a_read_only_mount_cannot_be_written: _writable,
    contract.a_socket_in_the_workspace_cannot_be_reached: _live,
    contract.copy_on_write_does_not_change_the_host: _live,
    contract.a_file_outside_the_specification_is_invisible: _wide_open,
    contract.an_isolated_network_reaches_nothing: lambda spec: replace(spec, network="host"),
    contract.the_host_network_is_the_hosts: lambda spec: replace(spec, network="isolated"),
    contract.each_sandbox_is_fresh: _without_home,
}


@pytest.mark.parametrize("check", SPOILT, ids=lambda check: check.__name__)
def test_contract_finds_what_is_wrong(check: Check, tmp_path: Path) -> None:
    """A check fails, in words, on an engine that breaks what it is about."""
    spoilt = _SpoiltEngine(available.engine("bubblewrap"), SPOILT[check])
    with pytest.raises(AssertionError, match=r"\w+ \w+"):
        check(spoilt, Bench(tmp_path))


class _Mislaying:
    """A good engine whose sandboxes name a folder that holds nothing."""

    name = description = "mislaying"

    def __init__(self, good: Engine, empty: Path) -> None:
        self._good, self._empty = good, empty

    def preflight(self) -> None:
        self._good.preflight()

    def facts(self) -> Facts:
        return self._good.facts()

    def image_digest(self, image: str) -> str:
        return self._good.image_digest(image)

    @contextmanager
    def sandbox(self, spec: SandboxSpec) -> Iterator[Sandbox]:
        with self._good.sandbox(spec) as sandbox:
            changes = {mount.target: self._empty for mount in spec.mounts}
            yield _Mislaid(sandbox.channel, changes)

    def sweep(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class _Mislaid:
    channel: Channel
    changes: Mapping[PurePosixPath, Path]

    def peaks(self) -> Mapping[str, int]:
        return {}


def test_contract_finds_that_changes_are_elsewhere(tmp_path: Path) -> None:
    """An engine that names the wrong folder for what a script wrote is found out."""
    empty = tmp_path / "empty"
    empty.mkdir()
    mislaying = _Mislaying(available.engine("bubblewrap"), empty)
    with pytest.raises(AssertionError, match="what was written in"):
        contract.what_a_script_writes_is_found(mislaying, Bench(tmp_path))


@pytest.mark.parametrize("name", available.NAMES)
def test_changes_are_on_disk_where_they_can_be(name: str, tmp_path: Path) -> None:
    """Each engine names a folder for every copy and every fresh folder that asks for the disk."""
    spec = Bench(tmp_path).shell("true").spec
    wanted = {
        one.target
        for one in spec.mounts
        if isinstance(one, CopyOnWrite) or (isinstance(one, Fresh) and one.on_disk)
    }
    engine = available.engine(name)
    if "in memory" in engine.description:
        available.cannot(name, "no overlay on disk here")
    with engine.sandbox(spec) as sandbox:
        assert set(sandbox.changes) == wanted
