"""A bisection: it tests several commits at once, and keeps its state on disk."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import field
from functools import partial
from pathlib import Path
from time import monotonic

from isosmoke.dataclass import dataclass
from isosmoke.interrupt import Interrupt
from isosmoke.investigation.bisection.bisection_record import BisectionState, TestedCommit
from isosmoke.investigation.bisection.builds import Builder, BuildError
from isosmoke.investigation.bisection.commits import Range
from isosmoke.investigation.bisection.search import CommitSearch
from isosmoke.investigation.bisection.state_file import StateFile
from isosmoke.investigation.bisection.trial import Trial, Trials
from isosmoke.worker_threads import Workers

_POLL_SECONDS = 0.2
_NO_BINARY = "there is no binary of this commit"


@dataclass(frozen=True, slots=True)
class ReadyMade:
    """Binaries that were built before, by commit."""

    binaries: Mapping[str, Path]

    @contextmanager
    def built(self, commit: str, log: Path, interrupt: Interrupt) -> Iterator[Path]:
        """Yield the binary of a commit; raise `BuildError` if there is none."""
        if commit not in self.binaries:
            raise BuildError(_NO_BINARY)
        yield self.binaries[commit]

    def get_name(self, commit: str) -> str:
        """Return the file name of a binary."""
        return self.binaries[commit].name


@dataclass(slots=True, kw_only=True)
class Bisection:
    """A bisection in progress; `notify` is called with each verdict.

    `state` has the verdicts so far. The ends of the range are tested first, because a wrong end
    makes every other verdict worthless.
    """

    commits: Range
    source: Builder | ReadyMade
    trials: Trials
    file: StateFile
    state: BisectionState
    jobs: int
    interrupt: Interrupt
    notify: Callable[[TestedCommit], object]
    _running: dict[str, "tuple[Future[TestedCommit | None], Interrupt]"] = field(
        default_factory=dict, init=False
    )

    @property
    def search(self) -> CommitSearch:
        """The search with the verdicts so far; those on the ends are not part of it."""
        verdicts = {
            item.commit: item.verdict
            for item in self.state.tested
            if item.commit in self.commits.parents and item.commit != self.commits.bad.identity
        }
        return CommitSearch(self.commits.parents, self.commits.bad.identity, verdicts)

    @property
    def ends(self) -> tuple[str, ...]:
        """The bad and the good ends of the range."""
        return (self.commits.bad.identity, *(item.identity for item in self.commits.good))

    def find(self, commit: str) -> TestedCommit | None:
        """Return the verdict on a commit; None if it was not tested."""
        return next((item for item in self.state.tested if item.commit == commit), None)

    def test_ends(self) -> None:
        """Test the ends of the range that were not tested yet."""
        with self._open_pool() as start:
            for commit in self.ends:
                if self.find(commit) is None:
                    start(commit)
            while self._running and not self.interrupt.is_raised:
                self._collect()

    def run(self) -> None:
        """Test commits until the search is over, or the interrupt is raised."""
        with self._open_pool() as start:
            while not self.search.is_over and not self.interrupt.is_raised:
                search = self.search
                self._cancel_others(search)
                free = self.jobs - len(self._running)
                for commit in search.choose(free, [*self._running]) if free > 0 else ():
                    start(commit)
                self._collect()

    @contextmanager
    def _open_pool(self) -> Iterator[Callable[[str], None]]:
        """Yield a function that starts the test of a commit; cancel all that run at the end."""
        with Workers(self.jobs, thread_name_prefix="bisect") as pool:

            def start(commit: str) -> None:
                cancel = Interrupt()
                self._running[commit] = pool.submit(self._test, commit, cancel), cancel

            try:
                yield start
            finally:
                for _, cancel in self._running.values():
                    cancel.raise_for(self.interrupt.reason or "no longer needed")
        self._running.clear()

    def _collect(self) -> None:
        """Wait a moment for verdicts, and save those that there are."""
        futures = [future for future, _ in self._running.values()]
        done, _ = wait(futures, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        for commit, (future, _) in [*self._running.items()]:
            if future in done:
                del self._running[commit]
                if tested := future.result():
                    self._save(tested)

    def _cancel_others(self, search: CommitSearch) -> None:
        """Cancel the tests of commits that a verdict has meanwhile cleared."""
        suspects = set(search.suspects)
        for commit, (_, cancel) in self._running.items():
            if commit not in suspects and not cancel.is_raised:
                cancel.raise_for("no longer needed")

    def _save(self, tested: TestedCommit) -> None:
        self.state = self.state.model_copy(update={"tested": (*self.state.tested, tested)})
        self.file.save(self.state)
        self.notify(tested)

    def _test(self, commit: str, cancel: Interrupt) -> TestedCommit | None:
        """Build and try a commit; return None if that was cancelled."""
        begun, log = monotonic(), self.file.directory / commit[:12] / "build.log"
        create = partial(TestedCommit, commit=commit)
        try:
            with self.source.built(commit, log, cancel) as path:
                trial = self.trials.run(path, log.parent, cancel)
        except BuildError as error:
            trial = Trial("skip", None, error.message)
        if cancel.is_raised or trial.is_stopped:
            return None
        return create(
            verdict=trial.verdict,
            outcome=trial.outcome,
            reason=trial.reason,
            binary_sha256=trial.binary_sha256,
            seconds=round(monotonic() - begun, 3),
            log=str(log) if log.exists() else None,
        )

    def confirm(self, parents: tuple[str, ...]) -> Iterator[str]:
        """Run the first bad binary and those of its parents again, alone; yield what differs.

        Yield nothing for a commit that was not tested, or whose binary is no longer stored.
        """
        for commit in (self.search.first_bad, *parents):
            tested = self.find(commit)
            if tested is None or tested.binary_sha256 is None or self.interrupt.is_raised:
                continue
            record = self.file.directory / commit[:12] / "again"
            name = self.source.get_name(commit)
            trial = self.trials.run_again(tested.binary_sha256, name, record, self.interrupt)
            if trial and trial.verdict != tested.verdict and not trial.is_stopped:
                yield (
                    f"{commit[:12]} was {tested.verdict} and is now {trial.verdict}: "
                    "the scenario is flaky, measure it with isosmoke stress"
                )
