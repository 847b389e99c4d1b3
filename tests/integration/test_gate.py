"""What the gate says: each case once, as a decision and through `python -m isosmoke gate`."""

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
from isosmoke.gate.gate_run import Ask
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Gate, Manifest
from isosmoke.manifest.parser import parse
from isosmoke.results.events import Event, RunFinished
from isosmoke.results.leaks import Verdict
from isosmoke.results.outcome import Broke, Exited, Outcome, Stopped, TimedOut
from isosmoke.results.run_results import Attempt, RunResult
from isosmoke.sandbox.processes import Process
from support import available, result_factories
from support.git_repositories import Git
from support.project import BAD, GOOD, SKIPS, Project

LEFT = Process(pid=7, ppid=1, argv=("wg", "daemon"), cwd="/", exe="/wg", age_seconds=1.0, state="S")

ATTEMPTS: Mapping[str, tuple[Attempt, ...]] = {
    "PASS": (Attempt(ending=Exited(0)),),
    "FLAKY": (Attempt(ending=Exited(1), alone=False), Attempt(ending=Exited(0))),
    "SKIP": (Attempt(ending=Exited(77)),),
    "FAIL": (Attempt(ending=Exited(3)),),
    "LEAK": (Attempt(ending=Exited(0), verdict=Verdict((LEFT,), ())),),
    "TIMEOUT": (Attempt(ending=TimedOut(5)),),
    "ERROR": (Attempt(ending=Exited(99)),),
    "BROKE": (Attempt(ending=Broke("the daemon is gone")),),
    "NOT_RUN": (Attempt(ending=Stopped("SIGINT")),),
}
"""How each outcome comes about; BROKE is an ERROR for which the engine is to blame."""

SHIPPED = parse(GOOD + BAD + SKIPS, Path("manifest.toml"))


def run(*outcomes: str, stopped: str = "") -> RunResult:
    """A run with these outcomes, in this order."""
    scenarios = tuple(
        result_factories.result(*ATTEMPTS[one], name=f"s{number}", assertion="It holds.")
        for number, one in enumerate(outcomes)
    )
    return result_factories.run(*scenarios, stopped=stopped)


@dataclass(frozen=True)
class Case:
    """Outcomes under a policy, and what is to come of them."""

    outcomes: tuple[str, ...]
    code: int
    words: tuple[str, ...]
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
    "engine broke beside a failure": Case(("FAIL", "BROKE"), 1, ("SHUT", "FAIL s0", "ERROR s1")),
    "not run": Case(("PASS", "NOT_RUN"), 1, ("SHUT", "NOT_RUN (1): s1")),
    "interrupted": Case(
        ("PASS", "NOT_RUN"), 1, ("SHUT", "interrupted by SIGINT"), stopped="SIGINT"
    ),
    "interrupted at its end": Case(("PASS",), 1, ("SHUT", "by SIGTERM"), stopped="SIGTERM"),
    "nothing": Case((), 1, ("SHUT", "no scenario was run")),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_verdict_of_each_case(case: Case) -> None:
    """Outcomes and policy alone decide, and the words say why."""
    verdict = decision.verdict(run(*case.outcomes, stopped=case.stopped), case.gate, task="fix-a")

    assert (verdict.exit_code, verdict.open) == (case.code, case.code == 0)
    assert verdict.lines[0].startswith(f"gate: {'OPEN' if verdict.open else 'SHUT'} for 'fix-a'")
    for words in case.words:
        assert words in "\n".join(verdict.lines)


@given(
    outcomes=st.lists(st.sampled_from(sorted(ATTEMPTS)), max_size=40),
    most=st.none() | st.integers(0, 3),
    stopped=st.sampled_from(["", "SIGINT"]),
)
def test_verdict_is_short_and_never_silent(
    outcomes: list[str], most: int | None, stopped: str
) -> None:
    """Whatever came out, 12 lines hold it with its receipt, and nothing that blocks gets by."""
    result = run(*outcomes, stopped=stopped)

    verdict = decision.verdict(result, Gate(max_skips=most), task="t")

    assert 1 <= len(verdict.lines) <= decision.MOST_LINES - 1
    assert not (verdict.open and (stopped or any(one.outcome.blocks for one in result.scenarios)))
    assert verdict.exit_code in ({0} if verdict.open else {1, 125})


