"""Changes of a manifest that are refused, noted or allowed."""

from pathlib import Path

import pytest

from isosmoke.authoring.manifest_losses import Edition, find_losses, is_empty
from isosmoke.manifest.parser import parse

BASE = """
[gate]
unowned = "refuse"
max_skips = 2

[[scenario]]
name = "one"
script = "one.sh"
owners = ["a", "b"]
aliases = ["zero"]
assertion = "It holds."
timeout_seconds = 60
settle_seconds = 2
retries = 1
leaks = { allow = [{ command = "^tmux", reason = "issue 12", until = 2027-01-31 }] }

[[scenario]]
name = "two"
script = "two.sh"
"""

SCRIPTS = {"one": "wg one", "two": "wg two"}
ALLOWED = '[{ command = "^tmux", reason = "issue 12", until = 2027-01-31 }]'


def find_refused(text: str, scripts: dict[str, str] | None = None) -> list[str]:
    """Return the descriptions of the refused losses of a manifest relative to `BASE`."""
    now = build_edition(text, SCRIPTS if scripts is None else scripts)
    return [str(loss) for loss in find_losses(build_edition(BASE, SCRIPTS), now) if loss.refused]


def build_edition(text: str, scripts: dict[str, str]) -> Edition:
    """Build the edition of a manifest text and its scripts."""
    manifest = parse(text, Path("manifest.toml"))
    return Edition(manifest.scenarios, manifest.gate, scripts)


REFUSED = {
    "an owner": ('["a", "b"]', '["a"]', "'one': lost owner 'b'"),
    "an old name": ('aliases = ["zero"]', "", "'one': lost alias 'zero'"),
    "seconds": (
        "timeout_seconds = 60",
        "timeout_seconds = 59",
        "'one': timeout_seconds shortened from 60 to 59",
    ),
    "the first try": ("retries = 1", "retries = 2", "'one': retries raised from 1 to 2"),
    "patience": (
        "settle_seconds = 2",
        "settle_seconds = 2.5",
        "'one': settle_seconds raised from 2 to 2.5",
    ),
    "the assertion": ('assertion = "It holds."', "", "'one': lost its assertion"),
    "the policy": (
        "leaks = { allow",
        'leaks = { policy = "report", allow',
        "'one': leak policy loosened from 'fail' to 'report'",
    ),
    "another leak": (
        ALLOWED,
        '[{ command = "sleep", reason = "r" }]',
        "'one': leak policy loosened: 'sleep' may now outlive the scenario",
    ),
    "a wider leak": (
        "^tmux",
        "tmux",
        "'one': leak policy loosened: 'tmux' may now outlive the scenario",
    ),
    "a longer leak": (
        "2027-01-31",
        "2027-02-01",
        "'^tmux' is allowed until 2027-02-01, previously until 2027-01-31",
    ),
    "a leak without end": (
        ", until = 2027-01-31",
        "",
        "'^tmux' is allowed without expiry, previously until 2027-01-31",
    ),
    "a program that is not there": (
        "retries = 1",
        'retries = 1\nrequires = { commands = ["no-such-program"] }',
        "'one': requires.commands extended by 'no-such-program': the scenario is skipped",
    ),
    "by default": ("[gate]", '[defaults]\nleaks = "report"\n[gate]', "loosened"),
    "the gate": ('"refuse"', '"allow"', "[gate]: unowned loosened from 'refuse' to 'allow'"),
    "skips": ("max_skips = 2", "max_skips = 3", "[gate]: max_skips raised from 2 to 3"),
    "all skips": ("max_skips = 2", "", "[gate]: max_skips raised from 2 to unlimited"),
    "its own script": (
        'script = "one.sh"',
        'script = "./two.sh"',
        "'one': lost script 'one.sh': './two.sh' belongs to another scenario",
    ),
    "a name": (
        'name = "two"',
        'name = "deux"',
        "'two': renamed to 'deux' without an alias: add aliases = ['two']",
    ),
    "a scenario": ('[[scenario]]\nname = "two"\nscript = "two.sh"', "", "scenario 'two': lost"),
}

