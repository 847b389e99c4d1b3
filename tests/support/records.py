"""Records for tests of reports: every outcome, and malicious text."""

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from isosmoke.host.git import RepositoryState
from isosmoke.manifest.models import Leaks
from isosmoke.results.evidence import Change, Evidence, Pane
from isosmoke.results.leaks import LeakVerdict, Tolerated
from isosmoke.results.outcome import Broke, Exited, MissingRequirement, Stopped, TimedOut
from isosmoke.results.records import creation
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt, CapturedOutput, ScenarioResult
from isosmoke.sandbox.survivors import Process, Usage
from support import result_factories

LOG = Path("/p/.isosmoke/runs/1/bad/output-1.log")


def make_output(text: str) -> CapturedOutput:
    """Return an output that is short enough to be kept whole."""
    content = text.encode(errors="surrogatepass")
    return CapturedOutput(head=content, size=len(content))


def make_process(*argv: str) -> Process:
    """Return a process that outlived its scenario."""
    return Process(
        pid=7,
        ppid=1,
        argv=argv,
        cwd="/work",
        exe="/bin/x",
        age_seconds=2.04,
        state="S",
        listens=("tcp 127.0.0.1:80",),
    )


def make_failed(name: str = "bad", **others: Any) -> ScenarioResult:
    """Return a failed scenario with every detail that a failure can have."""
    attempt = Attempt(
        ending=Exited(3),
        verdict=LeakVerdict(
            (make_process("serve", "a b"),), (Tolerated(make_process("tmux"), "Known."),)
        ),
        output=make_output("fine\nbroken\n"),
        stderr=make_output("broken\n"),
        log=LOG,
        phases={"create": 0.25, "start": 0.05, "run": 1.0, "settle": 0.2, "destroy": 0.1},
        begun=0.5,
    )
    entry = {"assertion": "It never breaks.", "owners": ("task-b",), **others}
    return result_factories.make_result(attempt, name=name, **entry)


def evidence(text: str) -> Evidence:
    """Return complete evidence in which every text is `text`."""
    return Evidence(
        changes=(
            Change(path=text, change="added", kind="file", size=1, text=text, before=1),
            Change(path=text, change="changed", kind="link", text=text),
        ),
        changes_left_out=3,
        panes=(Pane(server=text, name=text, pid=9, lines=(text,)),),
        usage=Usage(1.5, 0.25, 4_200_000),
        peaks={"memory": 12_345_678, "processes": 4},
        missing=(text,),
    )


def make_passed(name: str = "good", **others: Any) -> ScenarioResult:
    """Return a scenario that passed on the first attempt."""
    attempt = Attempt(
        ending=Exited(0),
        output=make_output("fine\n"),
        phases={"create": 0.25, "run": 1.0},
        begun=0.125,
    )
    return result_factories.make_result(attempt, name=name, **others)


def make_every_outcome() -> tuple[ScenarioResult, ...]:
    """Return one scenario of each outcome, PASS first, in the order of the table."""
    crowded = Attempt(
        ending=Exited(1), alone=False, output=make_output("no\n"), phases={"run": 1.0}
    )
    leak = Attempt(ending=Exited(0), verdict=LeakVerdict((make_process("serve", "a b"),)))
    return (
        make_passed(),
        result_factories.make_result(crowded, Attempt(ending=Exited(0), begun=2.0), name="flaky"),
        result_factories.make_result(Attempt(ending=MissingRequirement("no tmux")), name="skipped"),
        result_factories.make_result(leak, name="leaky"),
        make_failed(),
        result_factories.make_result(
            Attempt(ending=TimedOut(30)), Attempt(ending=TimedOut(30)), name="slow"
        ),
        result_factories.make_result(Attempt(ending=Broke("no daemon")), name="broke"),
        result_factories.make_result(Attempt(ending=Stopped("SIGINT")), name="never"),
    )


def make_reported_leak(name: str = "reported") -> ScenarioResult:
    """Return a scenario that passed, although a process outlived it, as its entry permits."""
    attempt = Attempt(
        ending=Exited(0), verdict=LeakVerdict((make_process("serve"),)), leak_blocks=False
    )
    return result_factories.make_result(attempt, name=name, leaks=Leaks(policy="report"))


def make_record(*scenarios: ScenarioResult, **others: Any) -> RunRecord:
    """Return the record of a run of these scenarios."""
    return creation.record_run(result_factories.make_run(*scenarios, **others))


def make_dirty_record() -> RunRecord:
    """Return a run in which all passed, and whose cleanup could not be verified."""
    attempt = Attempt(ending=Exited(0), leftovers=("box (remove it: docker rm box)",))
    return make_record(result_factories.make_result(attempt))


HOSTILE = (
    "\x1b[2J\0\x07\x08\r\x85\u2028\u202e\u2066\ufffe\uffff\ufdd0 ]]> <b onclick='x' \"> &amp; &#0;"
    " </pre></code></style><script>alert(1)</script> `` ``` ```` <!-- --> ::error::x %0A \U0001f600"
)


def make_hostile(text: str) -> ScenarioResult:
    """Return a scenario in which every free text is `text`."""
    verdict = LeakVerdict((make_process(text),), (Tolerated(make_process(text), text),))
    first = Attempt(
        ending=Exited(1),
        verdict=verdict,
        output=make_output(text),
        stderr=make_output(text),
        log=Path("/logs") / text.replace("/", "").replace("\0", ""),
        evidence=evidence(text),
        leftovers=(text,),
    )
    second = Attempt(ending=Broke(text), output=make_output(text))
    entry = text.encode(errors="replace").decode().replace("\0", "")  # TOML is UTF-8
    keys = {"assertion": entry, "owners": (f"x{entry}",), "description": entry}
    return result_factories.make_result(first, second, name="odd", **keys)


def make_hostile_record(text: str) -> RunRecord:
    """Return a run in which every free text is `text`, including that of the host."""
    odd, clean = (
        Path("/p") / (text.replace("\0", "") or "x"),
        text.encode(errors="replace").decode(),
    )
    return make_record(
        make_hostile(text),
        binary=(odd, "0" * 64),
        binary_version=text,
        repository=RepositoryState(commit="0" * 40, branch=text, dirty=True),
        manifest=odd,
        record=odd,
        host=text,
        engine=clean,
        stopped=clean,
        working=Path("/p"),
    )


ANY_TEXT = st.text(st.characters(codec=None)) | st.text("<>&'\"`[]|%:,\0\x1b\ufffe\udcff\n\r]")
"""Text of arbitrary characters, lone surrogates included; control and markup are more frequent."""
