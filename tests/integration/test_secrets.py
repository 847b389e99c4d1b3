"""A secret of a scenario appears nowhere in isosmoke's files and output."""

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from support import available
from support.project import Project

# ruff: noqa: S105 - the passwords here are made up
TOKEN = 'tok-7f/Q+é"zz 9'
LINES = ("KEYkeyKEYkey0000+/AA", "KEYkeyKEYkey1111+/BB", "KEYkeyKEYkey2222+/CC")
PIN = "314"

MANIFEST = """
[defaults]
pass_env = ["TOKEN", "PIN"]
pass_files = ["~/.netrc"]
settle_seconds = 0

[[scenario]]
name = "prints"
script = "scenarios/prints.sh"
owners = ["task"]

[[scenario]]
name = "skips"
script = "scenarios/skips.sh"

[[scenario]]
name = "unmet"
script = "scenarios/skips.sh"
requires = { endpoints = ["http://127.0.0.1:1/${TOKEN}"] }
"""

PRINTS = r"""
echo "$TOKEN"; echo "$TOKEN" >&2; echo "$PIN"
cat ~/.netrc; cat ~/.netrc >&2; tail -1 ~/.netrc
echo "$TOKEN" >written; mkdir -p "d/$TOKEN"; cp ~/.netrc copied
printf %s "${TOKEN:0:6}"; sleep 0.1; printf '%s\n' "${TOKEN:6}"
printf 'user:%s' "$TOKEN" | base64; base64 ~/.netrc; base64 -w 0 ~/.netrc; echo
head -c 500 /dev/zero | tr '\0' "$(printf '\n')x" | cat - ~/.netrc | base64
python3 -c 'import os, json, urllib.parse as u
print(json.dumps(dict(os.environ)), u.quote(os.environ["TOKEN"]), repr(os.environ["TOKEN"]))'
env; (set -x; : "$TOKEN") 2>&1
mkdir "/tmp/$(printf %s "$TOKEN" | tr / _)-$TOKEN" 2>/dev/null || mkdir -p "/tmp/$TOKEN"
cd "/tmp/$TOKEN" 2>/dev/null
printf 'it is %s\n' "$TOKEN" >~/note; cp ~/.netrc /var/tmp/copy; ln -s "$TOKEN" ~/link
sh -c '>/tmp/up; while :; do sleep 60; done' "--token=$TOKEN" "$(cat ~/.netrc)" &
until [ -e /tmp/up ]; do sleep 0.01; done
echo "reason: refused $TOKEN" >&2
exit 1
"""


def encode_secrets() -> list[bytes]:
    """Return each secret, plain and encoded; none of these may be found."""
    raw = [TOKEN.encode(), *(line.encode() for line in LINES)]
    quoted = [quote(TOKEN), quote(TOKEN, safe=""), json.dumps(TOKEN)[1:-1], repr(TOKEN)[1:-1]]
    inside = [base64.b64encode(b"user:" + TOKEN.encode())[8:-4], base64.b64encode(raw[0])]
    return [*raw, *(text.encode() for text in quoted), *inside]


