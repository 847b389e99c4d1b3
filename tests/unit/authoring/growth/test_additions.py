"""The scenarios that need a receipt of teeth: new ones, and those with unreviewed code."""

from pathlib import Path

import pytest

from isosmoke.authoring.growth import additions
from isosmoke.authoring.growth.editions import Edition, Script
from isosmoke.host.repository.revisions import Revision
from isosmoke.manifest.parser import parse

RULE = "[gate]\nrequire_teeth = true\n"
BASE, OTHER, OLD = (Revision(name, "a revision") for name in ("base", "other", "old"))


def build(
    text: str = "wg put\n",
    *,
    teeth: str = '["put"]',
    inputs: dict[str, str] | None = None,
    rule: str = RULE,
    names: str = 'name = "one"',
    keys: str = "",
) -> dict[str, Edition]:
    """Build the catalog of a manifest with one scenario."""
    manifest = parse(
        f'{rule}[[scenario]]\n{names}\nscript = "one.sh"\nteeth = {teeth}\n{keys}\n',
        Path("manifest.toml"),
    )
    (scenario,) = manifest.scenarios
    scripts = {scenario.name: Script("one.sh", text, inputs or {})}
    edition = Edition(manifest.scenarios, manifest.gate, manifest.check, scripts, "manifest")
    return {"manifest.toml": edition}


NOW = {
    "unchanged": (build(), False),
    "another comment": (build("# why\nwg put\n"), False),
    "renamed": (build(names='name = "uno"\naliases = ["one"]'), False),
    "another script": (build("trap 'exit 0' EXIT\nwg put\n"), True),
    "another sourced file": (build(inputs={"lib.sh": "exit 0\n"}), True),
    "a variable": (build(keys='env = { FAST = "1" }'), True),
    "a requirement": (build(keys='requires.commands = ["none"]'), True),
    "another deadline": (build(keys="timeout_seconds = 9"), False),
    "a description": (build(keys='description = "why"'), False),
    "more teeth": (build(teeth='["put", "list"]'), True),
    "fewer teeth": (build(teeth="[]"), True),
    "new": (build(names='name = "two"'), True),
    "renamed and rewritten": (build("exit 0\n", names='name = "uno"\naliases = ["one"]'), True),
    "no rule": (build("exit 0\n", rule=""), False),
}


@pytest.mark.parametrize(("now", "expected"), NOW.values(), ids=NOW)
def test_rewritten_scenario_needs_teeth(now: dict[str, Edition], *, expected: bool) -> None:
    """The script, what it sources, `teeth` and the sandbox have to be as they were reviewed."""
    found = additions.list_rewritten({BASE: build()}, {"base"}, now)

    assert bool(found) is expected


def test_every_reviewed_revision_counts() -> None:
    """A state that only one of two reviewed revisions has was not reviewed."""
    past = {BASE: build(), OTHER: build("exit 0\n")}

    assert additions.list_rewritten(past, {"base", "other"}, build()) == {"one"}


def test_scenario_from_before_the_rule_is_exempt_while_unchanged() -> None:
    """Without a review, the last state before the rule counts, and a reviewed one precedes it."""
    old = {OLD: build(rule="")}
    weak = build("exit 0\n")

    assert additions.list_rewritten(old, (), build()) == frozenset()
    assert additions.list_rewritten(old, (), weak) == {"one"}
    assert additions.list_rewritten({OLD: build()}, (), build()) == {"one"}
    assert additions.list_rewritten({**old, BASE: weak}, {"base"}, build()) == {"one"}
