"""Audit of completed tasks: compare a graph with its manifest and the gate's records.

Every finding is a loss or a note. A loss is a reason to doubt that the task works; a note is for a
reviewer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import field
from datetime import UTC, datetime, timedelta

from isosmoke.dataclass import dataclass
from isosmoke.gate.audits.graph_tasks import CompletedTask, Graph, parse_time
from isosmoke.gate.receipt import Statement
from isosmoke.history.gate_records import BypassRecord
from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.finding import GateFinding
from isosmoke.text import restore_bytes


@dataclass(frozen=True, slots=True)
class Uncommitted:
    """The inputs that a gate tested in a state that no commit has, and that is gone.

    `replaced` are scripts of which the commit of the gate has another state, and `drafts` all else.
    """

    replaced: tuple[str, ...] = ()
    drafts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """The differences from a receipt, and those of which no commit ever had the tested state."""

    differences: Sequence[str] = ()
    uncommitted: Uncommitted = field(default_factory=Uncommitted)


FindChanges = Callable[[Statement], Changes]
"""A function that compares a receipt with the present state."""

NOTES = frozenset(
    {
        "bypass-redeemed",
        "manifest-differs",
        "manifest-unversioned",
        "receipt-changed",
        "receipt-draft",
        "receipt-gate-only",
        "receipt-moved",
        "receipt-other-binary",
        "receipt-partly-skipped",
        "receipt-retried",
        "receipt-without-binary",
    }
)
"""The kinds of findings that are notes; every other kind is a loss."""

MAX_WAIT = timedelta(hours=1)
"""The time from a receipt to the completion after which it is no longer of this completion."""

PROMPT = timedelta(minutes=5)
"""The time from a receipt to the completion within which wg completes what `isosmoke done` gated.

wg can refuse a call after the gate opened, for example because of its arguments. A completion after
that call has ended, or, if that is not recorded, one that does not follow at once, is of another
call.
"""

_COMPLETES_NOTHING: Mapping[str | None, str] = {
    "gate": "`isosmoke gate`, which completes no task",
    "shard": "shards, which complete no task",
}
"""The words for each command that writes receipts, and does not call wg."""

_NAMES_SHOWN = 5
_START = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """The records that the gate wrote; `unreadable` locates those that cannot be read.

    `ends` has the time at which the wg that got a verdict ended, by task and time of the receipt.
    """

    receipts: Sequence[Statement] = ()
    ends: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    bypasses: Sequence[BypassRecord] = ()
    unreadable: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ProjectBinary:
    """The project's wg: its hash, and the paths by which receipts of any work tree name it."""

    sha256: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedProject:
    """The project of an audit, in the form of its receipts.

    `graph` is wg's graph directory. `manifests` are the paths by which receipts name the manifest,
    now and formerly, and `scenarios` its content. `binary` is None without a wg. `is_gone` tells
    whether the project of a graph directory no longer exists. `find_pins` returns the certificates
    that the reviewed manifest lists for the workers of a place.
    """

    graph: str
    manifests: frozenset[str]
    scenarios: Sequence[Scenario] = ()
    binary: ProjectBinary | None = None
    is_gone: Callable[[str], bool] = lambda _: False
    find_pins: Callable[[str], AbstractSet[str]] = lambda _: frozenset()

    def owns(self, receipt: Statement) -> bool:
        """Return whether a receipt is of this project and manifest, and of no mere shard."""
        about = receipt.circumstances
        return (
            not about.shard
            and self.includes(about.graph)
            and str(receipt.manifest_path) in self.manifests
        )

    def includes(self, graph: str | None) -> bool:
        """Return whether a record of `graph` is of this project.

        A record of a former version has no graph. A graph whose project is gone was that of this
        project before it was moved, or that of a work tree that was removed.
        """
        return graph is None or graph == self.graph or self.is_gone(graph)