@pytest.fixture(scope="module", params=available.ENGINE_NAMES)
def files_and_output(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Return every file that isosmoke wrote, and all output of its commands, by name."""
    available.require_engine(request.param)
    directory = tmp_path_factory.mktemp("secrets")
    project = Project.within(directory, MANIFEST)
    for name, text in {"prints.sh": PRINTS, "skips.sh": 'echo "no $TOKEN" >&2; exit 77'}.items():
        project.path(f"scenarios/{name}").write_text(text)
    (directory / "home/.netrc").write_text("\n".join(LINES) + "\n")
    engine, secret = ("--engine", request.param), {"TOKEN": TOKEN, "PIN": PIN}
    calls = {
        "console": ("run", "--report", "console", *engine),
        "agent": ("run", "--report", "agent", *engine),
        "json": ("run", "--json", *engine),
        "show": ("show", "prints"),
        "gate": ("gate", "task", "--json", "--report", "console", *engine),
        **{
            kind: ("report", "--as", kind) for kind in ("junit", "jsonl", "trace", "html", "github")
        },
    }
    contents: dict[str, bytes] = {}
    for name, arguments in calls.items():
        result = project.run(*arguments, **secret)
        contents |= {
            f"{name} stdout": result.stdout.encode(),
            f"{name} stderr": result.stderr.encode(),
        }
    paths = [*(project.top / ".isosmoke").rglob("*"), *project.state.rglob("*")]
    return contents | {str(path): path.read_bytes() for path in paths if path.is_file()}


def test_no_secret_is_stored_or_printed(files_and_output: dict[str, bytes]) -> None:
    """Logs, receipts, state, reports, stdout and stderr contain no encoding of a secret."""
    leaks = [
        (name, secret)
        for name, content in files_and_output.items()
        for secret in encode_secrets()
        if secret in content
    ]

    assert leaks == []


def test_replacement_names_secret(files_and_output: dict[str, bytes]) -> None:
    """The name of a secret replaces its value, so that a reader knows what is missing."""
    logs = b"".join(
        content
        for name, content in files_and_output.items()
        if name.endswith("prints/output-1.log")
    )
    record = json.loads(files_and_output["json stdout"])
    scenario = record["scenarios"][0]

    assert b"[redacted TOKEN]" in logs
    assert b"[redacted ~/.netrc]" in logs
    assert scenario["attempts"][0]["environment"]["TOKEN"] == "[redacted TOKEN]"
    assert "refused [redacted TOKEN]" in scenario["reason"]
    assert any("--token=[redacted TOKEN]" in leak["argv"] for leak in scenario["leaks"])
    assert scenario["outcome"] == "FAIL"
    assert any(name.endswith(".json") and "receipts" in name for name in files_and_output)
    for kind in ("junit", "jsonl", "html", "github"):
        assert b"refused [redacted TOKEN]" in files_and_output[f"{kind} stdout"]


def test_secret_too_short_to_replace_is_reported(files_and_output: dict[str, bytes]) -> None:
    """A value of three bytes is not replaced, and each report has one note about it."""
    note = b"note: PIN is not redacted"

    assert files_and_output["console stdout"].count(note) == 1
    assert files_and_output["agent stdout"].count(note) == 1
    assert [entry[:3] for entry in json.loads(files_and_output["json stdout"])["notes"]] == ["PIN"]


def test_plain_values_are_shown(tmp_path: Path) -> None:
    """Plain variables and files are used and shown as they are, and only secrets are redacted."""
    available.require_engine("bubblewrap")
    manifest = """
[[scenario]]
name = "plain"
script = "plain.sh"
plain_env = ["NODE_ENV"]
plain_files = ["~/.cache/tool"]
pass_env = ["MODE"]
"""
    project = Project.within(tmp_path, manifest)
    project.path("plain.sh").write_text(
        'echo "$NODE_ENV result: $(cat ~/.cache/tool/index)"; echo "reason: $MODE" >&2; exit 1'
    )
    (tmp_path / "home/.cache/tool").mkdir(parents=True)
    (tmp_path / "home/.cache/tool/index").write_text("cached")
    variables = {"NODE_ENV": "test", "MODE": "production"}
    record = json.loads(project.run("run", "--json", "--engine", "bubblewrap", **variables).stdout)
    attempt = record["scenarios"][0]["attempts"][0]

    assert attempt["environment"]["NODE_ENV"] == "test"
    assert attempt["environment"]["MODE"] == "[redacted MODE]"
    assert record["scenarios"][0]["reason"] == "exit 1: [redacted MODE]"
    assert "test result: cached" in project.run("show", "plain").stdout
    assert [entry.partition(" ")[0] for entry in record["notes"]] == ["MODE"]