@given(outcomes=st.lists(st.sampled_from(sorted(ATTEMPTS)), min_size=1, max_size=18))
def test_verdict_names_all_that_did_not_pass(outcomes: list[str]) -> None:
    """What is not shown in full is named, and the count is right."""
    result = run(*outcomes)

    text = "\n".join(decision.verdict(result, Gate(), task="t").lines)

    named = [one for one in result.scenarios if one.outcome is not Outcome.PASS]
    for one in named:
        assert one.name in text.replace(",", " ").replace(":", " ").split()


@given(
    outcomes=st.lists(st.sampled_from(sorted(ATTEMPTS)), min_size=1, max_size=40),
    warnings=st.lists(st.text(), max_size=20),
)
def test_warnings_of_a_run_are_in_its_verdict(outcomes: list[str], warnings: list[str]) -> None:
    """Each kind is a line, many are counted, the first broken is named, and it all stays short."""
    result = replace(run(*outcomes), warnings=tuple(warnings))

    lines = decision.verdict(result, Gate(), task="t").lines

    told = [line for line in lines if line.startswith("WARNING: ")]
    assert len(told) == min(len(warnings), 5)
    assert len(lines) <= decision.MOST_LINES - 1
    text = "\n".join(lines).replace(",", " ").replace(":", " ").split()
    broken = [one.name for one in result.scenarios if one.outcome.blocks]
    assert set(broken[:3]) <= set(text)


def test_verdict_shows_the_first_in_full_and_counts_the_others() -> None:
    """Of a hundred broken scenarios three are explained, twenty are named, all are counted."""
    verdict = decision.verdict(run(*["FAIL"] * 100), Gate(), task="t")

    assert verdict.lines[0].endswith("blocked by 100 of 100 scenarios: 100 FAIL")
    assert [line for line in verdict.lines if line.startswith("FAIL")] == [
        f"FAIL s{number}: exit 3" for number in range(3)
    ]
    assert "also broken (97): s3, s4" in verdict.lines[-1]
    assert verdict.lines[-1].endswith("s22 and 77 more")
    assert not verdict.whole


def test_what_is_left_behind_shuts_the_gate() -> None:
    """A run that left something is shut, and that is isosmoke's own trouble."""
    dirty = Attempt(ending=Exited(0), left_behind=("box (remove it: docker rm box)",))
    verdict = decision.verdict(
        result_factories.run(result_factories.result(dirty)), Gate(), task="t"
    )

    assert (verdict.open, verdict.exit_code) == (False, 125)
    assert "left behind: box (remove it: docker rm box)" in verdict.lines[0]


def test_verdict_repeats_a_scenario_as_the_caller_would() -> None:
    """The command line comes from whoever knows the options that were given."""
    verdict = decision.verdict(
        run("FAIL"), Gate(), task="t", repeat=lambda name: ("isosmoke", "run", "-m", "a b", name)
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
        ("nobody", True, ["good", "bad", "skips"]),
    ],
)
def test_chosen_are_what_the_task_owns(task: str, full: bool, names: list[str]) -> None:  # noqa: FBT001
    """An owner is exact but for blanks around it, as with wg; `full` asks nobody."""
    assert [one.name for one in decision.chosen(SHIPPED, task, full=full)] == names


def test_owners_are_trimmed_as_wg_trims_them() -> None:
    """Blanks around an owner in the manifest do not open a gate."""
    padded = parse(GOOD.replace('"task-a"', '" task-a "'), Path("m.toml"))

    assert [one.name for one in decision.chosen(padded, "task-a")] == ["good"]


@pytest.mark.parametrize("full", [True, False])
def test_an_empty_manifest_chooses_nothing_and_says_so(full: bool) -> None:  # noqa: FBT001
    """Nobody meant a gate without scenarios."""
    with pytest.raises(ManifestError, match="no scenarios"):
        decision.chosen(Manifest(path=Path("m.toml"), scenarios=()), "task-a", full=full)


def test_a_blank_task_is_refused() -> None:
    """A variable that is not set must not open the gate as a task that owns nothing."""
    with pytest.raises(UsageError, match="blank"):
        decision.chosen(SHIPPED, " ")


