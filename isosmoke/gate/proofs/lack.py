"""A scenario that lacks what a rule of `[gate]` requires, as data (pure)."""

from typing import Literal

from isosmoke.dataclass import dataclass

Rule = Literal["require_proof", "require_teeth"]
"""A key of `[gate]` that requires a statement about new scenarios."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """A scenario that a rule refuses, the reason as a sentence, and the command to run next."""

    scenario: str
    rule: Rule
    text: str
    command: str
