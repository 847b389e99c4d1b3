"""The gate: each case once as a decision, and once through `python -m isosmoke gate`."""

import json
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.errors import (
    EngineUnavailableError,
    IsosmokeError,
    ManifestError,
    NothingSelectedError,
    UsageError,
)
from isosmoke.gate import decision, gate_run
from isosmoke.gate.gate_run import GateRequest
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Gate, Manifest
from isosmoke.manifest.parser import parse
from isosmoke.results.events import Event, RunFinished
from isosmoke.results.leaks import LeakVerdict
from isosmoke.results.outcome import Broke, Exited, Outcome, Stopped, TimedOut
from isosmoke.results.records.finding import FindingsDocument, GateFinding
from isosmoke.results.run_results import Attempt, RunResult
from isosmoke.sandbox.survivors import Process
from support import available, result_factories
from support.git_repositories import Git
from support.project import BAD, GOOD, SKIPS, Project

LEFT = Process(pid=7, ppid=1, argv=("wg", "daemon"), cwd="/", exe="/wg", age_seconds=1.0, state="S")

ATTEMPTS: Mapping[str, tuple[Attempt, ...]] = {
    "PASS": (Attempt(ending=Exited(0)),),
    "FLAKY": (Attempt(ending=Exited(1), alone=False), Attempt(ending=Exited(0))),
    "SKIP": (Attempt(ending=Exited(77)),),
    "FAIL": (Attempt(ending=Exited(3)),),
    "LEAK": (Attempt(ending=Exited(0), verdict=LeakVerdict((LEFT,), ())),),
    "TIMEOUT": (Attempt(ending=TimedOut(5)),),
    "ERROR": (Attempt(ending=Exited(99)),),
    "BROKE": (Attempt(ending=Broke("the daemon is gone")),),
    "NOT_RUN": (Attempt(ending=Stopped("SIGINT")),),
}
"""The attempts that lead to each outcome; BROKE is an ERROR of the engine."""

SHIPPED = parse(GOOD + BAD + SKIPS, Path("manifest.toml"))


def create_run(*outcomes: str, stopped: str = "") -> RunResult:
    """Return a run with these outcomes, in this order."""
    scenarios = tuple(
        result_factories.make_result(*ATTEMPTS[outcome], name=f"s{number}", assertion="It holds.")
        for number, outcome in enumerate(outcomes)
    )
    return result_factories.make_run(*scenarios, stopped=stopped)


@dataclass(frozen=True)
class Case:
    """Outcomes under a policy, and the expected verdict."""

    outcomes: tuple[str, ...]
    code: int
    lines: tuple[str, ...]
    gate: Gate = field(default_factory=Gate)
    stopped: str = ""


NO_SKIPS = Gate(max_skips=0)

