"""The request for a run: what to run, and how."""

from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from isosmoke.dataclass import dataclass
from isosmoke.engines import AUTO
from isosmoke.errors import UsageError
from isosmoke.execution.scheduler import Policy
from isosmoke.keeper.events import Output
from isosmoke.keeper.input_forwarding import Streams
from isosmoke.manifest.models import Retention, Scenario
from isosmoke.results.run_results import ShardPlan
from isosmoke.runner.job_builder import StandIns
from isosmoke.runner.output import LiveOutputs

if TYPE_CHECKING:  # only a run in a place needs it
    from isosmoke.execution.places.place import AttemptPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The scenarios to run and the options of the run.

    `argv` replaces every script, and takes over `streams`. `outputs` shows what scenarios print.
    With `keeps_caches`, what a command adds to caches is kept for the project. `copies` is a tree
    with copies of files at their own paths; scripts see these in place of the files, which may
    change during the run. `stand_ins` take the place of the binary. Attempts are made in `place`;
    None is this machine. With `recalls`, facts from earlier runs are used again while nothing that
    they depend on has changed: the hash of the binary, that it starts, and the tools on PATH. What
    decides about a task, or examines a machine or an image, finds them anew.
    With a `shard`, the scenarios are a part of its selection, and may be none.
    """

    scenarios: tuple[Scenario, ...]
    manifest: Path | None = None
    binary: str | None = None
    engine: str = AUTO
    policy: Policy = field(default_factory=Policy)
    argv: tuple[str, ...] = ()
    on_output: Callable[[Output], object] | None = None
    outputs: LiveOutputs = field(default_factory=LiveOutputs, compare=False)
    streams: Streams | None = None
    keeps_caches: bool = False
    record_in: Path | None = None
    retention: Retention = field(default_factory=Retention)
    rerun_of: str = ""
    copies: Path | None = None
    stand_ins: StandIns | None = None
    place: "AttemptPlace | None" = None
    recalls: bool = False
    shard: ShardPlan | None = None

    def check_place(self) -> None:
        """Refuse what only this machine can do, if the request names a place."""
        local = (self.argv or self.streams, self.keeps_caches or self.on_output)
        if self.place is not None and any(local):
            raise UsageError(
                "a place runs only the scripts of scenarios", hint="omit --place to run this here"
            )
