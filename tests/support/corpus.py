"""The corpus: real scenarios, each with the outcome that it declares."""

import shutil

from isosmoke.manifest import loader
from isosmoke.manifest.models import Scenario
from support.available import PATH
from support.paths import TESTS

CORPUS = TESTS / "corpus"

TAG = "comes-out-"
"""What the tag of a scenario begins with that declares its outcome."""


def _declared(scenario: Scenario) -> str:
    """The outcome in its tags; SKIP where a program that it needs is not here."""
    if not all(shutil.which(one, path=PATH) for one in scenario.requires.commands):
        return "SKIP"
    return next(one.removeprefix(TAG) for one in scenario.tags if one.startswith(TAG))


DECLARED = {one.name: _declared(one) for one in loader.load(CORPUS / "manifest.toml").scenarios}
