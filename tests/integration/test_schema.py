"""JSON schemas of the manifest and of every document that isosmoke writes."""

import json
import re
import tarfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import tomli
from jsonschema import Draft202012Validator

from isosmoke.cli.project import schema
from isosmoke.errors import ManifestError
from isosmoke.manifest import parser
from isosmoke.manifest.models import Gate, Limits, Retention, Scenario
from support import available
from support.paths import ROOT
from support.project import Project

ONE = '[[scenario]]\nname = "one"\nscript = "one.sh"\n'
"""The smallest manifest; keys that follow are of its scenario."""


def mistakes(name: str, document: Any) -> list[str]:
    """What the schema of a kind finds wrong with a document."""
    validator = Draft202012Validator(schema.of(name))
    return [f"{one.json_path}: {one.message}" for one in validator.iter_errors(document)]


def in_json(value: Any) -> Any:
    """TOML as an editor's validator sees it: dates are strings."""
    match value:
        case dict():
            return {key: in_json(one) for key, one in value.items()}
        case list():
            return [in_json(one) for one in value]
        case date():
            return value.isoformat()
        case _:
            return value


@pytest.mark.parametrize("name", schema.documents())
def test_each_schema_is_one(name: str) -> None:
    """A validator of draft 2020-12 takes it, and its title says which documents it is for."""
    found = schema.of(name)

    Draft202012Validator.check_schema(found)
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert found["title"].startswith(f"isosmoke {name}: ")


MANIFESTS = ["manifest.toml", "isosmoke/demo/manifest.toml", "tests/corpus/manifest.toml"]


@pytest.mark.parametrize("path", MANIFESTS)
def test_manifests_of_this_repository_are_right(path: str) -> None:
    """What the reader takes, the schema takes."""
    assert mistakes("manifest", in_json(tomli.loads((ROOT / path).read_text()))) == []


BLOCK = re.compile(r"^```toml\n(.*?)^```$", re.DOTALL | re.MULTILINE)