CASES = {
    "all pass": Case(("PASS", "PASS"), 0, ("OPEN", "2 scenarios: 2 PASS")),
    "flaky": Case(("PASS", "FLAKY"), 0, ("OPEN", "FLAKY (1): s1")),
    "some skipped": Case(("PASS", "SKIP"), 0, ("OPEN", "WARNING", "SKIP s1: exit 77")),
    "all skipped": Case(("SKIP", "SKIP"), 0, ("OPEN", "WARNING", "SKIP s0", "SKIP s1")),
    "skips within the policy": Case(("PASS", "SKIP"), 0, ("OPEN", "SKIP s1"), Gate(max_skips=1)),
    "skips beyond the policy": Case(("PASS", "SKIP"), 1, ("SHUT", "max_skips = 0"), NO_SKIPS),
    "policy without skips": Case(("PASS",), 0, ("OPEN",), NO_SKIPS),
    "fail": Case(("PASS", "FAIL"), 1, ("SHUT", "FAIL s1: exit 3", "isosmoke run s1")),
    "leak": Case(("LEAK",), 1, ("SHUT", "LEAK s0: left 1 process: wg daemon")),
    "timeout": Case(("TIMEOUT",), 1, ("SHUT", "TIMEOUT s0: still running after 5 s")),
    "hard error": Case(("ERROR",), 1, ("SHUT", "ERROR s0: exit 99")),
    "engine broke": Case(("PASS", "BROKE"), 125, ("SHUT", "ERROR s1: the daemon is gone")),
    "engine broke besides a failure": Case(("FAIL", "BROKE"), 1, ("SHUT", "FAIL s0", "ERROR s1")),
    "not run": Case(("PASS", "NOT_RUN"), 1, ("SHUT", "NOT_RUN (1): s1")),
    "interrupted": Case(
        ("PASS", "NOT_RUN"), 1, ("SHUT", "interrupted by SIGINT"), stopped="SIGINT"
    ),
    "interrupted at its end": Case(("PASS",), 1, ("SHUT", "by SIGTERM"), stopped="SIGTERM"),
    "nothing": Case((), 1, ("SHUT", "no scenario was run")),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_verdict_of_each_case(case: Case) -> None:
    """Only outcomes and policy decide, and the lines give the reason."""
    verdict = decision.judge_run(
        create_run(*case.outcomes, stopped=case.stopped), case.gate, task="fix-a"
    )

    assert (verdict.exit_code, verdict.open) == (case.code, case.code == 0)
    assert verdict.lines[0].startswith(f"gate: {'OPEN' if verdict.open else 'SHUT'} for 'fix-a'")
    for line in case.lines:
        assert line in "\n".join(verdict.lines)


@given(
    outcomes=st.lists(st.sampled_from(sorted(ATTEMPTS)), max_size=40),
    max_skips=st.none() | st.integers(0, 3),
    stopped=st.sampled_from(["", "SIGINT"]),
)
def test_verdict_fits_and_is_never_silent(
    outcomes: list[str], max_skips: int | None, stopped: str
) -> None:
    """With any outcomes, 12 lines are enough, and nothing that blocks is let through."""
    result = create_run(*outcomes, stopped=stopped)

    verdict = decision.judge_run(result, Gate(max_skips=max_skips), task="t")

    assert 1 <= len(verdict.lines) <= decision.MAX_LINES - 1
    assert not (
        verdict.open and (stopped or any(scenario.outcome.blocks for scenario in result.scenarios))
    )
    assert verdict.exit_code in ({0} if verdict.open else {1, 125})


@given(outcomes=st.lists(st.sampled_from(sorted(ATTEMPTS)), min_size=1, max_size=18))
def test_verdict_names_every_scenario_that_did_not_pass(outcomes: list[str]) -> None:
    """A scenario that is not explained is named."""
    result = create_run(*outcomes)

    text = "\n".join(decision.judge_run(result, Gate(), task="t").lines)

    named = [scenario for scenario in result.scenarios if scenario.outcome is not Outcome.PASS]
    for scenario in named:
        assert scenario.name in text.replace(",", " ").replace(":", " ").split()


@given(
    outcomes=st.lists(st.sampled_from(sorted(ATTEMPTS)), min_size=1, max_size=40),
    warnings=st.lists(st.text(), max_size=20),
)
def test_warnings_of_a_run_are_in_its_verdict(outcomes: list[str], warnings: list[str]) -> None:
    """Further warnings are counted, the first failures are named, and the verdict stays short."""
    result = replace(create_run(*outcomes), warnings=tuple(warnings))

    lines = decision.judge_run(result, Gate(), task="t").lines

    warning_lines = [line for line in lines if line.startswith("WARNING: ")]
    assert len(warning_lines) == min(len(warnings), 5)
    assert len(lines) <= decision.MAX_LINES - 1
    text = "\n".join(lines).replace(",", " ").replace(":", " ").split()
    broken = [scenario.name for scenario in result.scenarios if scenario.outcome.blocks]
    assert set(broken[:3]) <= set(text)


@pytest.mark.parametrize("outcomes", [["PASS"], ["FAIL"] * 100])
def test_findings_are_in_the_first_line_and_change_no_verdict(outcomes: list[str]) -> None:
    """The first loss and the first note are shown, and no line of the verdict is displaced."""
    places = ("a/m.toml", "b/m.toml")
    findings = [
        GateFinding(kind="manifest-untracked", place=place, message="git does not track it")
        for place in places
    ]
    plain = decision.judge_run(create_run(*outcomes), Gate(), task="t")

    verdict = decision.add_findings(plain, FindingsDocument.collect(findings, findings[:1]))

    loss = "LOSS: a/m.toml: git does not track it (+1 more)"
    assert verdict.lines[0] == f"{plain.lines[0]}; {loss}; note: a/m.toml: git does not track it"
    assert verdict.lines[1:] == plain.lines[1:]
    assert (verdict.open, verdict.exit_code) == (plain.open, plain.exit_code)
    assert decision.add_findings(plain, FindingsDocument()) == plain


def test_verdict_explains_first_failures_and_counts_the_others() -> None:
    """Of a hundred failures three are explained, twenty are named, and all are counted."""
    verdict = decision.judge_run(create_run(*["FAIL"] * 100), Gate(), task="t")

    assert verdict.lines[0].endswith("blocked by 100 of 100 scenarios: 100 FAIL")
    assert [line for line in verdict.lines if line.startswith("FAIL")] == [
        f"FAIL s{number}: exit 3" for number in range(3)
    ]
    assert "also blocking (97): s3, s4" in verdict.lines[-1]
    assert verdict.lines[-1].endswith("s22 and 77 more")
    assert not verdict.is_complete


def test_leftover_shuts_the_gate() -> None:
    """A run that was not cleaned up is an error of isosmoke, with exit code 125."""
    dirty = Attempt(ending=Exited(0), leftovers=("box (remove it: docker rm box)",))
    verdict = decision.judge_run(
        result_factories.make_run(result_factories.make_result(dirty)), Gate(), task="t"
    )

    assert (verdict.open, verdict.exit_code) == (False, 125)
    assert "not cleaned up: box (remove it: docker rm box)" in verdict.lines[0]


def test_verdict_has_repeat_command_of_caller() -> None:
    """The caller's options are part of the command."""
    verdict = decision.judge_run(
        create_run("FAIL"),
        Gate(),
        task="t",
        repeat=lambda name: ("isosmoke", "run", "-m", "a b", name),
    )

    assert "  repeat   isosmoke run -m 'a b' s0" in verdict.lines


@pytest.mark.parametrize(
    ("task", "full", "names"),
    [
        ("task-a", False, ["good"]),
        (" task-a\n", False, ["good"]),
        ("task", False, []),
        ("TASK-A", False, []),
        ("task-a", True, ["good", "bad", "skips"]),
        ("no-such-task", True, ["good", "bad", "skips"]),
    ],
)
def test_scenarios_of_the_task_are_selected(task: str, full: bool, names: list[str]) -> None:  # noqa: FBT001
    """An owner matches exactly, except for surrounding blanks; `full` selects all scenarios."""
    scenarios = decision.select_scenarios(SHIPPED, task, full=full)
    assert [scenario.name for scenario in scenarios] == names


def test_owners_are_stripped_as_in_wg() -> None:
    """Blanks around an owner in the manifest do not open a gate."""
    padded = parse(GOOD.replace('"task-a"', '" task-a "'), Path("m.toml"))

    (scenario,) = decision.select_scenarios(padded, "task-a")
    assert scenario.name == "good"


@pytest.mark.parametrize("full", [True, False])
def test_empty_manifest_is_an_error(full: bool) -> None:  # noqa: FBT001
    """A gate needs scenarios."""
    with pytest.raises(ManifestError, match="no scenarios"):
        decision.select_scenarios(Manifest(path=Path("m.toml"), scenarios=()), "task-a", full=full)


def test_blank_task_is_refused() -> None:
    """An unset variable must not open the gate as a task without scenarios."""
    with pytest.raises(UsageError, match="blank"):
        decision.select_scenarios(SHIPPED, " ")


def test_unowned_task_is_open_with_a_warning_or_refused() -> None:
    """The manifest's policy decides about a task without scenarios."""
    strict = replace(SHIPPED, gate=Gate(unowned="refuse"))

    opened, shut = decision.judge_unowned(SHIPPED, "t"), decision.judge_unowned(strict, "t")

    assert (opened.open, opened.exit_code) == (True, 0)
    assert "WARNING" in opened.lines[-1]
    assert (shut.open, shut.exit_code) == (False, 1)
    assert "owners" in shut.lines[-1]


@pytest.mark.parametrize(
    ("environ", "is_granted"),
    [
        ({}, True),
        ({"WG_AGENT_ID": "agent-1"}, False),
        ({"WG_AGENT_ID": ""}, False),
        ({"WG_AGENT_ID": "agent-1", "WG_SMOKE_AGENT_OVERRIDE": "1"}, True),
        ({"WG_AGENT_ID": "agent-1", "WG_SMOKE_AGENT_OVERRIDE": "true"}, False),
        ({"WG_AGENT_ID": "agent-1", "WG_SMOKE_AGENT_OVERRIDE": ""}, False),
    ],
)
def test_bypass_follows_the_rule_of_wg(environ: dict[str, str], is_granted: bool) -> None:  # noqa: FBT001
    """The variable marks an agent even if it is empty, and only `1` overrides."""
    request = decision.parse_bypass_request(environ)

    verdict = decision.judge_bypass("t", request)

    assert (request.is_granted, verdict.open, verdict.exit_code) == (
        is_granted,
        is_granted,
        int(not is_granted),
    )
    assert ("WARNING" in "\n".join(verdict.lines)) is is_granted


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ManifestError("m.toml: wrong", "fix it"), 2),
        (UsageError("no"), 2),
        (EngineUnavailableError("no bwrap", "install it"), 125),
        (IsosmokeError("the disk is full"), 125),
        (NothingSelectedError("nothing"), 1),
    ],
)
def test_refused_has_an_exit_code_of_the_gate(error: IsosmokeError, code: int) -> None:
    """An error shuts the gate with 1, 2 or 125, and with its own message."""
    verdict = decision.judge_error("t", error)

    assert (verdict.open, verdict.exit_code) == (False, code)
    assert error.message in verdict.lines
    assert not error.hint or f"try: {error.hint}" in verdict.lines


