"""The seam every engine fills: two protocols, and what a keeper's channel must do."""

from contextlib import AbstractContextManager
from typing import Protocol

from isosmoke.keeper.conversation import Channel
from isosmoke.spec import SandboxSpec

START_SECONDS = 60.0
"""How long an engine may take to have a keeper up."""

DESTROY_SECONDS = 20.0
"""How long an engine may take to prove that a sandbox is gone; a deadline of its own."""


class Sandbox(Protocol):
    """One fresh environment, alive until it is destroyed."""

    @property
    def channel(self) -> Channel:
        """The keeper's stdin and stdout; closing it ends everything inside."""


class Engine(Protocol):
    """Makes fresh sandboxes."""

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str:
        """What makes the sandboxes, in a few words; known after `preflight`."""

    def preflight(self) -> None:
        """Return when sandboxes can be made, else raise `EngineUnavailableError` with a hint."""

    def sandbox(self, spec: SandboxSpec) -> AbstractContextManager[Sandbox]:
        """Entering makes it, leaving destroys it on every path and proves that it is gone."""

    def sweep(self) -> tuple[str, ...]:
        """Remove what dead runs left and say what that was; live runs are never touched."""
