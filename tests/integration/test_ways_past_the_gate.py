"""Ways past the gate: each is refused by the gate, or named by an audit or a check.

Each way is a row in docs/gate.md. After a change, run

    PYTHONPATH=tests python tests/integration/test_ways_past_the_gate.py
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from isosmoke.gate import gate_run
from isosmoke.gate.gate_run import GateRequest
from isosmoke.gate.receipt import Way
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.results.events import Event, RunFinished, RunStarted
from support import available, live_wg, ways_past_check
from support.git_repositories import Git
from support.paths import ROOT
from support.project import Project
from support.ways_past_check import Way as WayPastCheck

MANIFEST = """
[[scenario]]
name = "works"
script = "scenarios/works.sh"
owners = ["task"]
"""

TASK = {"kind": "task", "title": "A task"}

WORKS = '. "$(dirname "$0")/lib.sh"\n"$WG_BIN" works\n'
"""The script of the scenario: it fails if the binary or the sourced file fails."""

NOT_CALLED = "not called"
"""The cell of a gate that was not called."""

PAGE = ROOT / "docs/gate.md"


@dataclass(frozen=True, slots=True)
class Team:
    """A project whose graph has one task, and the calls of those who complete it."""

    project: Project
    task: str = "task"
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def within(cls, directory: Path) -> "Team":
        """Create the project on a branch, with everything committed except the graph."""
        team = cls(Project.within(directory, MANIFEST))
        team.write("scenarios/works.sh", WORKS)
        team.write("scenarios/lib.sh", "true\n")
        team.build("exit 0")
        team.project.path(".wg").mkdir()
        team.set_status("in-progress")
        git = Git(team.project.top)
        git.commit("first", _gitignore=".wg\n/wg\n")
        git("checkout", "--quiet", "-b", "feature")
        git.commit("second")
        return team

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        self.project.path(name).parent.mkdir(exist_ok=True, parents=True)
        self.project.path(name).write_text(text)

    def build(self, line: str, name: str = "wg") -> Path:
        """Build a binary whose behaviour is one line of a shell."""
        self.write(name, f"#!/bin/sh\n{line}\n")
        self.project.path(name).chmod(0o755)
        return self.project.path(name)

    def set_status(self, status: str, **fields: str) -> None:
        """Write the graph, in which the task has this status."""
        line = json.dumps({**TASK, "id": self.task, "status": status, **fields})
        self.write(".wg/graph.jsonl", f"{line}\n")

    def complete(self, later: timedelta = timedelta(), **fields: str) -> None:
        """Mark the task as done at the present time, or `later`."""
        self.set_status("done", completed_at=(datetime.now(UTC) + later).isoformat(), **fields)

    def is_complete(self) -> bool:
        """Return whether the task is done, in the graph or in its archive."""
        files = [self.project.path(f".wg/{name}.jsonl") for name in ("graph", "archive")]
        return any('"done"' in file.read_text() for file in files if file.exists())

    def gate(
        self,
        on_event: Callable[[Event], None] = lambda _: None,
        *,
        way: Way = "done",
        variables: Mapping[str, str] | None = None,
        manifest: Path | None = None,
    ) -> str:
        """Pass the task through the gate, and return the cell of the table."""
        environment = {**self.project.environment(), **self.variables, **(variables or {})}
        caller = replace(
            Caller.current(),
            working=self.project.top,
            home=self.project.top.parent / "home",
            environment=environment,
        )
        answer = gate_run.run_gate(
            GateRequest(task=self.task, way=way, manifest=manifest),
            caller,
            notify=on_event,
            interrupt=Interrupt(),
        )
        print(answer.verdict)  # noqa: T201 - pytest shows it if the row is not the expected one
        verdict = "OPEN" if answer.verdict.open else "SHUT"
        losses = [f"loss: {kind}" for kind in sorted({x.kind for x in answer.findings.losses})]
        return "; ".join([verdict, *losses])

    def audit(self) -> str:
        """Audit the project, and return the cell of the table."""
        done = self.project.run("audit", "--json", **self.variables)
        if done.returncode > 1:
            return "error"
        document = json.loads(done.stdout)
        assert done.returncode == bool(document["losses"]), done.stderr
        kinds = [each["kind"] for each in document["losses"]]
        return format_kinds([*kinds, *(f"note: {each['kind']}" for each in document["notes"])])

    def check(self) -> tuple[str, str]:
        """Check the project and a fresh clone of depth 1, and return both cells."""
        here = ways_past_check.list_kinds(self.project.top)
        clone = ways_past_check.clone_shallow(Git(self.project.top))
        return format_checks(here, ways_past_check.list_kinds(clone))


def format_kinds(kinds: Iterable[str] | None) -> str:
    """Return the cell for the kinds of findings; None for an error."""
    if kinds is None:
        return "error"
    unique = sorted({*kinds}, key=lambda kind: (kind.startswith("note: "), kind))
    cells = (kind if kind.startswith("note: ") else f"loss: {kind}" for kind in unique)
    return "; ".join(cells) or "clean"


def format_checks(here: Iterable[str] | None, clone: Iterable[str] | None) -> tuple[str, str]:
    """Return the cells of a check here and in a clone."""
    first, second = format_kinds(here), format_kinds(clone)
    return first, "not in the clone" if second == "clean" != first else second


def swap(file: Path, text: str) -> Callable[[Event], None]:
    """Return a function that replaces a file during a run, and restores it at the end."""
    original, times = file.read_bytes(), file.stat()

    def notify(event: Event) -> None:
        if isinstance(event, RunStarted):
            file.write_text(text)
        if isinstance(event, RunFinished):
            file.write_bytes(original)
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))

    return notify


def swap_script(team: Team) -> str:
    """Replace the script during the run, and restore it."""
    team.build("exit 1")
    return team.gate(swap(team.project.path("scenarios/works.sh"), "exit 0\n"))


def swap_library(team: Team) -> str:
    """Replace a sourced file during the run, and restore it."""
    team.build("exit 1")
    return team.gate(swap(team.project.path("scenarios/lib.sh"), "exit 0\n"))


def swap_binary(team: Team) -> str:
    """Replace the binary during the run, and restore it."""
    team.build("exit 1")
    return team.gate(swap(team.project.binary, "#!/bin/sh\nexit 0\n"))


def rebuild_binary(team: Team) -> str:
    """Build the binary again during the run."""

    def notify(event: Event) -> None:
        if isinstance(event, RunStarted):
            team.build("exit 1")

    return team.gate(notify)


def replace_stored_copy(team: Team) -> str:
    """Replace the copy in the store of binaries with one that passes."""
    team.build("exit 1")
    team.gate()
    for copy in team.project.state.glob("binaries/*/*"):
        copy.write_text("#!/bin/sh\nexit 0\n")
    return team.gate()


def shadow_a_tool(team: Team) -> str:
    """Run the binary once under the name of a tool that the script calls."""
    team.write("scenarios/works.sh", "printf good | grep -q bad\n")
    team.build("exit 0", "grep")
    team.gate(variables={"ISOSMOKE_WG": str(team.project.path("grep"))})
    shutil.rmtree(team.project.path(".isosmoke/receipts"))
    return team.gate()


def call_only_wg(_: Team) -> str:
    """Complete the task without a gate."""
    return NOT_CALLED


def gate_afterwards(team: Team) -> str:
    """Complete the task first, and open the gate later."""
    team.complete(-timedelta(minutes=1))
    return team.gate()


def reuse_a_receipt(team: Team) -> str:
    """Reopen the task, break the program, and complete the task without a gate."""
    cell = team.gate()
    begun = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    team.complete(timedelta(minutes=2), started_at=begun)
    return cell


def wait_for_hours(team: Team) -> str:
    """Open the gate, and complete the task hours later."""
    cell = team.gate()
    team.complete(timedelta(hours=3))
    return cell


def copy_a_receipt(team: Team) -> str:
    """Copy the receipt of the same task of another project."""
    other = Team.within(team.project.top.parent / "other")
    cell = other.gate()
    shutil.copytree(
        other.project.path(".isosmoke/receipts"), team.project.path(".isosmoke/receipts")
    )
    return cell


def copy_a_receipt_without_a_graph(team: Team) -> str:
    """Copy the receipt of the same task of another project that has no graph."""
    other = Team.within(team.project.top.parent / "other")
    shutil.rmtree(other.project.path(".wg"))
    cell = other.gate()
    shutil.copytree(
        other.project.path(".isosmoke/receipts"), team.project.path(".isosmoke/receipts")
    )
    return cell


def use_another_manifest(team: Team) -> str:
    """Open the gate with a weaker manifest in another part of the repository."""
    team.write("part/manifest.toml", MANIFEST)
    team.write("part/scenarios/works.sh", "exit 0\n")
    Git(team.project.top).commit("second")
    return team.gate(manifest=team.project.path("part/manifest.toml"))


def name_a_manifest(team: Team) -> str:
    """Open the gate with a manifest that a variable names."""
    team.write("weak/manifest.toml", MANIFEST)
    team.write("weak/scenarios/works.sh", "exit 0\n")
    named = str(team.project.path("weak/manifest.toml"))
    return team.gate(variables={"WG_SMOKE_MANIFEST": named})


def use_another_binary(team: Team) -> str:
    """Open the gate with a binary that is not the project's wg."""
    fake = team.build("exit 0 # fake", "fake")
    team.build("exit 1")
    return team.gate(variables={"ISOSMOKE_WG": str(fake)})


