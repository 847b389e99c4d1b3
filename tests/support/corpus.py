"""The corpus: real scenarios, each of which declares its outcome."""

import shutil

from isosmoke.manifest import loader
from isosmoke.manifest.models import Scenario
from support.available import PATH
from support.paths import TESTS

CORPUS = TESTS / "corpus"

TAG = "expected-"
"""The prefix of the tag that declares a scenario's outcome."""


def _get_declared_outcome(scenario: Scenario) -> str:
    """Return the outcome in its tags, or SKIP if a program that it requires is missing."""
    if not all(shutil.which(command, path=PATH) for command in scenario.requires.commands):
        return "SKIP"
    return next(tag.removeprefix(TAG) for tag in scenario.tags if tag.startswith(TAG))


DECLARED = {
    scenario.name: _get_declared_outcome(scenario)
    for scenario in loader.load(CORPUS / "manifest.toml").scenarios
}