def test_unowned_is_open_and_loud_unless_the_manifest_refuses_it() -> None:
    """The policy decides about a task that owns nothing."""
    strict = SHIPPED.model_copy(update={"gate": Gate(unowned="refuse")})

    opened, shut = decision.unowned(SHIPPED, "t"), decision.unowned(strict, "t")

    assert (opened.open, opened.exit_code) == (True, 0)
    assert "WARNING" in opened.lines[-1]
    assert (shut.open, shut.exit_code) == (False, 1)
    assert "owners" in shut.lines[-1]


@pytest.mark.parametrize(
    ("environ", "granted"),
    [
        ({}, True),
        ({"WG_AGENT_ID": "agent-1"}, False),
        ({"WG_AGENT_ID": ""}, False),
        ({"WG_AGENT_ID": "agent-1", "WG_SMOKE_AGENT_OVERRIDE": "1"}, True),
        ({"WG_AGENT_ID": "agent-1", "WG_SMOKE_AGENT_OVERRIDE": "true"}, False),
        ({"WG_AGENT_ID": "agent-1", "WG_SMOKE_AGENT_OVERRIDE": ""}, False),
    ],
)
def test_bypass_follows_wgs_own_rule(environ: dict[str, str], granted: bool) -> None:  # noqa: FBT001
    """An agent is whoever has the variable, empty or not; only `1` overrides."""
    asked = decision.bypass(environ)

    verdict = decision.bypassed("t", asked)

    assert (asked.granted, verdict.open, verdict.exit_code) == (granted, granted, int(not granted))
    assert ("WARNING" in "\n".join(verdict.lines)) is granted


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ManifestError("m.toml: wrong", "mend it"), 2),
        (UsageError("no"), 2),
        (EngineUnavailableError("no bwrap", "install it"), 125),
        (IsosmokeError("the disk is full"), 125),
        (NothingSelectedError("nothing"), 1),
    ],
)
def test_refused_keeps_to_the_gates_exit_codes(error: IsosmokeError, code: int) -> None:
    """What could not be tried shuts the gate with 1, 2 or 125, in the error's own words."""
    verdict = decision.refused("t", error)

    assert (verdict.open, verdict.exit_code) == (False, code)
    assert error.message in verdict.lines
    assert not error.hint or f"try: {error.hint}" in verdict.lines


@given(st.text(), st.text())
def test_refused_is_short_whatever_was_wrong(message: str, hint: str) -> None:
    """A manifest of a hundred mistakes does not push the verdict out of sight."""
    verdict = decision.refused("t", ManifestError(message * 30, hint))

    assert len(verdict.lines) <= decision.MOST_LINES - 1
    assert all(line.replace("\t", " ").isprintable() for line in verdict.lines)