def replace_the_binary(team: Team) -> str:
    """Open the gate with a program that is then replaced at the same path."""
    cell = team.gate()
    team.build("exit 1")
    return cell


def weaken_and_restore(team: Team) -> str:
    """Weaken the script for the gate, without a commit, and restore it."""
    team.build("exit 1")
    team.write("scenarios/works.sh", "exit 0\n")
    cell = team.gate()
    team.write("scenarios/works.sh", WORKS)
    return cell


def weaken_a_library_and_restore(team: Team) -> str:
    """Do the same with the sourced file."""
    team.build("exit 1")
    team.write("scenarios/lib.sh", "exit 0\n")
    cell = team.gate()
    team.write("scenarios/lib.sh", "true\n")
    return cell


def weaken_the_entry_and_restore(team: Team) -> str:
    """Do the same with the manifest's entry."""
    team.write("manifest.toml", f"{MANIFEST}retries = 9\n")
    cell = team.gate()
    team.write("manifest.toml", MANIFEST)
    return cell


def weaken_in_a_dropped_commit(team: Team) -> str:
    """Commit the weakened script, open the gate, and drop the commit."""
    team.build("exit 1")
    team.write("scenarios/works.sh", "exit 0\n")
    git = Git(team.project.top)
    git.commit("weak")
    cell = team.gate()
    git("reset", "--quiet", "--hard", "HEAD~1")
    return cell