ALLOWED_CHANGES = {
    "nothing": ("", ""),
    "another owner": ('["a", "b"]', '["b", "c", " a "]'),
    "another old name": ('["zero"]', '["zero", "nought"]'),
    "more seconds": ("timeout_seconds = 60", "timeout_seconds = 61"),
    "fewer retries": ("retries = 1", "retries = 0"),
    "less patience": ("settle_seconds = 2", "settle_seconds = 1"),
    "longer grace": ("retries = 1", "retries = 1\ngrace_seconds = 60"),
    "an assertion in other words": ("It holds.", "It holds well."),
    "no leak": (f"leaks = {{ allow = {ALLOWED} }}", ""),
    "a leak for less time": ("2027-01-31", "2027-01-30"),
    "another reason for a leak": ("issue 12", "issue 13"),
    "fewer skips": ("max_skips = 2", "max_skips = 1"),
    "another script": ('script = "one.sh"', 'script = "directory/one.sh"'),
    "the same script, written otherwise": ('script = "one.sh"', 'script = "./one.sh"'),
    "a new name with an alias": ('name = "two"', 'name = "deux"\naliases = ["two"]'),
    "new namespaces": ("retries = 1", "retries = 1\nnew_namespaces = true"),
    "a description": ("retries = 1", 'retries = 1\ndescription = "New."'),
    "a scenario more": (
        "[gate]",
        '[[scenario]]\nname = "three"\nscript = "3"\nleaks = "report"\n[gate]',
    ),
}


@pytest.mark.parametrize(("old", "new", "text"), REFUSED.values(), ids=REFUSED)
def test_weakening_is_refused(old: str, new: str, text: str) -> None:
    """Each weakening is one refused loss with a description."""
    assert old in BASE
    assert [text in loss for loss in find_refused(BASE.replace(old, new))] == [True]


@pytest.mark.parametrize(("old", "new"), ALLOWED_CHANGES.values(), ids=ALLOWED_CHANGES)
def test_equal_or_stronger_manifest_is_allowed(old: str, new: str) -> None:
    """A change that demands the same or more is not refused."""
    assert old in BASE
    scripts = {**SCRIPTS, "deux": "wg two", "three": "wg"}

    assert find_refused(BASE.replace(old, new, 1), scripts) == []


def test_allowance_under_report_policy_is_no_loss() -> None:
    """If the policy was `report`, an allowance is no loss."""
    was = build_edition('[[scenario]]\nname = "x"\nscript = "x"\nleaks = "report"', {})
    allowing = "leaks = { allow = [{ command = 'a', reason = 'b' }] }"
    now = build_edition(f'[[scenario]]\nname = "x"\nscript = "x"\n{allowing}', {})

    assert list(find_losses(was, now)) == []


def test_alias_cannot_merge_scenarios() -> None:
    """An alias cannot let one existing scenario replace another."""
    merged = BASE.replace('["zero"]', '["zero", "two"]').split('[[scenario]]\nname = "two"')[0]

    assert find_refused(merged) == ["scenario 'two': lost"]


def test_new_scenario_cannot_replace_two() -> None:
    """If a new scenario has the names of two old ones as aliases, both are lost."""
    text = '[gate]\nunowned = "refuse"\nmax_skips = 2\n[[scenario]]\nname = "new"\nscript = "n"\n'

    assert [
        loss.split(":")[0] for loss in find_refused(f'{text}aliases = ["zero", "one", "two"]')
    ] == [
        "scenario 'one'",
        "scenario 'two'",
    ]


def test_renamed_scenario_is_compared_with_original() -> None:
    """A loss of a renamed scenario is found."""
    text = BASE.replace('name = "one"', 'name = "uno"').replace('["zero"]', '["zero", "one"]')

    assert find_refused(text.replace('["a", "b"]', '["a"]'), {**SCRIPTS, "uno": "wg"}) == [
        "scenario 'one': lost owner 'b'"
    ]


def test_missing_script_is_a_loss() -> None:
    """A missing script is a loss, even if the entry exists."""
    assert find_refused(BASE, {"two": "wg two"}) == ["scenario 'one': lost script 'one.sh'"]


def test_emptied_script_is_a_loss() -> None:
    """A script that was emptied is a loss; one that was always empty is not."""
    emptied = {"one": "#!/bin/sh\nexit 0\nwg one", "two": "wg two"}

    assert find_refused(BASE, emptied) == [
        "scenario 'one': script 'one.sh' was emptied: it cannot fail"
    ]
    assert list(find_losses(build_edition(BASE, emptied), build_edition(BASE, emptied))) == []


