"""Records as the tests of reports need them: every outcome, and text that means no good."""

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from isosmoke.results import run_record
from isosmoke.results.evidence import Change, Evidence, Pane
from isosmoke.results.leaks import Tolerated, Verdict
from isosmoke.results.outcome import Broke, Exited, Stopped, TimedOut, Unmet
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt, Captured, ScenarioResult
from isosmoke.sandbox.processes import Process, Usage
from support import result_factories

LOG = Path("/p/.isosmoke/runs/1/bad/output-1.log")


def words(text: str) -> Captured:
    """An output that is short enough to be kept whole."""
    content = text.encode(errors="surrogatepass")
    return Captured(head=content, size=len(content))


def left(*argv: str) -> Process:
    """A process that outlived its scenario."""
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


def failed(name: str = "bad", **others: Any) -> ScenarioResult:
    """A scenario that failed with all that a failure can have."""
    attempt = Attempt(
        ending=Exited(3),
        verdict=Verdict((left("serve", "a b"),), (Tolerated(left("tmux"), "Known."),)),
        output=words("fine\nbroken\n"),
        stderr=words("broken\n"),
        log=LOG,
        phases={"create": 0.25, "start": 0.05, "run": 1.0, "settle": 0.2, "destroy": 0.1},
        begun=0.5,
    )
    asked = {"assertion": "It never breaks.", "owners": ("task-b",), **others}
    return result_factories.result(attempt, name=name, **asked)


def evidence(text: str) -> Evidence:
    """All that evidence can have, every word of it `text`."""
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


def passed(name: str = "good", **others: Any) -> ScenarioResult:
    """A scenario that passed at once."""
    attempt = Attempt(
        ending=Exited(0), output=words("fine\n"), phases={"create": 0.25, "run": 1.0}, begun=0.125
    )
    return result_factories.result(attempt, name=name, **others)


def every_outcome() -> tuple[ScenarioResult, ...]:
    """One scenario of each outcome, PASS first, in the order of the table."""
    crowded = Attempt(ending=Exited(1), alone=False, output=words("no\n"), phases={"run": 1.0})
    leak = Attempt(ending=Exited(0), verdict=Verdict((left("serve", "a b"),)))
    return (
        passed(),
        result_factories.result(crowded, Attempt(ending=Exited(0), begun=2.0), name="flaky"),
        result_factories.result(Attempt(ending=Unmet("no tmux")), name="skipped"),
        result_factories.result(leak, name="leaky"),
        failed(),
        result_factories.result(
            Attempt(ending=TimedOut(30)), Attempt(ending=TimedOut(30)), name="slow"
        ),
        result_factories.result(Attempt(ending=Broke("no daemon")), name="broke"),
        result_factories.result(Attempt(ending=Stopped("SIGINT")), name="never"),
    )


def of(*scenarios: ScenarioResult, **others: Any) -> RunRecord:
    """The record of a run of these scenarios."""
    return run_record.of(result_factories.run(*scenarios, **others))


def dirty() -> RunRecord:
    """A run in which all passed, and something could not be proved to be gone."""
    left = Attempt(ending=Exited(0), left_behind=("box (remove it: docker rm box)",))
    return of(result_factories.result(left))


HOSTILE = (
    "\x1b[2J\0\x07\x08\r\x85\u2028\u202e\u2066\ufffe\uffff\ufdd0 ]]> <b onclick='x' \"> &amp; &#0;"
    " </pre></code></style><script>alert(1)</script> `` ``` ```` <!-- --> ::error::x %0A \U0001f600"
)


def hostile(text: str) -> ScenarioResult:
    """A scenario of which every free word is `text`."""
    verdict = Verdict((left(text),), (Tolerated(left(text), text),))
    first = Attempt(
        ending=Exited(1),
        verdict=verdict,
        output=words(text),
        stderr=words(text),
        log=Path("/logs") / text.replace("/", "").replace("\0", ""),
        evidence=evidence(text),
        left_behind=(text,),
    )
    second = Attempt(ending=Broke(text), output=words(text))
    entry = text.encode(errors="replace").decode().replace("\0", "")  # TOML is UTF-8
    asked = {"assertion": entry, "owners": (f"x{entry}",), "description": entry}
    return result_factories.result(first, second, name="odd", **asked)


def hostile_run(text: str) -> RunRecord:
    """A run in which every free word is `text`, that of the machine included."""
    odd, clean = (
        Path("/p") / (text.replace("\0", "") or "x"),
        text.encode(errors="replace").decode(),
    )
    return of(
        hostile(text),
        binary=(odd, "0" * 64),
        manifest=odd,
        record=odd,
        host=text,
        engine=clean,
        stopped=clean,
        working=Path("/p"),
    )


ANY_TEXT = st.text(st.characters(codec=None)) | st.text("<>&'\"`[]|%:,\0\x1b\ufffe\udcff\n\r]")
"""Text of any character at all, lone surrogates too, with those that steer more often."""
