"""The record of a run."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke import __version__
from isosmoke.results.evidence import Change, Evidence, Pane
from isosmoke.results.leaks import LeakVerdict, Tolerated
from isosmoke.results.machine_load import Doubt, Load
from isosmoke.results.outcome import (
    Broke,
    Ending,
    Exited,
    MissingRequirement,
    Outcome,
    Signaled,
    Stopped,
    TimedOut,
)
from isosmoke.results.records import creation
from isosmoke.results.records.record_base import render_json
from isosmoke.results.run_results import Attempt, CapturedOutput, RunResult
from isosmoke.sandbox.survivors import Process, Usage
from support import result_factories

SERVER = Process(
    pid=7,
    ppid=1,
    argv=("serve", "--port", "80"),
    cwd="/work",
    exe="/bin/serve",
    age_seconds=1.5,
    state="S",
    listens=("tcp 127.0.0.1:80",),
)

SERVER_DOCUMENT = {
    "pid": 7,
    "ppid": 1,
    "argv": ["serve", "--port", "80"],
    "cwd": "/work",
    "exe": "/bin/serve",
    "age_seconds": 1.5,
    "state": "S",
    "listens": ["tcp 127.0.0.1:80"],
}

EVIDENCE = Evidence(
    changes=(
        Change(path="/p/.git", change="changed", kind="folder", size=9, within=2),
        Change(path="/p/a.log", change="added", kind="file", size=7, text="end\n", before=3),
    ),
    changes_left_out=5,
    panes=(Pane(server="/run/t", name="main:0.1", pid=9, lines=("$ wg", "up")),),
    usage=Usage(1.5, 0.25, 4096),
    peaks={"memory": 8192},
    missing=("/run: it was in memory",),
)

EVIDENCE_DOCUMENT = {
    "changes": [
        {
            "path": "/p/.git",
            "change": "changed",
            "kind": "folder",
            "size": 9,
            "text": None,
            "before": 0,
            "within": 2,
        },
        {
            "path": "/p/a.log",
            "change": "added",
            "kind": "file",
            "size": 7,
            "text": "end\n",
            "before": 3,
            "within": 0,
        },
    ],
    "changes_left_out": 5,
    "panes": [{"server": "/run/t", "name": "main:0.1", "pid": 9, "lines": ["$ wg", "up"]}],
    "usage": {"user_seconds": 1.5, "system_seconds": 0.25, "largest": 4096},
    "peaks": {"memory": 8192},
    "missing": ["/run: it was in memory"],
}


def read_document(run: RunResult) -> Any:
    """Return the parsed JSON document of a run."""
    text = render_json(creation.record_run(run))
    assert text.endswith("}\n")
    return json.loads(text)


def test_document_of_a_run_is_exactly_the_published_one() -> None:
    """Each field of a run, scenario, attempt and process has its published name and value."""
    crowded = Attempt(
        ending=Exited(1),
        verdict=LeakVerdict((SERVER,), (Tolerated(SERVER, "Known."),)),
        output=CapturedOutput(head=b"one\ntwo\n", size=8),
        stderr=CapturedOutput(head=b"reason: it broke\n", size=17),
        log=Path("/p/.isosmoke/runs/1/one/output-1.log"),
        phases={"create": 0.12345, "run": 1.0},
        alone=False,
        begun=0.25,
        waited=0.12345,
        environment={"HOME": "/root"},
        evidence=EVIDENCE,
        load=Load(seconds=1.5, cpu_wait=0.25, sockets=("tcp 127.0.0.1:80",), connections=2),
        doubts=(Doubt(kind="cpu", text="its processes may have waited"),),
        inputs="0123",
    )
    alone = Attempt(ending=Exited(0), phases={"run": 0.5}, begun=2.0)
    common = {
        "outcome": "FAIL",
        "reason": "exit 1: it broke, left 1 process: serve --port 80",
        "exit_code": 1,
        "signal": None,
        "leaks": [SERVER_DOCUMENT],
        "tolerated": [{**SERVER_DOCUMENT, "reason": "Known."}],
        "output": {
            "size": 8,
            "log": "/p/.isosmoke/runs/1/one/output-1.log",
            "last_lines": ["one", "two"],
        },
    }
    first = {
        **common,
        "begun": 0.25,
        "seconds": 1.123,
        "alone": False,
        "postponed": False,
        "phases": {"create": 0.1235, "run": 1.0},
        "environment": {"HOME": "/root"},
        "waited": 0.1235,
        "evidence": EVIDENCE_DOCUMENT,
        "repetition": 1,
        "load": {
            **dict.fromkeys(("memory_wait", "io_wait", "killed", "free_memory")),
            **dict.fromkeys(("free_disk", "used_disk")),
            "seconds": 1.5,
            "cpu_wait": 0.25,
            "sockets": ["tcp 127.0.0.1:80"],
            "connections": 2,
        },
        "doubts": [{"kind": "cpu", "text": "its processes may have waited"}],
        "basis": "",
        "inputs": "0123",
        "script_sha256": None,
        "worker": None,
        "losses": [],
    }
    second = {
        "outcome": "PASS",
        "reason": "",
        "exit_code": 0,
        "signal": None,
        "begun": 2.0,
        "seconds": 0.5,
        "alone": True,
        "postponed": False,
        "phases": {"run": 0.5},
        "environment": {},
        "waited": 0.0,
        "evidence": None,
        "repetition": 1,
        "load": None,
        "doubts": [],
        "basis": "",
        "inputs": "",
        "script_sha256": None,
        "worker": None,
        "losses": [],
        "leaks": [],
        "tolerated": [],
        "output": {"size": 0, "log": None, "last_lines": []},
    }

    result = result_factories.make_result(crowded, alone, assertion="It holds.", owners=("fix-a",))
    run = result_factories.make_run(result, seconds=1.23456, recording={"one": 0.01234})
    assert read_document(run) == {
        "schema_version": 1,
        "isosmoke": __version__,
        "id": "1",
        "started_at": "2026-11-22T12:30:00Z",
        "finished": True,
        "engine": "bubblewrap",
        "host": "box",
        "working": "/p",
        "manifest": "/p/manifest.toml",
        "binary": {"path": "/p/wg", "sha256": "0123456789abcdef" * 4, "version": None},
        "command": [],
        "record": "/p/.isosmoke/runs/1",
        "seconds": 1.235,
        "stopped": None,
        "notes": [],
        "warnings": [],
        "interpreters": [],
        "dirty": [],
        "rerun_of": None,
        "daemon": [],
        "shard": None,
        "shards": [],
        "repository": None,
        "recording": {"one": 0.0123},
        "counts": {"FLAKY": 1},
        "scenarios": [
            {
                "name": "one",
                "assertion": "It holds.",
                "owners": ["fix-a"],
                **common,
                "outcome": "FLAKY",
                "script": "one.sh",
                "entry": result.scenario.to_json(),
                "blocks": False,
                "load_sensitive": True,
                "seconds": 1.623,
                "attempts": [first, second],
            }
        ],
    }


def test_missing_values_are_null() -> None:
    """A missing manifest, binary and record are null; the reason for a stop is recorded."""
    document = read_document(
        result_factories.make_run(manifest=None, binary=None, record=None, stopped="SIGINT")
    )

    assert [document[key] for key in ("manifest", "binary", "record")] == [None, None, None]
    assert (document["stopped"], document["counts"], document["scenarios"]) == ("SIGINT", {}, [])


ENDINGS: list[tuple[Ending, int | None, str | None]] = [
    (Exited(0), 0, None),
    (Exited(143), 143, None),
    (Signaled(15), None, "SIGTERM"),
    (Signaled(99), None, "signal 99"),
    (TimedOut(3), None, None),
    (MissingRequirement("no tmux"), None, None),
    (Broke("no daemon"), None, None),
    (Stopped("SIGINT"), None, None),
]


@pytest.mark.parametrize(("ending", "code", "signal"), ENDINGS, ids=str)
def test_ending_is_an_exit_code_or_a_signal(
    ending: Ending, code: int | None, signal: str | None
) -> None:
    """A record has an exit code, a signal or neither, but never both."""
    (scenario,) = read_document(
        result_factories.make_run(result_factories.make_result(Attempt(ending=ending)))
    )["scenarios"]

    assert (scenario["exit_code"], scenario["signal"]) == (code, signal)
    assert scenario["attempts"][0]["exit_code"] == code


def test_counts_have_only_outcomes_that_occur() -> None:
    """Only outcomes that occur are counted."""
    endings = enumerate(map(Exited, (0, 0, 77, 1)))
    results = [
        result_factories.make_result(Attempt(ending=ending), name=f"s{number}")
        for number, ending in endings
    ]
    document = read_document(result_factories.make_run(*results))

    assert document["counts"] == {"PASS": 2, "SKIP": 1, "FAIL": 1}
    assert [scenario["blocks"] for scenario in document["scenarios"]] == [
        *[False, False, False],
        True,
    ]
    assert set(document["counts"]) <= {outcome.value for outcome in Outcome}


ODD = st.text(st.characters(codec=None)).map(lambda text: text + "\udcff\0\x1b")


@given(ODD, st.binary())
def test_any_run_is_valid_utf8_json(text: str, output: bytes) -> None:
    """For any output and path, the document is JSON in UTF-8."""
    attempt = Attempt(
        ending=Broke(text),
        output=CapturedOutput(head=output, size=len(output)),
        stderr=CapturedOutput(head=output, size=len(output)),
        log=Path("/logs") / text.replace("/", ""),
        evidence=Evidence(
            changes=(Change(path=text, change="added", kind="file", text=text),),
            panes=(Pane(server=text, name=text, pid=1, lines=(text,)),),
            missing=(text,),
        ),
    )
    rendered = render_json(
        creation.record_run(
            result_factories.make_run(
                result_factories.make_result(attempt), manifest=Path("/p\udcff")
            )
        )
    )

    assert json.loads(rendered.encode())["scenarios"][0]["outcome"] == "ERROR"


def test_remains_are_recorded() -> None:
    """Unremoved items of all attempts are recorded in order."""
    first, second = (Attempt(ending=Exited(0), leftovers=(f"box {name}",)) for name in "ab")

    assert read_document(
        result_factories.make_run(
            result_factories.make_result(first, second), result_factories.make_result(first)
        )
    )["dirty"] == [
        "box a",
        "box b",
        "box a",
    ]


def test_record_of_problems_counts_all_scenarios() -> None:
    """A scenario that passed is left out, but counted."""
    endings = enumerate(map(Exited, (0, 1, 0, 77)))
    results = [
        result_factories.make_result(Attempt(ending=ending), name=f"s{number}")
        for number, ending in endings
    ]
    run = result_factories.make_run(*results)

    problems = creation.record_problems(run)

    assert [scenario.name for scenario in problems.scenarios] == ["s1", "s3"]
    assert problems == replace(creation.record_run(run), scenarios=problems.scenarios)