def skip_everything(team: Team) -> str:
    """Make every scenario skip."""
    team.write("scenarios/works.sh", "exit 77\n")
    return team.gate()


def own_a_second_scenario(team: Team, text: str) -> None:
    """Let the task own a second scenario with this script."""
    team.write("scenarios/second.sh", text)
    entry = MANIFEST.replace("works", "second")
    team.write("manifest.toml", MANIFEST + entry)


def skip_one(team: Team) -> str:
    """Make one scenario of two skip."""
    own_a_second_scenario(team, "exit 77\n")
    return team.gate()


def skip_the_failing_one(team: Team) -> str:
    """Let a scenario fail in a gate, and make it skip in the next one."""
    own_a_second_scenario(team, "exit 1\n")
    team.gate()
    team.write("scenarios/second.sh", "exit 77\n")
    return team.gate()


def retry_until_open(team: Team) -> str:
    """Repeat the gate, with the same inputs, until a scenario that is unreliable passes."""
    address = team.project.top / "attempts"
    address.mkdir()
    team.write("scenarios/works.sh", 'test -n "$(ls attempts)"\n')
    team.gate()
    (address / "1").touch()
    return team.gate()


def call_only_gate(team: Team) -> str:
    """Call `isosmoke gate`, and complete the task with wg."""
    return team.gate(way="gate")


def complete_by_a_later_call(team: Team) -> str:
    """Open the gate by `isosmoke done`, which wg refuses, and complete the task with wg."""
    cell = team.gate()
    team.complete(timedelta(minutes=6))
    return cell