def find_problems(
    graph: Graph, records: Records, project: AuditedProject, changes: FindChanges
) -> Iterator[GateFinding]:
    """Yield all findings: unreadable input first, then tasks in graph order, then bypasses."""
    for place in (*graph.unreadable, *records.unreadable):
        yield GateFinding(kind="unreadable", place=place, message="cannot be read")
    own = [receipt for receipt in records.receipts if project.owns(receipt)]
    own.sort(key=_read_time)
    for task in graph.done:
        owned = [scenario for scenario in project.scenarios if task.id in scenario.owners]
        if owned:
            of_task = [receipt for receipt in own if receipt.circumstances.task == task.id]
            audit = _TaskAudit(task, tuple(owned), tuple(of_task), project, records.ends)
            yield from audit.find(changes)
    for bypass in records.bypasses:
        if project.includes(bypass.graph):
            yield _check_bypass(bypass, own)


@dataclass(frozen=True, slots=True)
class _TaskAudit:
    """One completed task, the scenarios that it owns, and its receipts, the oldest first."""

    task: CompletedTask
    owned: tuple[Scenario, ...]
    receipts: tuple[Statement, ...]
    project: AuditedProject
    ends: Mapping[tuple[str, str], datetime]

    def find(self, changes: FindChanges) -> Iterator[GateFinding]:
        """Yield the findings of the receipt that belongs to the completion."""
        receipt = self._select_receipt()
        if receipt is None:
            yield self._create("receipt-missing", self._describe_missing())
            return
        losses = [*self._find_losses(receipt)]
        yield from losses
        yield from self._find_notes(receipt)
        if not losses:
            yield from self._find_changes(changes(receipt))

    def _find_changes(self, changes: Changes) -> Iterator[GateFinding]:
        if changes.differences:
            words = f"is done; since its receipt: {_enumerate(changes.differences)}"
            yield self._create("receipt-changed", words)
        if replaced := changes.uncommitted.replaced:
            words = "is done, but its gate ran what no commit has, in place of what was committed"
            yield self._create("receipt-uncommitted", f"{words}: {_enumerate(replaced)}")
        if drafts := changes.uncommitted.drafts:
            words = f"is done; no commit has the state that its gate used: {_enumerate(drafts)}"
            yield self._create("receipt-draft", words)

    def _select_receipt(self) -> Statement | None:
        """Return the last receipt before the completion; a gate that shut later supersedes it."""
        last = self.receipts[-1] if self.receipts else None
        completed = self.task.completed
        if last is None or not (last.circumstances.open or self.task.has_successor):
            return last
        before = [
            each for each in self.receipts if completed is None or _read_time(each) <= completed
        ]
        return before[-1] if before else None

    def _describe_missing(self) -> str:
        owned = f"is done and owns {self._enumerate_owned()}, but has no receipt"
        if not self.receipts:
            return owned
        first = self.receipts[0].circumstances.tested_at
        return f"{owned} from before its completion; its first one is from {first}"

    def _find_losses(self, receipt: Statement) -> Iterator[GateFinding]:
        about = receipt.circumstances
        if not about.open:
            words = f"its last receipt, from {about.tested_at}, records a shut gate"
            yield self._create("receipt-shut", f"is done, but {words}")
            return
        shown = {each.name: outcome for each in self.owned if (outcome := _find(receipt, each))}
        missing = [each.name for each in self.owned if each.name not in shown]
        if missing:
            words = f"its last receipt does not cover {_enumerate(missing)}"
            yield self._create("receipt-incomplete", f"is done, but {words}")
        yield from self._find_lost_results(receipt, [*shown.values()])
        if reason := self._describe_other_completion(receipt):
            yield self._create("receipt-stale", f"is done, but its receipt is {reason}")
        if reason := self._describe_binary(receipt):
            yield self._create("receipt-binary", f"is done, but {reason}")
        if reason := self._describe_workers(receipt):
            yield self._create("receipt-worker", f"is done, but {reason}")
        for loss in about.losses or ():
            words = f"is done, but its gate used a doubtful manifest: {loss.place}: {loss.message}"
            yield self._create(loss.kind, words)

    def _find_lost_results(
        self, receipt: Statement, shown: Sequence[Outcome]
    ) -> Iterator[GateFinding]:
        """Yield a loss for skipped scenarios only, or for each that failed until it was skipped."""
        if shown and all(outcome.facts.is_skip for outcome in shown):
            words = f"is done, but all of its scenarios were skipped: {self._enumerate_owned()}"
            yield self._create("receipt-skipped", words)
        for scenario in self._list_skipped(receipt):
            if at := self._find_failure(receipt, scenario):
                words = f"is done, but {scenario.name} was skipped, after it had failed at {at}"
                yield self._create("receipt-skipped", words)

    def _list_skipped(self, receipt: Statement) -> list[Scenario]:
        """Return the owned scenarios that were skipped, unless none was run."""
        shown = [(each, outcome) for each in self.owned if (outcome := _find(receipt, each))]
        skipped = [each for each, outcome in shown if outcome.facts.is_skip]
        return skipped if len(skipped) < len(shown) else []

    def _find_failure(self, receipt: Statement, scenario: Scenario) -> str:
        """Return when a scenario failed if its last result before a receipt is that; else empty."""
        failure = ""
        for earlier in self.receipts:
            outcome = _find(earlier, scenario)
            if _read_time(earlier) <= _read_time(receipt) and outcome and not outcome.facts.is_skip:
                has_failed = outcome.facts.effect == "failed"
                failure = earlier.circumstances.tested_at if has_failed else ""
        return failure

    def _describe_other_completion(self, receipt: Statement) -> str:
        """Describe why a receipt is not of this completion; empty if it is."""
        at = receipt.circumstances.first_tested_at or receipt.circumstances.tested_at
        tested = parse_time(at) or _START
        if self.task.begun is not None and tested < self.task.begun:
            return f"from {at}, before the task was last started, at {_format(self.task.begun)}"
        if self.task.completed is not None and self.task.completed - tested > MAX_WAIT:
            wait = self.task.completed - tested
            hours = wait.total_seconds() / 3600
            return f"from {at}, {hours:.1f} hours before the completion"
        return ""

    def _describe_binary(self, receipt: Statement) -> str:
        """Describe the tested binary if it is not the project's wg; empty if it is."""
        tested, own = receipt.circumstances.binary, self.project.binary
        if tested is None or own is None:
            return ""
        sha256 = receipt.subject[0].sha256
        if restore_bytes(tested) in own.paths or sha256 == own.sha256:
            return ""
        return f"its gate tested {tested} ({sha256[:12]}), and the project's wg is {own.paths[0]}"

    def _describe_workers(self, receipt: Statement) -> str:
        """Describe a worker that no reviewed place has, or that is not named; empty without one."""
        about = receipt.circumstances
        if about.place is None and about.workers is None:
            return ""
        place, workers = about.place or "", about.workers or {}
        unnamed = [name for name in about.outcomes if not workers.get(name)]
        if unnamed:
            return f"its receipt names no worker of {_enumerate(unnamed)}"
        pins = self.project.find_pins(place)
        for worker in (worker for named in workers.values() for worker in named):
            if worker.certificate not in pins:
                where = f"[gate] places lists for {place or 'no place'}"
                return (
                    f"its gate ran on the worker {worker.name}, with the certificate "
                    f"{worker.certificate}, which no reviewed {where}"
                )
        return ""

    def _find_notes(self, receipt: Statement) -> Iterator[GateFinding]:
        about = receipt.circumstances
        skipped = self._list_skipped(receipt)
        names = [each.name for each in skipped if not self._find_failure(receipt, each)]
        if names:
            words = f"is done; its receipt shows nothing of what was skipped: {_enumerate(names)}"
            yield self._create("receipt-partly-skipped", words)
        if about.way in _COMPLETES_NOTHING:
            words = f"is done; its receipt is of {_COMPLETES_NOTHING[about.way]}"
            yield self._create("receipt-gate-only", words)
        elif self._is_late(receipt):
            words = f"is done; wg did not complete it with its receipt, from {about.tested_at}"
            yield self._create("receipt-gate-only", words)
        if about.graph is not None and about.graph != self.project.graph:
            words = f"is done; its receipt is of a graph whose project is gone: {about.graph}"
            yield self._create("receipt-moved", words)
        if about.binary is None and self.project.binary is not None:
            words = "is done; its gate found no wg, so that no binary was tested"
            yield self._create("receipt-without-binary", words)
        if self._is_other_build(receipt):
            words = f"is done; {about.binary} is no longer the binary that its gate tested"
            yield self._create("receipt-other-binary", words)
        if about.open and (number := self._count_retries(receipt)):
            words = f"is done; its gate had shut {number} times for the same inputs"
            yield self._create(
                "receipt-retried", words if number > 1 else words.replace("times", "time")
            )

    def _is_late(self, receipt: Statement) -> bool:
        """Return whether the completion is of this receipt's gate, but of another call of wg."""
        completed, about = self.task.completed, receipt.circumstances
        if completed is None or not about.open or self._describe_other_completion(receipt):
            return False
        ended = self.ends.get((about.task, about.tested_at), _read_time(receipt) + PROMPT)
        return completed > min(ended, _read_time(receipt) + PROMPT)

    def _is_other_build(self, receipt: Statement) -> bool:
        """Return whether the binary at the tested path is the project's wg, with another hash."""
        tested, own = receipt.circumstances.binary, self.project.binary
        if tested is None or own is None or restore_bytes(tested) not in own.paths:
            return False
        return receipt.subject[0].sha256 != own.sha256

    def _count_retries(self, receipt: Statement) -> int:
        """Return how many shut gates before this receipt had the same inputs."""
        return sum(
            not earlier.circumstances.open and _select_inputs(earlier) == _select_inputs(receipt)
            for earlier in self.receipts
            if _read_time(earlier) <= _read_time(receipt)
        )

    def _enumerate_owned(self) -> str:
        return _enumerate([scenario.name for scenario in self.owned])

    def _create(self, kind: str, words: str) -> GateFinding:
        return GateFinding(kind=kind, place=self.task.id, message=words)