def test_reworded_assertion_is_noted() -> None:
    """A reworded assertion is noted for a reviewer, but not refused."""
    now = build_edition(BASE.replace("It holds.", "It may hold."), SCRIPTS)

    assert [
        (str(loss), loss.refused) for loss in find_losses(build_edition(BASE, SCRIPTS), now)
    ] == [("scenario 'one': assertion reworded: review it", False)]


NOTED = {
    "image": 'image = "debian"',
    "network": 'network = "isolated"',
    "limits.open_files": "limits = { open_files = 77 }",
    "capabilities": 'capabilities = ["IPC_LOCK"]',
    "env": 'env = { A = "1" }',
    "pass_env": 'pass_env = ["A"]',
    "pass_files": 'pass_files = ["~/.netrc"]',
    "plain_env": 'plain_env = ["A"]',
    "plain_files": 'plain_files = ["~/.cache"]',
    "services": 'services = [{ name = "db", image = "postgres" }]',
    "tags": 'tags = ["slow"]',
}


@pytest.mark.parametrize(("key", "line"), NOTED.items())
@pytest.mark.parametrize(
    ("position", "names"), [("retries = 1", {"one"}), ("[defaults]", {"one", "two"})]
)
def test_changed_sandbox_is_noted(key: str, line: str, position: str, names: set[str]) -> None:
    """A change in an entry or in the defaults is noted for each affected scenario."""
    text = f"[defaults]\n{BASE}"
    now = build_edition(text.replace(position, f"{position}\n{line}"), SCRIPTS)
    losses = list(find_losses(build_edition(text, SCRIPTS), now))

    assert {loss.refused for loss in losses} == {False}
    assert all(loss.text.startswith(key) for loss in losses)
    assert {loss.scenario for loss in losses} == names


def test_losses_with_different_numbers_are_equal() -> None:
    """Losses are equal if they differ only in numbers, so that their commit can be found."""
    editions = [build_edition(BASE.replace("= 60", f"= {number}"), SCRIPTS) for number in (50, 40)]
    first, second = ([*find_losses(build_edition(BASE, SCRIPTS), edition)] for edition in editions)

    assert first == second
    assert str(first[0]) != str(second[0])


def test_empty_edition_loses_everything() -> None:
    """An empty edition has lost each scenario and the rules of the gate."""
    losses = [str(loss) for loss in find_losses(build_edition(BASE, SCRIPTS), Edition())]

    assert [loss.split(":")[0] for loss in losses] == [
        "scenario 'one'",
        "scenario 'two'",
        "[gate]",
        "[gate]",
    ]


@pytest.mark.parametrize(
    "script",
    [
        "",
        "\n  # nothing\n\n",
        "#!/usr/bin/env bash\nset -euo pipefail\n",
        "true",
        ":",
        "exit",
        "exit 0",
        "exit 77",
        "exit 0 # for now",
        "exit 0\nwg run",
        'echo "SKIP: not here; later" >&2; exit 77',
        "echo one && echo two\nprintf '%s' \"$x\"\nexit 77\nwg run",
        "set -e; true; exit 77",
    ],
)
def test_script_without_commands_is_empty(script: str) -> None:
    """Comments, printed text and an exit with success or skip do not count as commands."""
    assert is_empty(script)


@pytest.mark.parametrize(
    "script",
    [
        "wg run",
        "exit 1",
        "exit 771",
        "exit $?",
        "false",
        "truely",
        "echo hi | grep hi",
        'echo "$(wg run)"\nexit 0',
        "echo `wg run`\nexit 0",
        "echo one && wg run",
        'echo "; exit 0"\nwg run',
        "command -v wg || exit 77\nwg run",
        "if wg run; then\n  exit 0\nfi\nexit 1",
        "echo starting\nset -e\nwg run\nexit 0",
        "f() {\n  exit 0\n}\nwg run",
    ],
)
def test_script_with_command_is_not_empty(script: str) -> None:
    """A script that runs a command before its end, or fails, is not empty."""
    assert not is_empty(script)