REFUSES = '[ "$1" = works ]'
"""A wg that refuses `wg done`."""

COMPLETES = f"""
{REFUSES} && exit
at=$(date -u +%FT%T.%NZ)
printf '{{"kind": "task", "id": "task", "status": "done", "completed_at": "%s"}}\n' "$at" \\
    >.wg/graph.jsonl
"""
"""A wg whose `wg done` completes the task."""


def call_done(team: Team, program: str, *options: str) -> str:
    """Call `isosmoke done` with this wg, wait for the end of that, and return the cell."""
    team.build(program)
    team.project.run("done", "task", *options)
    receipts = team.project.path(".isosmoke/receipts")
    available.wait_for(lambda: [*receipts.glob("*.ended")])
    return "OPEN"


def complete_after_a_refusal(team: Team) -> str:
    """Let wg refuse the arguments after the gate opened, and complete the task at once."""
    return call_done(team, REFUSES, "--bogus")


def bypass_elsewhere(team: Team) -> str:
    """Bypass the gate from the directory of another repository."""
    elsewhere = team.project.top.parent / "elsewhere"
    Git(elsewhere)
    graph = str(team.project.path(".wg"))
    Project(elsewhere, team.project.state).run("gate", "task", "--skip-smoke", WG_DIR=graph)
    return "OPEN"


def archive_the_task(team: Team) -> str:
    """Complete the task without a gate, and archive it."""
    team.complete()
    graph = team.project.path(".wg/graph.jsonl")
    graph.rename(graph.with_name("archive.jsonl"))
    boundary = {**TASK, "id": "task", "kind": "archivedboundary", "status": "done"}
    graph.write_text(f"{json.dumps(boundary)}\n")
    return NOT_CALLED


def reuse_the_id_of_an_archived_task(team: Team) -> str:
    """Complete the task without a gate, archive it, and open one with the same ID."""
    cell = archive_the_task(team)
    team.set_status("open")
    return cell


def honest(team: Team) -> str:
    """Open the gate, and complete the task."""
    return team.gate()


def honest_completion(team: Team) -> str:
    """Let the wg that `isosmoke done` becomes complete the task."""
    return call_done(team, COMPLETES)


def honest_draft(team: Team) -> str:
    """Open the gate with a script that is committed later."""
    team.write("scenarios/works.sh", f"# It works.\n{WORKS}")
    cell = team.gate()
    Git(team.project.top).commit("second")
    return cell


def honest_monorepo(team: Team) -> str:
    """Open the gate of a project in a monorepo, next to another one with its own manifest."""
    for part in ("a", "b"):
        team.write(f"{part}/tests/smoke/manifest.toml", MANIFEST)
        team.write(f"{part}/tests/smoke/scenarios/works.sh", "wg works\n")
    Git(team.project.top).commit("parts")
    one = Team(Project(team.project.path("a"), team.project.state), variables=name_wg(team))
    one.project.path(".wg").mkdir()
    cell = one.gate()
    one.complete()
    checked = one.project.run("check", "--strict")
    assert (one.audit(), checked.returncode) == ("clean", 0), checked.stderr
    team.gate()
    return cell


def name_wg(team: Team) -> Mapping[str, str]:
    """Return the variable that names the team's wg from another directory."""
    return {"ISOSMOKE_WG": str(team.project.binary)}


def honest_push(team: Team) -> str:
    """Let CI check and gate a push."""
    git = Git(team.project.top)
    return gate_in_ci(team, {"before": git("rev-parse", "HEAD~1")})


def honest_pull_request(team: Team) -> str:
    """Let CI check and gate a pull request."""
    base = {"base": {"sha": Git(team.project.top)("rev-parse", "main")}}
    return gate_in_ci(team, {"pull_request": base})


def gate_in_ci(team: Team, event: Mapping[str, object]) -> str:
    """Check and gate a fresh clone of the branch with its whole history, and the team as well."""
    top = team.project.top.parent / "ci"
    Git(team.project.top)("clone", "--quiet", "--branch", "feature", ".", str(top))
    described = top.parent / "event.json"
    described.write_text(json.dumps(event))
    clone = Team(Project(top, team.project.state), variables=name_wg(team))
    done = clone.project.run("check", "--strict", GITHUB_EVENT_PATH=str(described))
    assert done.returncode == 0, done.stderr
    assert clone.gate(way="gate") == "OPEN"
    return team.gate()