# From here on real processes in real sandboxes.


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project of three scenarios, of which one passes, one fails and one skips."""
    available.engine("bubblewrap")
    return Project.within(tmp_path)


@dataclass(frozen=True)
class Told:
    """A command line in a project with some changed files, and what it is to say."""

    words: tuple[str, ...]
    code: int
    said: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


AGENT = {"WG_AGENT_ID": "agent-1"}
NO_DOCKER = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}

ON_THE_COMMAND_LINE = {
    "passes": Told(("task-a",), 0, ("OPEN", "1 PASS", "receipt: ")),
    "fails": Told(
        ("task-b",), 1, ("FAIL bad: exit 3: broken", "It never breaks.", "isosmoke run bad")
    ),
    "leaks": Told(("task-a",), 1, ("LEAK good",), {"scenarios/good.sh": "sleep 60 &\n"}),
    "times out": Told(
        ("task-a",),
        1,
        ("TIMEOUT good",),
        {
            "scenarios/good.sh": "sleep 60\n",
            "manifest.toml": GOOD + "timeout_seconds = 1\ngrace_seconds = 0\n",
        },
    ),
    "breaks by itself": Told(("task-a",), 1, ("ERROR good",), {"scenarios/good.sh": "exit 99"}),
    "skips": Told(("task-c",), 0, ("OPEN", "WARNING", "SKIP skips: exit 77: no network")),
    "skips too much": Told(
        ("task-c",), 1, ("SHUT", "max_skips"), {"manifest.toml": SKIPS + "[gate]\nmax_skips = 0\n"}
    ),
    "owns nothing": Told(("task-z",), 0, ("OPEN", "owns none of the 3", "WARNING")),
    "owns nothing by a slip": Told(("tsk-b",), 0, ("OPEN", "did you mean 'task-b'?", "WARNING")),
    "owns nothing and must": Told(
        ("task-z",), 1, ("SHUT", "owners"), {"manifest.toml": GOOD + '[gate]\nunowned = "refuse"\n'}
    ),
    "all of them": Told(("task-z", "--full-smoke"), 1, ("SHUT", "3 scenarios", "FAIL bad", "SKIP")),
    "no manifest": Told(("task-a", "--manifest", "none.toml"), 2, ("SHUT", "none.toml")),
    "manifest that is a folder": Told(("task-a", "--manifest", "."), 2, ("SHUT", "directory")),
    "manifest that is no TOML": Told(("task-a",), 2, ("SHUT", ":1:"), {"manifest.toml": "= ["}),
    "empty manifest": Told(("task-a",), 2, ("SHUT", "no scenario"), {"manifest.toml": ""}),
    "empty manifest, all of them": Told(
        ("task-a", "--full-smoke"), 2, ("SHUT", "no scenario"), {"manifest.toml": ""}
    ),
    "blank task": Told(("",), 2, ("SHUT", "blank")),
    "dead engine": Told(("task-a", "--engine", "docker"), 125, ("SHUT", "nowhere"), {}, NO_DOCKER),
    "no such binary": Told(("task-a", "--binary", "no-wg"), 2, ("SHUT", "no-wg")),
    "human goes by": Told(("task-b", "--skip-smoke"), 0, ("OPEN", "WARNING", "a human")),
    "human goes by a broken manifest": Told(
        ("task-b", "--skip-smoke"), 0, ("OPEN", "WARNING"), {"manifest.toml": "= ["}
    ),
    "agent goes by": Told(("task-a", "--skip-smoke"), 1, ("SHUT", "agents cannot"), {}, AGENT),
    "nameless agent goes by": Told(
        ("task-a", "--skip-smoke"), 1, ("SHUT", "agents cannot"), {}, {"WG_AGENT_ID": ""}
    ),
    "agent is let by": Told(
        ("task-b", "--skip-smoke"),
        0,
        ("OPEN", "WARNING", "agent-1"),
        {},
        {**AGENT, "WG_SMOKE_AGENT_OVERRIDE": "1"},
    ),
}


@pytest.mark.parametrize("told", ON_THE_COMMAND_LINE.values(), ids=ON_THE_COMMAND_LINE)
def test_gate_on_the_command_line(told: Told, project: Project) -> None:
    """The exit code and the last twelve lines of stderr tell each case, and stdout stays empty."""
    for name, text in told.files.items():
        project.path(name).write_text(text)

    done = project.run("gate", *told.words, **told.environment)

    last = done.stderr.splitlines()[-decision.MOST_LINES :]
    assert done.returncode == told.code, done.stderr
    assert any(line.startswith("gate: ") for line in last)
    for words in told.said:
        assert words in "\n".join(last)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_many_broken_scenarios_fit_the_last_twelve_lines(project: Project) -> None:
    """The headline, the first ones in full, the names of the others and the receipt are there."""
    entries = [BAD.replace('"bad"', f'"bad{number}"') for number in range(8)]
    project.manifest.write_text("".join(entries))

    done = project.run("gate", "task-b", "-j", "4")

    last = done.stderr.splitlines()[-decision.MOST_LINES :]
    (headline,) = [at for at, line in enumerate(last) if line.startswith("gate: SHUT")]
    assert "8 of 8" in last[headline]
    assert "bad7" in "\n".join(last[headline:])
    assert last[-1].startswith("receipt: ")


def test_an_agent_is_told_tersely_without_being_asked(project: Project) -> None:
    """Where an agent is recognised, the verdict is all that is printed; `--report` overrules."""
    told = project.run("gate", "task-b", **AGENT)
    asked = project.run("gate", "task-b", "--report", "console", **AGENT)

    assert told.stderr.startswith("gate: SHUT")
    assert len(told.stderr.splitlines()) == 5
    assert asked.stderr.startswith("isosmoke · bubblewrap")


def test_an_agent_is_told_all_where_the_verdict_cannot(project: Project) -> None:
    """More broken scenarios than fit come first, one a line, each with how to repeat it."""
    entries = [BAD.replace('"bad"', f'"bad{number}"') for number in range(5)]
    project.manifest.write_text("".join(entries))

    lines = project.run("gate", "task-b", "-j", "4", **AGENT).stderr.splitlines()

    assert [line.split(":")[0] for line in lines[:5]] == [f"FAIL bad{n}" for n in range(5)]
    assert all("repeat: isosmoke run bad" in line for line in lines[:5])


def test_json_is_one_document_on_stdout(project: Project) -> None:
    """It holds the verdict, the run and where the receipt lies, also when nothing was run."""
    ran = json.loads(project.run("gate", "task-b", "--json").stdout)
    refused = json.loads(project.run("gate", "task-b", "--json", "--manifest", "no").stdout)

    assert (ran["open"], ran["exit_code"], ran["task"]) == (False, 1, "task-b")
    assert [one["outcome"] for one in ran["run"]["scenarios"]] == ["FAIL"]
    assert Path(ran["receipt"]).is_file()
    assert (refused["open"], refused["exit_code"], refused["run"]) == (False, 2, None)


def test_an_interrupted_gate_is_shut(project: Project) -> None:
    """SIGINT in the middle ends with exit 1, and nothing is left to run."""
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


def test_what_changes_during_the_run_shuts_the_gate(project: Project) -> None:
    """A pass says nothing of a file that is no longer the one that was read."""
    library = project.path("scenarios/lib.sh")
    caller = replace(Caller.here(), working=project.top, environment=project.environment())

    def change(event: Event) -> None:
        if isinstance(event, RunFinished):
            library.write_text("fine() { false; }\n")

    answer = gate_run.answer(Ask(task="task-a"), caller, notify=change, interrupt=Interrupt())

    assert answer.run is not None
    assert answer.run.counts == {"PASS": 1}
    assert not answer.verdict.open
    assert "changed (1): file scenarios/lib.sh changed" in answer.verdict.lines


def test_every_bypass_is_on_record(project: Project) -> None:
    """Who, when, where and for which task; a refused attempt is none."""
    Git(project.top)
    project.run("gate", "task-a", "--skip-smoke")
    project.run("gate", "task-b", "--skip-smoke", WG_SMOKE_AGENT_OVERRIDE="1", **AGENT)
    project.run("gate", "task-c", "--skip-smoke", **AGENT)

    lines = project.path(".isosmoke/bypasses.jsonl").read_text().splitlines()

    kept = [json.loads(line) for line in lines]
    assert [(one["task"], one["agent"]) for one in kept] == [
        ("task-a", None),
        ("task-b", "agent-1"),
    ]
    assert all(one["at"].endswith("Z") and one["folder"] == str(project.top) for one in kept)


def test_a_bypass_that_cannot_be_recorded_is_refused(project: Project) -> None:
    """Neither the project nor the state folder takes a record, so nobody goes by."""
    project.path(".isosmoke").write_text("in the way")
    project.state.write_text("in the way")

    done = project.run("gate", "task-a", "--skip-smoke")

    assert done.returncode == 125
    assert "no record can be kept" in done.stderr


def test_the_project_is_as_before_but_for_its_records(project: Project) -> None:
    """A gate changes nothing that git could see, and not the graph."""
    git = Git(project.top)
    graph = project.path(".wg/graph.jsonl")
    graph.parent.mkdir()
    graph.write_text('{"kind": "task", "id": "task-a"}\n')
    git("add", "--all")
    git("commit", "--quiet", "--message", "all of it")
    before = available.listing(graph.parent)

    project.run("gate", "task-a")

    assert git("status", "--porcelain") == ""
    assert available.listing(graph.parent) == before


def test_records_of_a_linked_work_tree_lie_in_the_main_one(project: Project) -> None:
    """An agent's work tree is removed when its task is done; what it showed must stay."""
    git = Git(project.top)
    git("add", "--all")
    git("commit", "--quiet", "--message", "all of it")
    linked = project.top.parent / "linked"
    git("worktree", "add", "--quiet", str(linked))

    done = Project(linked, project.state).run("gate", "task-a", ISOSMOKE_WG=str(project.binary))

    assert done.returncode == 0, done.stderr
    assert len(project.receipts()) == 1
