"""The supply of sandboxes that are created ahead of need."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from threading import Barrier, Lock
from typing import cast

import pytest

from isosmoke.engines.base import AnticipatingEngine, Sandbox
from isosmoke.engines.sandboxes_ahead import SandboxSupply
from isosmoke.errors import EngineError, LeftBehindError
from isosmoke.sandbox.spec import ReadOnly, SandboxSpec
from isosmoke.testing import Bench
from isosmoke.testing.bench import run
from support.available import require_engine, wait_for

SPEC = SandboxSpec(label="one", image="host", mounts=(), uid=1, gid=1, network="host")
OTHER = replace(SPEC, label="other", network="isolated")


def labelled(*labels: str) -> list[SandboxSpec]:
    """Return sandboxes that differ only by their labels."""
    return [replace(SPEC, label=label) for label in labels]


@dataclass(slots=True)
class Workshop:
    """A place where sandboxes are created, each of which is only its label."""

    refuses: str = ""
    leaves: str = ""
    created: list[str] = field(default_factory=list)
    existing: list[str] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def create(self, spec: SandboxSpec) -> Iterator[Sandbox]:
        """Create a sandbox, and destroy it at the end of the block."""
        if spec.label == self.refuses:
            raise EngineError(f"no sandbox for {spec.label}")
        with self._lock:
            self.created.append(spec.label)
            self.existing.append(spec.label)
        try:
            yield cast("Sandbox", spec.label)
        finally:
            with self._lock:
                self.existing.remove(spec.label)
            if spec.label == self.leaves:
                raise LeftBehindError(f"{spec.label} remains")

    def supply(self) -> "SandboxSupply[Sandbox]":
        """Return a supply of its sandboxes."""
        return SandboxSupply(self.create)


@pytest.mark.parametrize("ahead", [0, 1])
def test_mask_whose_file_the_host_removes_stops_no_sandbox(tmp_path: Path, ahead: int) -> None:
    """A file that vanishes before or during the creation needs no mask any more."""
    files = [tmp_path / name for name in ("before", "during", "kept")]
    for file in files:
        file.touch()
    mounts = tuple(ReadOnly(Path("/"), PurePosixPath(file), is_mask=True) for file in files)
    spec = replace(SPEC, mounts=mounts)
    seen: list[set[str]] = []

    @contextmanager
    def create(spec: SandboxSpec) -> Iterator[Sandbox]:
        seen.append({mount.target.name for mount in spec.mounts})
        files[1].unlink(missing_ok=True)
        if not all(Path(mount.target).exists() for mount in spec.mounts):
            raise EngineError("no mount point")
        yield cast("Sandbox", "sandbox")

    files[0].unlink()
    supply = SandboxSupply(create)
    with supply.expecting([spec] * ahead, 1), supply.take(spec) as sandbox:
        assert cast("str", sandbox) == "sandbox"

    assert seen == [{"during", "kept"}, {"kept"}]


def test_without_expectations_a_sandbox_is_created_when_it_is_taken() -> None:
    """Nothing is created ahead, and a taken sandbox is destroyed."""
    workshop = Workshop()
    with workshop.supply().take(SPEC) as sandbox:
        assert cast("str", sandbox) == "one"
        assert workshop.existing == ["one"]

    assert workshop.created == ["one"]
    assert workshop.existing == []


def test_expected_sandboxes_are_created_ahead_up_to_the_limit() -> None:
    """Two exist before they are needed, and the next one follows as soon as one is taken."""
    workshop = Workshop()
    supply = workshop.supply()
    with supply.expecting(labelled("a", "b", "c"), 2):
        assert wait_for(lambda: sorted(workshop.created) == ["a", "b"])
        with supply.take(labelled("a")[0]) as sandbox:
            assert cast("str", sandbox) == "a"
            assert wait_for(lambda: sorted(workshop.created) == ["a", "b", "c"])

    assert workshop.existing == []


def test_a_sandbox_with_another_label_is_taken_too() -> None:
    """Sandboxes that differ by their labels only are alike, but the own label is preferred."""
    workshop = Workshop()
    supply = workshop.supply()
    with supply.expecting(labelled("a", "b"), 2):
        assert wait_for(lambda: sorted(workshop.created) == ["a", "b"])
        with supply.take(labelled("b")[0]) as own, supply.take(labelled("z")[0]) as similar:
            assert (cast("str", own), cast("str", similar)) == ("b", "a")

    assert sorted(workshop.created) == ["a", "b"]


def test_a_different_sandbox_is_created_when_it_is_taken() -> None:
    """Nothing in the stock suits it, and the stock remains."""
    workshop = Workshop()
    supply = workshop.supply()
    with supply.expecting(labelled("a"), 1):
        assert wait_for(lambda: workshop.existing == ["a"])
        with supply.take(OTHER) as sandbox:
            assert cast("str", sandbox) == "other"
            assert sorted(workshop.existing) == ["a", "other"]

    assert workshop.existing == []


def test_a_sandbox_that_was_not_ready_in_time_is_not_created_twice() -> None:
    """A sandbox that is needed before its turn is created at once, and not ahead."""
    workshop = Workshop()
    supply = workshop.supply()
    with supply.expecting([OTHER, *labelled("a", "b")], 1):
        assert wait_for(lambda: workshop.created == ["other"])
        for spec in labelled("a", "b"):
            with supply.take(spec):
                pass
        with supply.take(OTHER):
            pass

    assert workshop.created == ["other", "a", "b"]


def test_an_error_of_a_sandbox_is_raised_when_it_is_taken() -> None:
    """The sandbox of a scenario that could not be created ahead is an error of this scenario."""
    workshop = Workshop(refuses="a")
    supply = workshop.supply()
    with supply.expecting(labelled("a", "b"), 2):
        with pytest.raises(EngineError, match="no sandbox for a"), supply.take(labelled("a")[0]):
            pass
        with supply.take(labelled("b")[0]) as sandbox:
            assert cast("str", sandbox) == "b"

    assert workshop.existing == []


def test_what_remains_of_an_unused_sandbox_is_reported() -> None:
    """All unused sandboxes are destroyed, and the block ends with what could not be removed."""
    workshop = Workshop(leaves="a")
    with (
        pytest.raises(LeftBehindError, match="a remains"),
        workshop.supply().expecting(labelled("a", "b"), 2),
    ):
        assert wait_for(lambda: sorted(workshop.created) == ["a", "b"])

    assert workshop.existing == []


def test_a_sandbox_that_is_being_created_at_the_end_is_destroyed() -> None:
    """The block ends only after a creation that has started, so that nothing remains."""
    workshop, barrier = Workshop(), Barrier(2, timeout=60)

    @contextmanager
    def create(spec: SandboxSpec) -> Iterator[Sandbox]:
        barrier.wait()
        with workshop.create(spec) as sandbox:
            yield sandbox

    with SandboxSupply(create).expecting(labelled("a", "b"), 1):
        barrier.wait()

    assert workshop.existing == []


LOOK = "stat -c '%n %F %a %u %g' ~ /tmp /var/tmp /dev/null . *; find ~ /tmp /var/tmp -mindepth 1"
CHANGES = (
    ":",
    "touch ~/file /tmp/file new; mkdir -p /var/tmp/a/b",
    "chmod 755 ~; chmod 700 /tmp /var/tmp",
    "touch ~/file; rm ~/file",
    "rm -r data; ln -s / /tmp/link; mkfifo ~/fifo",
    "chmod 600 /dev/null; echo changed >data/file",
    ":",
)
"""Changes that scripts make, in this order; each script looks at its sandbox first."""


@pytest.mark.parametrize("name", ["bubblewrap", "docker"])
def test_sandboxes_of_a_run_show_nothing_of_each_other(name: str, tmp_path: Path) -> None:
    """Each sandbox is a fresh one, for any change that a script made in an earlier one."""
    engine = require_engine(name)
    assert isinstance(engine, AnticipatingEngine)
    bench = Bench(tmp_path)
    (bench.workspace / "data").mkdir()
    (bench.workspace / "data/file").write_text("original")
    jobs = [bench.shell(f"{LOOK}; cat data/file; {{ {change}; }} 2>&1") for change in CHANGES]
    specs = [replace(jobs[0].spec, label=str(number)) for number in range(len(jobs))]
    with engine.expecting(specs, 2):
        results = [
            run(engine, replace(job, spec=spec)) for job, spec in zip(jobs, specs, strict=True)
        ]

    assert b"original" in results[0].output
    assert [result.output for result in results] == [results[0].output] * len(jobs)