def honest_verification(team: Team) -> str:
    """Verify the receipt in another clone at another path."""
    cell = team.gate()
    clone = team.project.top.parent / "elsewhere/clone"
    Git(team.project.top)("clone", "--quiet", ".", str(clone))
    (receipt,) = team.project.path(".isosmoke/receipts").glob("*.json")
    done = Project(clone, team.project.state).run(
        "receipt", "verify", str(receipt), "--binary", str(team.project.binary)
    )
    assert done.returncode == 0, done.stdout
    return cell


def honest_work_tree(team: Team) -> str:
    """Open the gate in a linked work tree, which is then removed."""
    return gate_in_work_tree(team, has_graph=True)


def honest_work_tree_without_graph(team: Team) -> str:
    """Do the same in a work tree without a link to the graph."""
    return gate_in_work_tree(team, has_graph=False)


def gate_in_work_tree(team: Team, *, has_graph: bool) -> str:
    """Open the gate in a linked work tree, and remove it."""
    linked = team.project.top.parent / "linked"
    git = Git(team.project.top)
    git("worktree", "add", "--quiet", str(linked))
    if has_graph:
        (linked / ".wg").symlink_to(team.project.path(".wg"))
    cell = Team(Project(linked, team.project.state)).gate(
        variables={"ISOSMOKE_WG": str(team.project.binary)}
    )
    git("worktree", "remove", "--force", str(linked))
    return cell


WAYS = {
    "the script is replaced during the run, and restored": swap_script,
    "a sourced file is replaced during the run, and restored": swap_library,
    "the binary is replaced during the run, and restored": swap_binary,
    "the binary is rebuilt during the run": rebuild_binary,
    "the stored copy of the binary is replaced": replace_stored_copy,
    "the binary was once run under the name of a tool": shadow_a_tool,
    "`wg done` without a gate": call_only_wg,
    "`wg done` without a gate, then `wg archive`": archive_the_task,
    "the same, then a new task with the ID of the archived one": reuse_the_id_of_an_archived_task,
    "the gate is opened after the completion": gate_afterwards,
    "the task is reopened and completed with its former receipt": reuse_a_receipt,
    "the gate was opened hours before the completion": wait_for_hours,
    "a receipt of another project is copied": copy_a_receipt,
    "a receipt of another project without a graph is copied": copy_a_receipt_without_a_graph,
    "the gate used another manifest of the repository": use_another_manifest,
    "the gate used a manifest that `WG_SMOKE_MANIFEST` names": name_a_manifest,
    "the gate tested another binary": use_another_binary,
    "the binary is another one afterwards, at the same path": replace_the_binary,
    "the script is weakened for the gate, without a commit, and restored": weaken_and_restore,
    "the same with a sourced file": weaken_a_library_and_restore,
    "the same with the entry in the manifest": weaken_the_entry_and_restore,
    "the same in a commit that is then dropped": weaken_in_a_dropped_commit,
    "every scenario is skipped": skip_everything,
    "one scenario is skipped": skip_one,
    "a scenario is skipped after it failed": skip_the_failing_one,
    "the gate is repeated until it opens": retry_until_open,
    "`isosmoke gate`, then `wg done`": call_only_gate,
    "`isosmoke done`, which wg refuses, then `wg done` after 6 minutes": complete_by_a_later_call,
    "`isosmoke done --bogus`, which wg refuses, then `wg done` at once": complete_after_a_refusal,
    "a bypass from another directory": bypass_elsewhere,
}
"""The ways, by their descriptions in the table."""

HONEST = {
    "honest: `isosmoke done`": honest,
    "honest: `isosmoke done`, whose wg completes the task": honest_completion,
    "honest: the script is committed after the gate": honest_draft,
    "honest: in a project of a monorepo": honest_monorepo,
    "honest: CI on a push": honest_push,
    "honest: CI on a pull request": honest_pull_request,
    "honest: the receipt is verified in another clone at another path": honest_verification,
    "honest: in a work tree that is then removed": honest_work_tree,
    "honest: the same, without the graph in it": honest_work_tree_without_graph,
}

