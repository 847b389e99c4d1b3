"""The text of a mirror: names and owners of a manifest, with a shim as the script of each entry."""

from collections.abc import Iterable
from math import ceil

from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.text import escape_bytes, format_toml

MARK = "# Written by isosmoke"
"""The beginning of every file that isosmoke writes for wg."""

_RUN_OVERHEAD = 300
"""The seconds allowed before the first scenario, to sweep, and hash and try the binary."""

_ATTEMPT_OVERHEAD = 300
"""The seconds allowed in an attempt besides its script; the engine bounds each phase itself."""


def render(source: Manifest, shim: str) -> str:
    """Return the mirror of a manifest as TOML; each deadline bounds a whole run."""
    bound = str(compute_max_run_seconds(source.scenarios))
    path = format_toml(escape_bytes(str(source.path.absolute())))
    head = f"{MARK} for wg.\n[bridge]\nsource = {path}\n"
    return head + "".join(_render_entry(scenario, shim, bound) for scenario in source.scenarios)


def compute_max_run_seconds(scenarios: Iterable[Scenario]) -> int:
    """Return the maximum duration of a run in seconds.

    It assumes that the scenarios run one after another, that each uses all its retries, and that
    each is then repeated in isolation.
    """
    return _RUN_OVERHEAD + sum(map(_compute_max_seconds, scenarios))


def _compute_max_seconds(scenario: Scenario) -> int:
    seconds = scenario.timeout_seconds + scenario.grace_seconds + scenario.settle_seconds
    return (_ATTEMPT_OVERHEAD + ceil(seconds)) * (scenario.retries + 2)


def _render_entry(scenario: Scenario, shim: str, bound: str) -> str:
    keys = {
        "name": format_toml(scenario.name),
        "script": format_toml(shim),
        "owners": format_toml(scenario.owners),
        "timeout_seconds": bound,
    }
    return "\n[[scenario]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
