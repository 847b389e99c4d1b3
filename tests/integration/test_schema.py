"""JSON Schemas of the manifest and of every document that isosmoke writes."""

import json
import re
import tarfile
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tomli
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from isosmoke.cli import cli
from isosmoke.cli.project import schema
from isosmoke.errors import ManifestError
from isosmoke.manifest import parser
from isosmoke.manifest.models import Gate, Limits, Retention, Scenario
from isosmoke.manifest.table_base import list_keys
from support import available, key_pairs
from support.bisected import Bisected
from support.exec_runs import LEAVE_ONE, read_records, run_exec
from support.git_repositories import Git
from support.paths import ROOT
from support.project import Project

MINIMAL = '[[scenario]]\nname = "one"\nscript = "one.sh"\n'
"""The smallest valid manifest; appended keys belong to its scenario."""


@cache
def create_validator(name: str) -> Draft202012Validator:
    """Return the validator of a kind of document."""
    return Draft202012Validator(schema.build_schema(name))


def find_errors(name: str, document: Any) -> list[str]:
    """Return the violations of the schema of a kind in a document."""
    errors = create_validator(name).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in errors]


def convert_dates(value: Any) -> Any:
    """Return TOML data as an editor validates it, with dates as strings."""
    match value:
        case dict():
            return {key: convert_dates(item) for key, item in value.items()}
        case list():
            return [convert_dates(item) for item in value]
        case date():
            return value.isoformat()
        case _:
            return value


@pytest.mark.parametrize("name", schema.find_documents())
def test_schema_is_valid(name: str) -> None:
    """Each schema is valid under draft 2020-12, and its title names the kind of document."""
    document = schema.build_schema(name)

    Draft202012Validator.check_schema(document)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["title"].startswith(f"isosmoke {name}: ")


MANIFESTS = ["manifest.toml", "isosmoke/demo/manifest.toml", "tests/corpus/manifest.toml"]


@pytest.mark.parametrize("path", MANIFESTS)
def test_manifests_of_this_repository_are_valid(path: str) -> None:
    """The schema accepts the manifests that isosmoke reads."""
    assert find_errors("manifest", convert_dates(tomli.loads((ROOT / path).read_text()))) == []


BLOCK = re.compile(r"^```toml\n(.*?)^```$", re.DOTALL | re.MULTILINE)