LIVE = {f"honest: a live wg: {way}": way for way in live_wg.WAYS}
"""The rows that need a real wg; each revision makes those that it can."""


def complete_with_live_wg(way: str, directory: Path) -> tuple[Team, str]:
    """Let a real wg complete the task on a branch, and return the cell of the gate."""
    project = live_wg.create_project(directory)
    project.add_scenarios("task", works="wg --version")
    git = Git(project.top)
    git.commit("first", _gitignore=".wg\n")
    git("checkout", "--quiet", "-b", "feature")
    git.commit("second")
    live_wg.make_finishable(project)
    done = project.shell(live_wg.WAYS[way], "task")
    live_wg.require_gate(project, way, done.stderr)
    assert (done.returncode, project.status("task")) == (0, "done"), done.stderr
    state = Path(os.environ["ISOSMOKE_STATE"])
    variables = {"ISOSMOKE_WG": str(project.wg)}
    return Team(Project(project.top, state), variables=variables), "OPEN"


PAST_CHECK = {item.text: item for item in ways_past_check.WAYS}
"""The ways past `isosmoke check`, whose cells for that are compared by its own tests."""

ALL = (*WAYS, *PAST_CHECK, *HONEST, *LIVE)
"""All ways, in the order of the table."""

HEAD = "| way | gate | audit | check | in a fresh shallow clone |"
TABLE = re.compile(rf"^{re.escape(HEAD)}$(?:\n\|.*)*$", re.MULTILINE)


def make_row(way: str, directory: Path) -> str:
    """Try a way in an empty directory, and return its row."""
    if way in PAST_CHECK:
        cells = try_past_check(PAST_CHECK[way], directory)
    elif way in LIVE:
        team, gate = complete_with_live_wg(LIVE[way], directory)
        cells = (gate, team.audit(), *team.check())
    else:
        team = Team.within(directory)
        gate = {**WAYS, **HONEST}[way](team)
        if not team.is_complete():
            team.complete()
        cells = (gate, team.audit(), *team.check())
    return f"| {way} | {' | '.join(cells)} |"


def try_past_check(way: WayPastCheck, directory: Path) -> tuple[str, ...]:
    """Gate a task whose scenario, or whose manifest, was weakened, and return the cells."""
    top = directory / "project"
    way.act(ways_past_check.create_project(top))
    for name in ("bin", "home"):
        (directory / name).mkdir()
    program = directory / "bin/wg"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    variables = {"ISOSMOKE_WG": str(program)}
    team = Team(Project(top, directory / "state"), "task-a", variables)
    gate = team.gate()
    team.complete()
    return (gate, team.audit(), *format_checks(way.found, way.in_clone))


@pytest.mark.parametrize("way", ALL)
def test_way_is_refused_or_named_as_documented(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of the table has the verdict of the gate and the findings of audit and check."""
    available.require_engine("bubblewrap")
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "state"))

    row = make_row(way, tmp_path)

    assert row in PAGE.read_text().splitlines(), row


def test_table_has_no_other_rows_and_no_silent_one() -> None:
    """Each row is made by a test; only an honest one has an open gate and no finding."""
    match = TABLE.search(PAGE.read_text())
    assert match is not None
    rows = [line[2:-2].split(" | ") for line in match[0].splitlines()[2:]]

    assert [way for way, *_ in rows] == [*ALL]
    silent = {"OPEN", "clean", "not called", "not in the clone"}
    assert [way for way, *cells in rows if silent.issuperset(cells)] == [*HONEST, *LIVE]


def write_table() -> None:
    """Try all ways, and write the table in the documentation."""
    rows = [HEAD, f"|{'---|' * 5}"]
    for way in ALL:
        with TemporaryDirectory() as directory:
            os.environ["ISOSMOKE_STATE"] = f"{directory}/state"
            rows.append(make_row(way, Path(directory)))
            sys.stdout.write(f"{rows[-1]}\n")
            sys.stdout.flush()
    PAGE.write_text(TABLE.sub(lambda _: "\n".join(rows), PAGE.read_text()))


if __name__ == "__main__":
    write_table()