@given(st.text(), st.text())
def test_refused_fits_with_any_message(message: str, hint: str) -> None:
    """A manifest with a hundred mistakes does not hide the verdict."""
    verdict = decision.judge_error("t", ManifestError(message * 30, hint))

    assert len(verdict.lines) <= decision.MAX_LINES - 1
    assert all(line.replace("\t", " ").isprintable() for line in verdict.lines)


# The tests below run real processes in real sandboxes.


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project of three scenarios: one passes, one fails and one skips."""
    available.require_engine("bubblewrap")
    return Project.within(tmp_path)


@dataclass(frozen=True)
class CommandCase:
    """A command line in a project with changed files, and its expected output."""

    arguments: tuple[str, ...]
    code: int
    output: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


AGENT = {"WG_AGENT_ID": "agent-1"}
NO_DOCKER = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}

ON_THE_COMMAND_LINE = {
    "passes": CommandCase(("task-a",), 0, ("OPEN", "1 PASS", "receipt: ")),
    "fails": CommandCase(
        ("task-b",), 1, ("FAIL bad: exit 3: broken", "It never breaks.", "isosmoke run bad")
    ),
    "leaks": CommandCase(("task-a",), 1, ("LEAK good",), {"scenarios/good.sh": "sleep 60 &\n"}),
    "times out": CommandCase(
        ("task-a",),
        1,
        ("TIMEOUT good",),
        {
            "scenarios/good.sh": "sleep 60\n",
            "manifest.toml": GOOD + "timeout_seconds = 1\ngrace_seconds = 0\n",
        },
    ),
    "hard error": CommandCase(("task-a",), 1, ("ERROR good",), {"scenarios/good.sh": "exit 99"}),
    "skips": CommandCase(("task-c",), 0, ("OPEN", "WARNING", "SKIP skips: exit 77: no network")),
    "skips too much": CommandCase(
        ("task-c",), 1, ("SHUT", "max_skips"), {"manifest.toml": SKIPS + "[gate]\nmax_skips = 0\n"}
    ),
    "owns nothing": CommandCase(("task-z",), 0, ("OPEN", "owns none of the 3", "WARNING")),
    "owns nothing by a typo": CommandCase(
        ("tsk-b",), 0, ("OPEN", "did you mean 'task-b'?", "WARNING")
    ),
    "owns nothing but must": CommandCase(
        ("task-z",), 1, ("SHUT", "owners"), {"manifest.toml": GOOD + '[gate]\nunowned = "refuse"\n'}
    ),
    "all of them": CommandCase(
        ("task-z", "--full-smoke"), 1, ("SHUT", "3 scenarios", "FAIL bad", "SKIP")
    ),
    "no manifest": CommandCase(("task-a", "--manifest", "none.toml"), 2, ("SHUT", "none.toml")),
    "manifest that is a directory": CommandCase(
        ("task-a", "--manifest", "."), 2, ("SHUT", "directory")
    ),
    "manifest that is no TOML": CommandCase(
        ("task-a",), 2, ("SHUT", ":1:"), {"manifest.toml": "= ["}
    ),
    "empty manifest": CommandCase(("task-a",), 2, ("SHUT", "no scenario"), {"manifest.toml": ""}),
    "empty manifest, all of them": CommandCase(
        ("task-a", "--full-smoke"), 2, ("SHUT", "no scenario"), {"manifest.toml": ""}
    ),
    "blank task": CommandCase(("",), 2, ("SHUT", "blank")),
    "dead engine": CommandCase(
        ("task-a", "--engine", "docker"), 125, ("SHUT", "nowhere"), {}, NO_DOCKER
    ),
    "no such binary": CommandCase(("task-a", "--binary", "no-wg"), 2, ("SHUT", "no-wg")),
    "human bypasses": CommandCase(("task-b", "--skip-smoke"), 0, ("OPEN", "WARNING", "a human")),
    "human bypasses a broken manifest": CommandCase(
        ("task-b", "--skip-smoke"), 0, ("OPEN", "WARNING"), {"manifest.toml": "= ["}
    ),
    "agent bypasses": CommandCase(
        ("task-a", "--skip-smoke"), 1, ("SHUT", "agents cannot"), {}, AGENT
    ),
    "nameless agent bypasses": CommandCase(
        ("task-a", "--skip-smoke"), 1, ("SHUT", "agents cannot"), {}, {"WG_AGENT_ID": ""}
    ),
    "agent bypasses with override": CommandCase(
        ("task-b", "--skip-smoke"),
        0,
        ("OPEN", "WARNING", "agent-1"),
        {},
        {**AGENT, "WG_SMOKE_AGENT_OVERRIDE": "1"},
    ),
}


@pytest.mark.parametrize("case", ON_THE_COMMAND_LINE.values(), ids=ON_THE_COMMAND_LINE)
def test_gate_on_the_command_line(case: CommandCase, project: Project) -> None:
    """The exit code and the last twelve lines of stderr identify each case; stdout is empty."""
    for name, text in case.files.items():
        project.path(name).write_text(text)

    done = project.run("gate", *case.arguments, **case.environment)

    last = done.stderr.splitlines()[-decision.MAX_LINES :]
    assert done.returncode == case.code, done.stderr
    assert any(line.startswith("gate: ") for line in last)
    for text in case.output:
        assert text in "\n".join(last)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_many_failures_fit_the_last_twelve_lines(project: Project) -> None:
    """They have the headline, the first failures, the names of the others and the receipt."""
    entries = [BAD.replace('"bad"', f'"bad{number}"') for number in range(8)]
    project.manifest.write_text("".join(entries))

    done = project.run("gate", "task-b", "-j", "4")

    last = done.stderr.splitlines()[-decision.MAX_LINES :]
    (headline,) = [at for at, line in enumerate(last) if line.startswith("gate: SHUT")]
    assert "8 of 8" in last[headline]
    assert "bad7" in "\n".join(last[headline:])
    assert last[-1].startswith("receipt: ")


def test_agent_gets_only_the_verdict(project: Project) -> None:
    """This is the default for a recognised agent; `--report` overrides it."""
    default = project.run("gate", "task-b", **AGENT)
    explicit = project.run("gate", "task-b", "--report", "console", **AGENT)

    assert default.stderr.startswith("gate: SHUT")
    assert len(default.stderr.splitlines()) == 5
    assert explicit.stderr.startswith("isosmoke · bubblewrap")


def test_agent_gets_all_failures_before_a_partial_verdict(project: Project) -> None:
    """Each failure is one line with its repeat command."""
    entries = [BAD.replace('"bad"', f'"bad{number}"') for number in range(5)]
    project.manifest.write_text("".join(entries))

    lines = project.run("gate", "task-b", "-j", "4", **AGENT).stderr.splitlines()

    assert [line.split(":")[0] for line in lines[:5]] == [f"FAIL bad{n}" for n in range(5)]
    assert all("repeat: isosmoke run bad" in line for line in lines[:5])


def test_json_is_one_document_on_stdout(project: Project) -> None:
    """It has the verdict, the run and the path of the receipt, also if nothing was run."""
    ran = json.loads(project.run("gate", "task-b", "--json").stdout)
    refused = json.loads(project.run("gate", "task-b", "--json", "--manifest", "no").stdout)

    assert (ran["open"], ran["exit_code"], ran["task"]) == (False, 1, "task-b")
    assert [scenario["outcome"] for scenario in ran["run"]["scenarios"]] == ["FAIL"]
    assert Path(ran["receipt"]).is_file()
    assert (refused["open"], refused["exit_code"], refused["run"]) == (False, 2, None)


def test_interrupted_gate_is_shut(project: Project) -> None:
    """SIGINT during a run ends the gate with exit code 1."""
    project.path("scenarios/good.sh").write_text("sleep 60\n")
    process = subprocess.Popen(
        project.command("gate", "task-a", "--report", "console"),
        cwd=project.top,
        env=project.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while not process.stderr.readline().startswith("isosmoke"):
        pass

    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()

    assert process.returncode == 1
    assert "gate: SHUT for 'task-a': interrupted by SIGINT" in stderr
    assert "NOT_RUN (1): good" in stderr


def test_change_during_the_run_shuts_the_gate(project: Project) -> None:
    """A pass proves nothing about a file that has changed since it was read."""
    library = project.path("scenarios/lib.sh")
    caller = replace(Caller.current(), working=project.top, environment=project.environment())

    def change(event: Event) -> None:
        if isinstance(event, RunFinished):
            library.write_text("fine() { false; }\n")

    answer = gate_run.run_gate(
        GateRequest(task="task-a"), caller, notify=change, interrupt=Interrupt()
    )

    assert answer.run is not None
    assert answer.run.counts == {"PASS": 1}
    assert not answer.verdict.open
    assert "changed (1): file scenarios/lib.sh changed" in answer.verdict.lines


def test_every_bypass_is_recorded(project: Project) -> None:
    """The record has the agent, time, directory and task; a refused attempt is not recorded."""
    Git(project.top)
    project.run("gate", "task-a", "--skip-smoke")
    project.run("gate", "task-b", "--skip-smoke", WG_SMOKE_AGENT_OVERRIDE="1", **AGENT)
    project.run("gate", "task-c", "--skip-smoke", **AGENT)

    lines = project.path(".isosmoke/bypasses.jsonl").read_text().splitlines()

    records = [json.loads(line) for line in lines]
    assert [(record["task"], record["agent"]) for record in records] == [
        ("task-a", None),
        ("task-b", "agent-1"),
    ]
    assert all(record["at"].endswith("Z") for record in records)
    assert {record["folder"] for record in records} == {str(project.top)}


def test_bypass_that_cannot_be_recorded_is_refused(project: Project) -> None:
    """Neither the project nor the state directory is writable."""
    project.path(".isosmoke").write_text("in the way")
    project.state.write_text("in the way")

    done = project.run("gate", "task-a", "--skip-smoke")

    assert done.returncode == 125
    assert "no record can be saved" in done.stderr


def test_gate_changes_only_its_records(project: Project) -> None:
    """The gate changes neither the graph nor any file that Git tracks."""
    git = Git(project.top)
    graph = project.path(".wg/graph.jsonl")
    graph.parent.mkdir()
    graph.write_text('{"kind": "task", "id": "task-a"}\n')
    git("add", "--all")
    git("commit", "--quiet", "--message", "all of it")
    before = available.snapshot(graph.parent)

    project.run("gate", "task-a")

    assert git("status", "--porcelain") == ""
    assert available.snapshot(graph.parent) == before


def test_records_of_linked_work_tree_are_in_the_main_one(project: Project) -> None:
    """An agent's work tree is removed when its task is done, but its receipt must remain."""
    git = Git(project.top)
    git("add", "--all")
    git("commit", "--quiet", "--message", "all of it")
    linked = project.top.parent / "linked"
    git("worktree", "add", "--quiet", str(linked))

    done = Project(linked, project.state).run("gate", "task-a", ISOSMOKE_WG=str(project.binary))

    assert done.returncode == 0, done.stderr
    assert len(project.receipts()) == 1
