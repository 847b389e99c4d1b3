"""What may be taken from a manifest, and what may not."""

from pathlib import Path

import pytest

from isosmoke.authoring.manifest_losses import Edition, is_empty, losses
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


def found(text: str, scripts: dict[str, str] | None = None) -> list[str]:
    """The refused losses of a manifest that was `BASE`, in words."""
    now = edition(text, SCRIPTS if scripts is None else scripts)
    return [str(one) for one in losses(edition(BASE, SCRIPTS), now) if one.refused]


def edition(text: str, scripts: dict[str, str]) -> Edition:
    """The edition that a text and its scripts make."""
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
        "'one': leak policy loosened: 'sleep' may now outlive it",
    ),
    "a wider leak": ("^tmux", "tmux", "'one': leak policy loosened: 'tmux' may now outlive it"),
    "a longer leak": (
        "2027-01-31",
        "2027-02-01",
        "'one': leak policy loosened: '^tmux' is allowed until 2027-02-01, not until 2027-01-31",
    ),
    "a leak without end": (
        ", until = 2027-01-31",
        "",
        "'one': leak policy loosened: '^tmux' is allowed for ever, not until 2027-01-31",
    ),
    "a program that is not there": (
        "retries = 1",
        'retries = 1\nrequires = { commands = ["no-such-program"] }',
        "'one': requires.commands extended by 'no-such-program': it is skipped where that is",
    ),
    "by default": ("[gate]", '[defaults]\nleaks = "report"\n[gate]', "loosened"),
    "the gate": ('"refuse"', '"allow"', "[gate]: unowned loosened from 'refuse' to 'allow'"),
    "skips": ("max_skips = 2", "max_skips = 3", "[gate]: max_skips raised from 2 to 3"),
    "all skips": ("max_skips = 2", "", "[gate]: max_skips raised from 2 to any"),
    "a script of its own": (
        'script = "one.sh"',
        'script = "./two.sh"',
        "'one': lost script 'one.sh': './two.sh' is another scenario's",
    ),
    "a name": (
        'name = "two"',
        'name = "deux"',
        "'two': renamed to 'deux' without a declared alias: aliases = ['two']",
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
    "another script": ('script = "one.sh"', 'script = "folder/one.sh"'),
    "the same script, written otherwise": ('script = "one.sh"', 'script = "./one.sh"'),
    "a new name with an alias": ('name = "two"', 'name = "deux"\naliases = ["two"]'),
    "new namespaces": ("retries = 1", "retries = 1\nnew_namespaces = true"),
    "a description": ("retries = 1", 'retries = 1\ndescription = "New."'),
    "a scenario more": (
        "[gate]",
        '[[scenario]]\nname = "three"\nscript = "3"\nleaks = "report"\n[gate]',
    ),
}


@pytest.mark.parametrize(("old", "new", "words"), REFUSED.values(), ids=REFUSED)
def test_a_manifest_may_not_lose(old: str, new: str, words: str) -> None:
    """Whatever is less than it was is one refused loss, in words that name it."""
    assert old in BASE
    assert [words in one for one in found(BASE.replace(old, new))] == [True]


@pytest.mark.parametrize(("old", "new"), ALLOWED_CHANGES.values(), ids=ALLOWED_CHANGES)
def test_a_manifest_may_change(old: str, new: str) -> None:
    """What asks for as much as before, or more, is not refused."""
    assert old in BASE
    scripts = {**SCRIPTS, "deux": "wg two", "three": "wg"}

    assert found(BASE.replace(old, new, 1), scripts) == []


def test_losses_under_a_policy_of_report_are_none() -> None:
    """Where any leak was allowed, an allowance allows nothing more."""
    was = edition('[[scenario]]\nname = "x"\nscript = "x"\nleaks = "report"', {})
    allowing = "leaks = { allow = [{ command = 'a', reason = 'b' }] }"
    now = edition(f'[[scenario]]\nname = "x"\nscript = "x"\n{allowing}', {})

    assert list(losses(was, now)) == []


def test_two_scenarios_cannot_become_one() -> None:
    """An alias stands for a new name, not for a scenario that takes another one over."""
    merged = BASE.replace('["zero"]', '["zero", "two"]').split('[[scenario]]\nname = "two"')[0]

    assert found(merged) == ["scenario 'two': lost"]


