"""The rules of a gate are applied to what runs, not to what was there a moment before."""

from pathlib import Path

import pytest

from isosmoke.execution.request import Request
from isosmoke.gate import bound_run
from isosmoke.gate.proofs.requirement import Requirement
from isosmoke.host.caller_process import Caller
from isosmoke.manifest import loader
from support.result_factories import make_run

ENTRY = '[[scenario]]\nname = "one"\nscript = "one.sh"\n'
RULES = {"require_teeth": True, "require_proof": True, "no rule": False}
EDITS = {"script one.sh changed": "one.sh", "file lib.sh changed": "lib.sh"}


def find_changes(directory: Path, rule: str, edited: str) -> tuple[str, ...]:
    """Edit a file after the rules were applied and before the run; return the changes."""
    table = f"[gate]\n{rule} = true\n" if RULES[rule] else ""
    path = directory / "manifest.toml"
    path.write_text(table + ENTRY)
    (directory / "one.sh").write_text('. "${0%/*}/lib.sh"\nfalse\n')
    (directory / "lib.sh").write_text("set -e\n")
    manifest = loader.load(path)
    requirement = Requirement(manifest=manifest, caller=Caller.current(), tested="")
    judged = requirement.read_inputs(manifest.scenarios)
    if edited:
        with (directory / edited).open("a") as file:
            file.write("exit 0\n")
    request = Request(scenarios=manifest.scenarios, manifest=path)
    environment = Caller.current().environment
    ran = bound_run.execute(manifest, request, environment, lambda _: make_run(binary=None))
    return requirement.bind(ran, judged).changes


@pytest.mark.parametrize("rule", ["require_teeth", "require_proof"])
@pytest.mark.parametrize(("change", "edited"), EDITS.items())
def test_edit_after_the_rules_were_applied_is_a_change(
    tmp_path: Path, rule: str, change: str, edited: str
) -> None:
    """The script that runs is then not the one with a receipt or a proof."""
    assert find_changes(tmp_path, rule, edited) == (change,)


@pytest.mark.parametrize(
    ("rule", "edited"), [("require_teeth", ""), ("require_proof", ""), ("no rule", "one.sh")]
)
def test_run_of_what_was_judged_has_no_change(tmp_path: Path, rule: str, edited: str) -> None:
    """Without a rule nothing was judged before the run, and the run shows what it ran."""
    assert find_changes(tmp_path, rule, edited) == ()
