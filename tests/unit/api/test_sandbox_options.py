"""The typed options of a command."""

from isosmoke.api.sandbox_options import SandboxOptions
from isosmoke.manifest.key_meaning import list_sandbox_keys
from isosmoke.manifest.models import Settings


def test_options_are_the_keys_of_a_sandbox() -> None:
    """Every manifest key that describes a sandbox is a typed option, and no other is."""
    keys = {*list_sandbox_keys(Settings), "leaks", "timeout"} - {"timeout_seconds"}

    assert set(SandboxOptions.__annotations__) == keys