def test_two_names_cannot_go_to_one_new_scenario() -> None:
    """Of two scenarios that a third claims to have been, both are lost."""
    text = '[gate]\nunowned = "refuse"\nmax_skips = 2\n[[scenario]]\nname = "new"\nscript = "n"\n'

    assert [one.split(":")[0] for one in found(f'{text}aliases = ["zero", "one", "two"]')] == [
        "scenario 'one'",
        "scenario 'two'",
    ]


def test_a_renamed_scenario_is_held_to_what_it_was() -> None:
    """A new name does not make up for an owner."""
    text = BASE.replace('name = "one"', 'name = "uno"').replace('["zero"]', '["zero", "one"]')

    assert found(text.replace('["a", "b"]', '["a"]'), {**SCRIPTS, "uno": "wg"}) == [
        "scenario 'one': lost owner 'b'"
    ]


def test_a_script_that_is_gone_is_lost() -> None:
    """The entry alone holds nothing."""
    assert found(BASE, {"two": "wg two"}) == ["scenario 'one': lost script 'one.sh'"]


def test_an_emptied_script_is_a_loss() -> None:
    """A script that cannot fail any more is told; one that never could is not."""
    emptied = {"one": "#!/bin/sh\nexit 0\nwg one", "two": "wg two"}

    assert found(BASE, emptied) == ["scenario 'one': script 'one.sh' was emptied: it cannot fail"]
    assert list(losses(edition(BASE, emptied), edition(BASE, emptied))) == []


def test_an_assertion_in_other_words_is_told_but_not_refused() -> None:
    """Whether it asks for less, only a reader can say."""
    now = edition(BASE.replace("It holds.", "It may hold."), SCRIPTS)

    assert [(str(one), one.refused) for one in losses(edition(BASE, SCRIPTS), now)] == [
        ("scenario 'one': assertion reworded: read it", False)
    ]


NOTED = {
    "image": 'image = "debian"',
    "network": 'network = "isolated"',
    "limits.open_files": "limits = { open_files = 77 }",
    "capabilities": 'capabilities = ["IPC_LOCK"]',
    "env": 'env = { A = "1" }',
    "pass_env": 'pass_env = ["A"]',
    "pass_files": 'pass_files = ["~/.netrc"]',
    "services": 'services = [{ name = "db", image = "postgres" }]',
    "tags": 'tags = ["slow"]',
}


@pytest.mark.parametrize(("key", "line"), NOTED.items())
@pytest.mark.parametrize(
    ("place", "names"), [("retries = 1", {"one"}), ("[defaults]", {"one", "two"})]
)
def test_another_sandbox_is_told_but_not_refused(
    key: str, line: str, place: str, names: set[str]
) -> None:
    """Set in an entry or by default, it is named for each scenario that it changes."""
    text = f"[defaults]\n{BASE}"
    now = edition(text.replace(place, f"{place}\n{line}"), SCRIPTS)
    told = list(losses(edition(text, SCRIPTS), now))

    assert {one.refused for one in told} == {False}
    assert all(one.words.startswith(key) for one in told)
    assert {one.scenario for one in told} == names


def test_a_loss_is_the_same_while_its_numbers_change() -> None:
    """Which commit began it can be asked of every commit."""
    some = [edition(BASE.replace("= 60", f"= {number}"), SCRIPTS) for number in (50, 40)]
    first, second = ([*losses(edition(BASE, SCRIPTS), one)] for one in some)

    assert first == second
    assert str(first[0]) != str(second[0])


def test_everything_is_lost_with_the_manifest() -> None:
    """An edition that is not there has lost each scenario, and the gate's own rules."""
    lost = [str(one) for one in losses(edition(BASE, SCRIPTS), Edition())]

    assert [one.split(":")[0] for one in lost] == [
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
def test_an_empty_script(script: str) -> None:
    """Comments, words and an exit that always succeeds or skips are nothing."""
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
def test_a_script_that_runs_something(script: str) -> None:
    """A script with a command before its end, or that fails, is not empty."""
    assert not is_empty(script)