EXAMPLES = [
    pytest.param(block, id=f"{path.name}-{number}")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for number, block in enumerate(BLOCK.findall(path.read_text()))
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_in_the_documentation_are_valid(example: str) -> None:
    """A manifest example in the documentation is valid in an editor."""
    whole = example if "[[scenario]]" in example else MINIMAL + example

    assert find_errors("manifest", convert_dates(tomli.loads(whole))) == []


WHOLE = """
[gate]
unowned = "refuse"
max_skips = 3
require_proof = true
require_teeth = true
teeth_patterns = ["at _ *"]
places = [{ address = "tls://10.0.0.1:8786", certificates = [
  "0000000000000000000000000000000000000000000000000000000000000000",
] }]
shard_keys = ['''
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
''']

[record]
keep_runs = 5
keep_days = 10
keep_size = "1G"

[[scenario]]
name = "whole"
script = "whole.sh"
owners = [" fix-a "]
aliases = ["former"]
description = "A long text."
assertion = "It holds."
timeout_seconds = 30
image = "debian"
requires = { commands = ["git"], env = ["TOKEN"], endpoints = ["http://localhost:1"] }
network = "isolated"
locks = ["port-8080"]
env = { LANG = "C" }
pass_env = ["TOKEN"]
pass_files = ["~/.config/wg"]
plain_env = ["NODE_ENV"]
plain_files = ["~/.cache/tool"]
tags = ["slow"]
retries = 2
settle_seconds = 0.5
grace_seconds = 1
capabilities = ["NET_RAW"]
new_namespaces = true
limits = { memory = "512M", processes = 64, output = 1000, open_files = 256 }

[scenario.leaks]
policy = "report"
allow = [{ command = "^tmux ", reason = "issue 12", until = 2027-01-31 }]
"""


def test_every_key_is_accepted() -> None:
    """A manifest that uses every key is valid, and fields have descriptions for editors."""
    document = convert_dates(tomli.loads(WHOLE))

    assert find_errors("manifest", document) == []
    for model, table in (
        (Gate, document["gate"]),
        (Retention, document["record"]),
        (Limits, document["scenario"][0]["limits"]),
    ):
        assert table.keys() == set(list_keys(model))
    known = schema.build_schema("manifest")["$defs"]["Scenario"]["properties"]
    assert known.keys() == set(list_keys(Scenario))
    assert known["settle_seconds"]["description"].startswith("The time that processes have")


WRONG = [
    "",
    "scenario = []",
    '[[scenario]]\nname = "one"\n',
    MINIMAL + "timout_seconds = 3\n",
    MINIMAL + "[limits]\nmemory = 1\n",
    MINIMAL + "[defaults]\nowners = ['a']\n",
    MINIMAL + "requires = { command = ['git'] }\n",
    MINIMAL + "leaks = 'ignore'\n",
    MINIMAL + "leaks = { allow = [{ command = 'x' }] }\n",
    MINIMAL + "limits.memory = '1 GB'\n",
    MINIMAL + "limits.processes = 0\n",
    MINIMAL + "timeout_seconds = '3'\n",
    MINIMAL + "timeout_seconds = 0\n",
    MINIMAL + "retries = 101\n",
    MINIMAL + "settle_seconds = -1\n",
    MINIMAL + "owners = 'a'\n",
    MINIMAL + "owners = ['  ']\n",
    MINIMAL + "pass_env = ['A-B']\n",
    MINIMAL + "network = 'none'\n",
    MINIMAL + "capabilities = ['SYS_ADMIN']\n",
    MINIMAL + "aliases = ['.hidden']\n",
    MINIMAL + "[env]\nA = 'b'\n",
    MINIMAL + "[scenario.env]\nA = 1\n",
    '[[scenario]]\nname = "a/b"\nscript = "one.sh"\n',
    '[[scenario]]\nname = "one"\nscript = " "\n',
]


@pytest.mark.parametrize("text", WRONG)
def test_schema_rejects_what_the_parser_rejects(text: str) -> None:
    """An editor shows misspelled keys, wrong types and values out of range."""
    with pytest.raises(ManifestError):
        parser.parse(text, Path("/p/manifest.toml"))

    assert find_errors("manifest", convert_dates(tomli.loads(text))) != []


def write_leaks(directory: Path) -> dict[str, list[Any]]:
    """Return the documents of `isosmoke-exec` and `isosmoke leaks` about one run with a leak."""
    log, baseline = directory / "log", directory / "baseline"
    run_exec("--settle=0", "sh", "-c", LEAVE_ONE, log=log)
    options = ["leaks", str(log), "--new-baseline", str(baseline), "--json"]
    summary = json.loads(CliRunner().invoke(cli, options).output)
    return {
        "exec-record": read_records(log),
        "leaks": [summary],
        "leak-baseline": [json.loads(baseline.read_text())],
    }


def write_examined(directory: Path) -> dict[str, list[Any]]:
    """Return the documents of a bisection, and of a proof."""
    project = Bisected(directory, 3, 0.0)
    bisection = json.loads(project.run(project.command("--json")).stdout)
    for name, code in (("old", 1), ("new", 0)):
        (directory / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (directory / name).chmod(0o755)
    binaries = ("--broken", str(directory / "old"), "--fixed", str(directory / "new"))
    command = [*project.isosmoke("prove", "one"), *binaries, "--json"]
    proof = json.loads(project.run(command).stdout)
    return {
        "bisection": [bisection],
        "prove": [proof],
        "proof": [json.loads(Path(proof["proof"]).read_text())],
    }


def write_teeth(directory: Path) -> dict[str, list[Any]]:
    """Return the documents of a survivor that is explained, and of its receipt."""
    entry = '[[scenario]]\nname = "weak"\nscript = "weak.sh"\nteeth = ["put"]\n'
    project = Project.within(directory, entry)
    project.path("weak.sh").write_text("wg put\n")
    done = project.run("teeth", "weak", "--sabotage", "noop", "--explain", "put", "--json")
    project.run("teeth", "weak", "--declared")
    (receipt,) = project.top.glob(".isosmoke/proofs/weak.teeth-*.json")
    return {
        "teeth-explanation": [json.loads(done.stdout)],
        "teeth-receipt": [json.loads(receipt.read_text())],
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Documents of every kind except the manifest, as a user obtains them."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path_factory.mktemp("written"))
    graph = '{"kind": "task", "id": "task-a", "status": "done"}\n'
    project.path(".wg").mkdir()
    project.path(".wg/graph.jsonl").write_text(graph)

    def load_output(*arguments: str) -> Any:
        return json.loads(project.run(*arguments).stdout)

    def load_records(name: str) -> list[Any]:
        files = project.top.glob(f".isosmoke/runs/*/{name}")
        return [json.loads(file.read_text()) for file in files]

    gates = [load_output("gate", task, "--json") for task in ("task-a", "task-b", "task-z")]
    project.run("gate", "task-b", "--skip-smoke")
    (receipt, other) = project.receipts()
    private, _ = key_pairs.write(project.top.parent / "keys")
    project.run("receipt", "sign", "--key", str(private), str(receipt))
    envelope = receipt.with_suffix(".dsse").read_text()
    lines = project.run(
        "run", "-j", "3", "--confirm", "always", "--report", "jsonl=-"
    ).stdout.splitlines()
    project.run("bundle", "bad", "-o", "bad.tar.gz")
    with tarfile.open(project.path("bad.tar.gz")) as archive:
        bundle = archive.extractfile("bundle.json")
        assert bundle is not None
        bundled = json.loads(bundle.read())
    bypasses = project.path(".isosmoke/bypasses.jsonl").read_text().splitlines()
    outputs = {
        "record": [load_output("run", "--json"), load_output("show", "good", "--json")],
        "summary": [load_output("run", "--json=summary")],
        "header": load_records("run.json"),
        "result": load_records("*/result.json"),
        "bundle": [bundled],
        "event": [json.loads(line) for line in lines],
        "gate": gates,
        "receipt": [json.loads(file.read_text()) for file in (receipt, other)],
        "envelope": [json.loads(envelope)],
        "verification": [load_output("receipt", "verify", str(receipt), "--json")],
        "bypass": [json.loads(line) for line in bypasses],
        "audit": [load_output("audit", "--json")],
        **write_leaks(tmp_path_factory.mktemp("leaks")),
        **write_teeth(tmp_path_factory.mktemp("teeth")),
        "runs": [load_output("runs", "--json")],
        "durations": [load_output("durations")],
        "history": [load_output("history", "good", "--json")],
        "flaky": [load_output("flaky", "--json")],
        "stress": [
            load_output("stress", name, "--count", "1", "--json") for name in ("bad", "good")
        ],
        "list": [load_output("list", "--json")],
        "teeth": [load_output("teeth", "good", "--json")],
        "images": [load_output("image", "list", "--json")],
        "doctor": [load_output("doctor", "--json")],
        "place": [load_output("doctor", "--place", "local:1", "--json")],
        "config": [load_output("config", "show", "--json")],
    }
    outputs |= write_examined(tmp_path_factory.mktemp("examined"))
    Git(project.top).commit("base")
    return {**outputs, "check": [load_output("check", "--json")]}


def test_every_document_matches_its_schema(written: dict[str, list[Any]]) -> None:
    """Documents of every kind match their schemas."""
    assert {"manifest", *written} == set(schema.find_documents())
    for name, documents in written.items():
        assert documents
        for document in documents:
            assert find_errors(name, document) == []


def test_every_event_is_among_the_documents(written: dict[str, list[Any]]) -> None:
    """The tested event lines include every kind of event."""
    assert {event["event"] for event in written["event"]} == {
        *("run_started", "scenario_started", "scenario_postponed"),
        *("scenario_finished", "run_finished"),
    }


@pytest.mark.parametrize("name", [name for name in schema.find_documents() if name != "manifest"])
def test_invalid_document_is_rejected(written: dict[str, list[Any]], name: str) -> None:
    """A missing field, a field of another type and a later version violate the schema."""
    document = written[name][0]

    for key in schema.build_schema(name).get("required", ["event", "schema_version", "run"]):
        assert find_errors(name, {field: document[field] for field in document if field != key})
        assert find_errors(name, {**document, key: [None]})
    if "schema_version" in document:
        assert find_errors(name, {**document, "schema_version": 2})
    assert find_errors(name, [document])


def test_additional_fields_are_accepted(written: dict[str, list[Any]]) -> None:
    """A document with fields of a later version matches the schema."""
    for name, (document, *_) in written.items():
        assert find_errors(name, {**document, "added_later": 1}) == []


def test_schema_lists_kinds_or_prints_one(tmp_path: Path) -> None:
    """Without a name `schema` lists the kinds; with a name it prints that schema."""
    project = Project.within(tmp_path)
    lines = project.run("schema").stdout.splitlines()

    assert [line.split()[0] for line in lines] == list(schema.find_documents())
    assert json.loads(project.run("schema", "gate").stdout) == schema.build_schema("gate")
    assert project.run("schema", "no-such").returncode == 2