EXAMPLES = [
    pytest.param(block, id=f"{path.name}-{number}")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for number, block in enumerate(BLOCK.findall(path.read_text()))
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_in_the_documentation_are_right(example: str) -> None:
    """Whoever copies one has a manifest that an editor does not complain about."""
    whole = example if "[[scenario]]" in example else ONE + example

    assert mistakes("manifest", in_json(tomli.loads(whole))) == []


WHOLE = """
[gate]
unowned = "refuse"
max_skips = 3

[record]
keep_runs = 5
keep_days = 10
keep_size = "1G"

[[scenario]]
name = "whole"
script = "whole.sh"
owners = [" fix-a "]
aliases = ["former"]
description = "Many words."
assertion = "It holds."
timeout_seconds = 30
image = "debian"
requires = { commands = ["git"], env = ["TOKEN"], endpoints = ["http://localhost:1"] }
network = "isolated"
locks = ["port-8080"]
env = { LANG = "C" }
pass_env = ["TOKEN"]
pass_files = ["~/.config/wg"]
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


def test_every_key_may_be_there() -> None:
    """A manifest that uses each table is right, and editors have a word for what is not plain."""
    document = in_json(tomli.loads(WHOLE))

    assert mistakes("manifest", document) == []
    for model, given in (
        (Gate, document["gate"]),
        (Retention, document["record"]),
        (Limits, document["scenario"][0]["limits"]),
    ):
        assert given.keys() == model.model_fields.keys()
    known = schema.of("manifest")["$defs"]["Scenario"]["properties"]
    assert known.keys() == Scenario.model_fields.keys()
    assert known["settle_seconds"]["description"].startswith("How long processes may take")


WRONG = [
    "",
    "scenario = []",
    '[[scenario]]\nname = "one"\n',
    ONE + "timout_seconds = 3\n",
    ONE + "[limits]\nmemory = 1\n",
    ONE + "[defaults]\nowners = ['a']\n",
    ONE + "requires = { command = ['git'] }\n",
    ONE + "leaks = 'ignore'\n",
    ONE + "leaks = { allow = [{ command = 'x' }] }\n",
    ONE + "limits.memory = '1 GB'\n",
    ONE + "limits.processes = 0\n",
    ONE + "timeout_seconds = '3'\n",
    ONE + "timeout_seconds = 0\n",
    ONE + "retries = 101\n",
    ONE + "settle_seconds = -1\n",
    ONE + "owners = 'a'\n",
    ONE + "owners = ['  ']\n",
    ONE + "pass_env = ['A-B']\n",
    ONE + "network = 'none'\n",
    ONE + "capabilities = ['SYS_ADMIN']\n",
    ONE + "aliases = ['.hidden']\n",
    ONE + "[env]\nA = 'b'\n",
    ONE + "[scenario.env]\nA = 1\n",
    '[[scenario]]\nname = "a/b"\nscript = "one.sh"\n',
    '[[scenario]]\nname = "one"\nscript = " "\n',
]


@pytest.mark.parametrize("text", WRONG)
def test_what_the_reader_refuses_the_schema_refuses(text: str) -> None:
    """A misspelt key, a wrong kind, a value out of its bounds: an editor shows it at once."""
    with pytest.raises(ManifestError):
        parser.parse(text, Path("/p/manifest.toml"))

    assert mistakes("manifest", in_json(tomli.loads(text))) != []


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Every kind of document but the manifest, as a user would get it."""
    available.engine("bubblewrap")
    project = Project.within(tmp_path_factory.mktemp("written"))
    graph = '{"kind": "task", "id": "task-a", "status": "done"}\n'
    project.path(".wg").mkdir()
    project.path(".wg/graph.jsonl").write_text(graph)

    def printed(*words: str) -> Any:
        return json.loads(project.run(*words).stdout)

    def kept(name: str) -> list[Any]:
        found = project.top.glob(f".isosmoke/runs/*/{name}")
        return [json.loads(one.read_text()) for one in found]

    gates = [printed("gate", one, "--json") for one in ("task-a", "task-b", "task-z")]
    project.run("gate", "task-b", "--skip-smoke")
    (receipt, other) = project.receipts()
    lines = project.run("run", "-j", "3", "--report", "jsonl=-").stdout.splitlines()
    project.run("bundle", "bad", "-o", "bad.tar.gz")
    with tarfile.open(project.path("bad.tar.gz")) as archive:
        bundle = archive.extractfile("bundle.json")
        assert bundle is not None
        bundled = json.loads(bundle.read())
    bypasses = project.path(".isosmoke/bypasses.jsonl").read_text().splitlines()
    return {
        "record": [printed("run", "--json"), printed("show", "good", "--json")],
        "header": kept("run.json"),
        "result": kept("*/result.json"),
        "bundle": [bundled],
        "event": [json.loads(line) for line in lines],
        "gate": gates,
        "receipt": [json.loads(one.read_text()) for one in (receipt, other)],
        "verification": [printed("receipt", "verify", str(receipt), "--json")],
        "bypass": [json.loads(line) for line in bypasses],
        "audit": [printed("audit", "--json")],
        "runs": [printed("runs", "--json")],
        "history": [printed("history", "good", "--json")],
        "list": [printed("list", "--json")],
        "images": [printed("image", "list", "--json")],
        "doctor": [printed("doctor", "--json")],
    }


def test_every_document_fits_its_schema(written: dict[str, list[Any]]) -> None:
    """What is printed is what the schema promises, for each kind there is."""
    assert {"manifest", *written} == set(schema.documents())
    for name, documents in written.items():
        assert documents
        for one in documents:
            assert mistakes(name, one) == []


def test_every_event_is_among_the_documents(written: dict[str, list[Any]]) -> None:
    """The lines that were looked at are of every kind, postponement included."""
    assert {one["event"] for one in written["event"]} == {
        *("run_started", "scenario_started", "scenario_postponed"),
        *("scenario_finished", "run_finished"),
    }


@pytest.mark.parametrize("name", [one for one in schema.documents() if one != "manifest"])
def test_document_of_another_kind_or_version_is_refused(
    written: dict[str, list[Any]], name: str
) -> None:
    """A field that is gone, one of another type, and a later version do not fit."""
    document = written[name][0]

    for key in schema.of(name).get("required", ["event", "schema_version", "run"]):
        assert mistakes(name, {one: document[one] for one in document if one != key})
        assert mistakes(name, {**document, key: [None]})
    if "schema_version" in document:
        assert mistakes(name, {**document, "schema_version": 2})
    assert mistakes(name, [document])


def test_later_fields_are_no_mistake(written: dict[str, list[Any]]) -> None:
    """A document of a later version with more to tell still fits."""
    for name, (document, *_) in written.items():
        assert mistakes(name, {**document, "told_later": 1}) == []


def test_without_a_name_the_kinds_are_listed(tmp_path: Path) -> None:
    """Each kind has a line that says what it is; with a name its schema is printed."""
    project = Project.within(tmp_path)
    listed = project.run("schema").stdout.splitlines()

    assert [line.split()[0] for line in listed] == list(schema.documents())
    assert json.loads(project.run("schema", "gate").stdout) == schema.of("gate")
    assert project.run("schema", "no-such").returncode == 2
