"""Smoke scenarios in fresh sandboxes, with the live binary and exact leak verdicts.

The names of `__all__` are the Python API; docs/python-api.md describes it. Each is imported when it
is first used, so that `import isosmoke` imports nothing else.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isosmoke.api import (
        Event,
        Interrupt,
        IsosmokeError,
        Outcome,
        RunRecord,
        SandboxOptions,
        ScenarioRecord,
        run,
        run_scenarios,
    )

__version__ = "0.1.0"

__all__ = [
    "Event",
    "Interrupt",
    "IsosmokeError",
    "Outcome",
    "RunRecord",
    "SandboxOptions",
    "ScenarioRecord",
    "__version__",
    "run",
    "run_scenarios",
]


def __getattr__(name: str) -> object:
    """Import a name of the API (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from isosmoke import api

    return getattr(api, name)


def __dir__() -> list[str]:
    """Return the names of the API as well."""
    return sorted({*globals(), *__all__})