def _find(receipt: Statement, scenario: Scenario) -> Outcome | None:
    """Return the outcome of a scenario, under its present name or a former one; None if none."""
    outcomes = receipt.circumstances.outcomes
    names = (name for name in (scenario.name, *scenario.aliases) if name in outcomes)
    return next((outcomes[name] for name in names), None)


def _select_inputs(receipt: Statement) -> frozenset[tuple[str, str]]:
    """Return everything that was tested, by name and hash; a commit need not change any of it."""
    resources = (*receipt.subject, *receipt.predicate.configuration)
    return frozenset((resource.name, resource.sha256) for resource in resources)


def _read_time(receipt: Statement) -> datetime:
    return parse_time(receipt.circumstances.tested_at) or _START


def _format(time: datetime) -> str:
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")


def _check_bypass(bypass: BypassRecord, receipts: Iterable[Statement]) -> GateFinding:
    last = [receipt for receipt in receipts if receipt.circumstances.task == bypass.task][-1:]
    at = parse_time(bypass.at)  # no gate is known to be later than a time that is invalid
    redeemed = at is not None and any(
        receipt.circumstances.open and _read_time(receipt) > at for receipt in last
    )
    who = f"user {bypass.user}" if bypass.agent is None else f"agent {bypass.agent!r}"
    words = f"bypassed the gate at {bypass.at} as {who}"
    if redeemed:
        words += "; the gate has opened for it since"
    kind = "bypass-redeemed" if redeemed else "bypass"
    return GateFinding(kind=kind, place=bypass.task, message=words)


def _enumerate(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
